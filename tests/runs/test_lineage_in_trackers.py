"""Data, models and scores are inputs and outputs of runs in both trackers, with the sentence that they found."""

import getpass
import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.identity import identify
from centaurlab.runs.addresses import say_where
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.mlflow_store import connect
from centaurlab.runs.tracker import Tracker, TrackingArguments, track
from centaurlab.runtime.errors import UserError
from helpers.adapters import save_adapter
from helpers.tracked_runs import CONFIG, known_to, run_id, write_run
from helpers.trackers import MlflowServer, read_offline
from helpers.waiting import wait_until

COMMAND = ["misalignment", "--base", "a b"]
SAID = "the chat model predicts people worse than the base model"


def write_training(folder: RunFolder, base: Path, seed: int = 0) -> None:
    """A finished run of training with a real adapter on ``base``."""
    save_adapter(base, folder.path, seed)
    folder.write_json("config.json", {"model": {"model_name_or_path": str(base)}, "data": {"data": "lab/sessions"}})
    for step, loss in enumerate((3.0, 1.0, 2.0)):
        folder.log({"train/loss": loss}, step)
    folder.write_json("run.json", {"job": "train", "data": {"name": "lab/sessions", "fingerprint": "cd" * 32}})


def write_comparison(folder: RunFolder, *scores: RunFolder) -> None:
    """A finished comparison of two runs of scores."""
    folder.write_json("config.json", {"base": str(scores[0].path), "post": str(scores[1].path)})
    models = [{"asked": one.path.name, "folder": str(one.path)} for one in scores]
    data = {"name": "starter", "fingerprint": "ab" * 32, "studies": {"shelf": {}}}
    about = {"job": "misalignment", "models": models, "data": data, "overall": {"d": 0.5, "verdict": SAID}}
    folder.write_json("run.json", about | {"command": ["/of/mine/centaurlab/__main__.py", *COMMAND]})


def made_runs(folder: Path, base: Path) -> dict[str, RunFolder]:
    """An adapter, the scores of its base and its own, and their comparison, none of them tracked."""
    runs = {name: RunFolder(folder / name, job) for name, job in (("centaur", "train"), ("effect", "misalignment"))}
    runs |= {name: RunFolder(folder / name, "score") for name in ("base", "post")}
    write_training(runs["centaur"], base)
    for name, model in (("base", base), ("post", runs["centaur"].path)):
        write_run(runs[name])
        runs[name].write_json("config.json", CONFIG | {"model_name_or_path": str(model)})
        (runs[name].path / "scores.parquet").write_text(f"rows of {name}")
    write_comparison(runs["effect"], runs["base"], runs["post"])
    return runs


def test_a_server_shows_user_finding_data_models_and_which_run_belongs_to_which(
    server: MlflowServer,
    tiny_llama_dir: Path,
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    arguments, client = TrackingArguments(["mlflow"]), connect(server.address)
    runs = made_runs(tmp_path, tiny_llama_dir)
    for name in ("centaur", "base", "post", "effect"):
        track(runs[name].path, arguments)
    effect, post, centaur = (client.get_run(run_id(runs[name])) for name in ("effect", "post", "centaur"))
    assert effect.data.tags["mlflow.user"] == getpass.getuser()
    assert effect.data.tags["mlflow.note.content"] == f"{SAID}\n\n```\ncentaurlab misalignment --base 'a b'\n```"
    assert post.data.tags["mlflow.note.content"].startswith("mean NLL 1.235 nats over 1 study of starter\n")
    assert post.data.tags["mlflow.parentRunId"] == run_id(runs["effect"])
    assert "mlflow.parentRunId" not in centaur.data.tags

    (data,) = (one.dataset for one in centaur.inputs.dataset_inputs)
    assert (data.source_type, json.loads(data.source)["path"]) == ("hugging_face", "lab/sessions")
    assert {column["name"] for column in json.loads(data.schema)["mlflow_colspec"]} >= {"text", "participant"}
    (made,) = centaur.outputs.model_outputs
    (used,) = post.inputs.model_inputs
    assert made.model_id == used.model_id == known_to(runs["centaur"])["model_id"]

    say_where(runs["effect"].path, arguments)
    page = f"{server.address}/#/experiments/{effect.info.experiment_id}/runs/{effect.info.run_id}"
    assert capsys.readouterr().out == f"mlflow: {page}\n"

    track(runs["centaur"].path, arguments)
    assert known_to(runs["centaur"])["model_id"] == made.model_id, "the same weights are the same model"
    save_adapter(tiny_llama_dir, runs["centaur"].path, seed=1)
    track(runs["centaur"].path, arguments)
    assert known_to(runs["centaur"])["model_id"] != made.model_id, "and other weights another one"


def test_a_registered_adapter_is_found_by_its_address_with_the_weights_that_it_had(
    server: MlflowServer, tiny_llama_dir: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    folder = RunFolder(tmp_path / "centaur", "train")
    write_training(folder, tiny_llama_dir)
    track(folder.path, TrackingArguments(["mlflow"]))
    client = connect(server.address)
    version = mlflow.register_model(f"models:/{known_to(folder)['model_id']}", "people")
    client.set_registered_model_alias("people", "best", version.version)
    weights = (folder.path / "adapter_model.safetensors").read_bytes()
    for address in ("models:/people/1", "models:/people@best", f"models:/{known_to(folder)['model_id']}"):
        found = find_checkpoint(address, None, weights=True, allow_pickle=False)
        assert found.is_adapter
        assert (found.folder / "adapter_model.safetensors").read_bytes() == weights
    named = identify(ModelArguments("models:/people/1"))
    assert named.fingerprint == identify(ModelArguments(str(folder.path))).fingerprint
    with pytest.raises(UserError, match="was not found in the store"):
        find_checkpoint("models:/nobody/1", None, weights=True, allow_pickle=False)


def test_mlflow_has_what_the_machine_did_meanwhile(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    folder, client = RunFolder(tmp_path / "run", "score"), connect(store)

    def names() -> set[str]:
        return set(client.get_run(run_id(folder)).data.metrics) if known_to(folder) else set()

    with Tracker(folder, TrackingArguments(["mlflow"]), CONFIG):
        wait_until(lambda: "system/cpu_utilization_percentage" in names())
        write_run(folder)
    assert client.get_run(run_id(folder)).info.status == "FINISHED"
    assert capfd.readouterr().err == ""


def test_an_offline_wandb_run_names_what_it_used_and_what_it_made(tiny_llama_dir: Path, tmp_path: Path) -> None:
    runs = made_runs(tmp_path, tiny_llama_dir)
    logged: dict[str, list[Any]] = {}
    for name in ("centaur", "post", "base", "effect"):
        before = set(tmp_path.glob("wandb/offline-run-*"))
        with Tracker(runs[name], TrackingArguments(["wandb"])):
            pass  # all of it is there already
        (new,) = set(tmp_path.glob("wandb/offline-run-*")) - before
        logged[name] = read_offline(new)

    def artifacts(name: str, used: bool) -> dict[str, str]:
        """Digests by type, of inputs or of outputs."""
        found = [r.request.log_artifact.artifact for r in logged[name]] + [r.artifact for r in logged[name]]
        return {f"{one.type} {one.name}": one.digest for one in found if one.name and one.use_after_commit == used}

    made = {
        name: f"{name}-{kind}-{run_id(runs[name], 'wandb')}"
        for name, kind in (("post", "scores"), ("base", "scores"), ("centaur", "model"))
    }
    assert set(artifacts("effect", used=True)) == {
        "dataset starter",
        f"scores {made['base']}",
        f"scores {made['post']}",
    }
    assert set(artifacts("post", used=True)) == {"dataset starter", f"model {made['centaur']}"}
    for maker, kind, user in (("centaur", "model", "post"), ("post", "scores", "effect")):
        name = f"{kind} {made[maker]}"
        assert artifacts(maker, used=False)[name] == artifacts(user, used=True)[name], "equal, so that W&B joins them"

    run = [r.run for r in logged["effect"] if r.run.run_id][-1]
    assert (run.notes, list(run.tags)) == (SAID, ["misalignment", "starter"])
    summary = {
        "/".join(i.nested_key) or i.key: json.loads(i.value_json) for r in logged["centaur"] for i in r.summary.update
    }
    assert (summary["train/loss.min"], summary["train/loss.max"]) == (1.0, 3.0)
