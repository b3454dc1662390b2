"""What the terminal showed stands in ``run.json``, MLflow and W&B, to the last digit printed."""

import io
import json
import runpy
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from test_tracker import read_offline

SCRIPTS = Path(__file__).parents[2] / "eval"


def run(script: str, *arguments: str) -> str:
    """What the script prints; it runs in this process, which has the slow imports behind it."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setattr("sys.argv", [script, *arguments])
        patch.setattr("centaurlab.jobs.score.keep_freed_memory", lambda: None)
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    return out.getvalue()


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    path = tmp_path / "sessions.jsonl"
    text = "You see two keys.\n" + "You press <<J>>.\nYou press <<F>>.\n" * 3
    lines = [
        json.dumps({"text": text[person:], "experiment": f"{study}/exp1.csv", "participant": person})
        for study in ("keys2020", "again2021")
        for person in range(4)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_same_numbers_everywhere(
    tiny_llama_dir: Path, tiny_gemma_dir: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--data", str(sessions), "--dtype", "float32", "--max_participants", "4")
    model = ("--model_name_or_path", str(tiny_llama_dir))
    printed = run("score.py", *model, *data, "--output_dir", "llama", "--report_to", "mlflow", "wandb")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")

    about = json.loads(Path("llama/run.json").read_text())
    ids = json.loads(Path("llama/tracking.json").read_text())
    logged = client.get_run(ids["mlflow"]["run_id"]).data.metrics
    in_wandb = {
        "/".join(item.nested_key) or item.key: json.loads(item.value_json)
        for record in read_offline(tmp_path)
        for item in record.history.item  # type: ignore[attr-defined]
    }
    values = {f"nll/{study}": entry["nll"] for study, entry in about["data"]["studies"].items()}
    values |= {"nll/mean": about["nll_mean"], "tokens_per_second": about["speed"]["tokens_per_second"]}
    values["coverage/scored"] = sum(entry["scored"] for entry in about["coverage"].values())
    assert {name: logged[name] for name in values} == values
    assert {name: in_wandb[name] for name in values} == values
    for name in ("nll/keys2020", "nll/again2021", "nll/mean"):
        assert f"{values[name]:.4f}" in printed
    scores = pd.read_parquet("llama/scores.parquet")
    assert scores.groupby("study").nll.mean().mean() == pytest.approx(values["nll/mean"], rel=1e-6)

    pair = ("--base", "llama", "--post", str(tiny_gemma_dir))
    monkeypatch.setenv("WANDB_NAME", "trial 7")  # as a sweep names the trial, whose parts keep names of their own
    monkeypatch.setenv("WANDB_RUN_GROUP", "sweep")
    printed = run("misalignment.py", *pair, *data, "--resamples", "50", "--output_dir", "effect")
    overall = json.loads(Path("effect/run.json").read_text())["overall"]["d"]
    ids = json.loads(Path("effect/tracking.json").read_text())
    compared = client.get_run(ids["mlflow"]["run_id"])
    for name, value in (("d", overall["value"]), ("d_low", overall["low"]), ("d_high", overall["high"])):
        assert compared.data.metrics[f"effect/{name}"] == value
        assert f"{value:.3f}" in printed
    (scored,) = Path("effect/scores").glob("*/tracking.json")
    nested = client.get_run(json.loads(scored.read_text())["mlflow"]["run_id"])
    assert nested.data.tags["group"] == compared.data.tags["group"] == "sweep"
    assert (nested.info.status, compared.info.status) == ("FINISHED", "FINISHED")
    assert (nested.info.run_name, compared.info.run_name) == (
        f"score {tiny_gemma_dir.name} on sessions.jsonl",
        "trial 7",
    )
