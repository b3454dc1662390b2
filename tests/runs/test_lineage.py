"""Runs name those that they were made from, and join the group of a comparison."""

from pathlib import Path

from centaurlab.runs.folder import RunFolder
from centaurlab.runs.mlflow_run import connect
from centaurlab.runs.tracker import Tracker, TrackingArguments, track
from helpers.tracked_runs import run_id


def test_a_comparison_names_its_runs_which_join_its_group_and_so_does_the_training_behind_them(
    store: str, tmp_path: Path
) -> None:
    arguments = TrackingArguments(["mlflow"])

    def finished(name: str, job: str, config: dict[str, object]) -> RunFolder:
        folder = RunFolder(tmp_path / name, job)
        folder.write_json("config.json", config)
        folder.write_json("run.json", {"job": job})
        return folder

    def tracked(name: str, job: str, config: dict[str, object]) -> RunFolder:
        folder = finished(name, job, config)
        track(folder.path, arguments)
        return folder

    def compared(name: str, job: str, config: dict[str, object], *group: str) -> RunFolder:
        with Tracker(RunFolder(tmp_path / name, job), arguments.grouped(*group), config):
            return finished(name, job, config)

    def group(folder: RunFolder) -> str | None:
        return connect(store).get_run(run_id(folder)).data.tags.get("group")

    training = tracked("centaur", "train", {"model": {"model_name_or_path": "org/tiny"}})
    (training.path / "checkpoint-8").mkdir()
    base = tracked("base", "score", {"model_name_or_path": "org/tiny"})
    post = tracked("post", "score", {"model_name_or_path": str(training.path / "checkpoint-8")})
    tags = connect(store).get_run(run_id(post)).data.tags
    assert tags["training_run.mlflow"] == run_id(training)
    assert group(base) is None

    both = {"base": str(base.path), "post": str(post.path)}
    first = compared("effect", "misalignment", both, "runs/effect", str(base.path))
    tags = connect(store).get_run(run_id(first)).data.tags
    assert (tags["base_run.mlflow"], tags["post_run.mlflow"]) == (run_id(base), run_id(post))
    assert [group(run) for run in (first, base, post, training)] == ["effect"] * 4
    frontier = {"base": "org/tiny", "models": [f"sft={training.path}", f"half={post.path}"]}
    second = compared("frontier", "frontier", frontier, "runs/frontier", str(base.path))
    tags = connect(store).get_run(run_id(second)).data.tags
    assert tags["post_run.mlflow"] == f"{run_id(training)} {run_id(post)}"
    assert group(second) == "effect"  # that of the base model that both are held against
