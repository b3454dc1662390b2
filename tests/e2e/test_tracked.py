"""What the terminal showed stands in ``run.json``, MLflow and W&B, to the last digit printed."""

from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from centaurlab.stats.estimate import Estimate
from centaurlab.stats.words import decimals_of
from helpers.commands import run_script
from helpers.json_files import read_json, run_json
from helpers.paths import EVAL
from helpers.trackers import logged_offline, read_offline
from helpers.transcripts import sessions_of, write_transcripts


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """Four people in each of two studies, whose sessions begin at different letters."""
    text = "You see two keys{}\n" + "You press <<J>>.\nYou press <<F>>.\n" * 3
    ends = {"keys2020": ".", "again2021": "!"}  # studies that are equal would have no interval
    rows = sessions_of(ends, 4, lambda study, person: text.format(ends[study])[person:])
    return write_transcripts(tmp_path / "sessions.jsonl", rows)


def test_the_same_numbers_everywhere(
    tiny_llama_dir: Path,
    tiny_gemma_dir: Path,
    sessions: Path,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--data", str(sessions), "--dtype", "float32", "--max_participants", "4")
    model = ("--model_name_or_path", str(tiny_llama_dir))
    printed = run_script(
        EVAL / "score.py", *model, *data, "--output_dir", "llama", "--report_to", "mlflow", "wandb"
    ).stdout
    client = MlflowClient(store)

    about = run_json(Path("llama"))
    ids = read_json(Path("llama/tracking.json"))
    logged = client.get_run(ids["mlflow"]["run_id"]).data.metrics
    in_wandb = logged_offline(read_offline(tmp_path))
    values = {f"nll/{study}": entry["nll"] for study, entry in about["data"]["studies"].items()}
    values |= {"nll/mean": about["nll_mean"], "tokens_per_second": about["speed"]["tokens_per_second"]}
    values["coverage/scored"] = sum(entry["scored"] for entry in about["coverage"].values())
    assert {name: logged[name] for name in values} == values
    assert {name: in_wandb[name] for name in values} == values
    for name in ("nll/keys2020", "nll/again2021", "nll/mean"):
        assert f"{values[name]:.3f}" in printed
    scores = pd.read_parquet("llama/scores.parquet")
    assert scores.groupby("study").nll.mean().mean() == pytest.approx(values["nll/mean"], rel=1e-6)

    pair = ("--base", "llama", "--post", str(tiny_gemma_dir))
    monkeypatch.setenv("WANDB_NAME", "trial 7")  # as a sweep names the trial, whose parts keep names of their own
    monkeypatch.setenv("WANDB_RUN_GROUP", "sweep")
    printed = run_script(EVAL / "misalignment.py", *pair, *data, "--resamples", "50", "--output_dir", "effect").stdout
    overall = run_json(Path("effect"))["overall"]["d"]
    ids = read_json(Path("effect/tracking.json"))
    compared = client.get_run(ids["mlflow"]["run_id"])
    decimals = decimals_of(Estimate(overall["value"], overall["low"], overall["high"]))
    for name, value in (("d", overall["value"]), ("d_low", overall["low"]), ("d_high", overall["high"])):
        assert compared.data.metrics[f"effect/{name}"] == value
        assert f"{value:+.{decimals}f}" in printed
    (scored,) = Path("effect/scores").glob("*/tracking.json")
    nested = client.get_run(read_json(scored)["mlflow"]["run_id"])
    assert nested.data.tags["group"] == compared.data.tags["group"] == "sweep"
    assert (nested.info.status, compared.info.status) == ("FINISHED", "FINISHED")
    assert (nested.info.run_name, compared.info.run_name) == (
        f"score {tiny_gemma_dir.name} on sessions.jsonl",
        "trial 7",
    )
