from pathlib import Path

import pytest

from centaurlab.cli.compare import ComparedRun, compare_runs, print_comparison, read_folders, read_store
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.tracker import TrackingArguments, track
from centaurlab.runtime.errors import UserError


def make_run(path: Path, model: str, nll: float, **more: float) -> RunFolder:
    folder = RunFolder(path, "score")
    folder.write_json("config.json", {"model_name_or_path": model, "data": "starter", "output_dir": str(path)})
    folder.write_json("run.json", {"job": "score"})
    folder.log({"nll/shelf": nll, "nll/mean": nll, "tokens_per_second": 5.0} | more)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs" / "base", "base", 1.25)
    make_run(tmp_path / "runs" / "post", "post", 1.5)
    return tmp_path / "runs"


def test_folders_are_shown_with_their_nll_and_only_the_settings_that_differ(runs: Path) -> None:
    table = compare_runs(read_folders([runs]), sort="-nll/mean")
    assert list(table.columns) == ["run", "job", "nll/mean", "nll/shelf", "model_name_or_path"]
    assert table["model_name_or_path"].tolist() == ["post", "base"]
    assert table["nll/mean"].tolist() == [1.5, 1.25]


def test_runs_that_scored_other_responses_say_how_many(runs: Path) -> None:
    for name, n_scored in (("base", 40.0), ("post", 40.0), ("cut", 25.0)):
        make_run(runs / name, name, 1.5, **{"coverage/scored": n_scored})
    assert "coverage/scored" not in compare_runs(read_folders([runs / "base", runs / "post"]))
    table = compare_runs(read_folders([runs]))
    assert table.set_index("model_name_or_path")["coverage/scored"].to_dict() == {"base": 40, "post": 40, "cut": 25}


def test_what_a_folder_was_scored_for_before_is_not_shown_beside_what_it_is_now(
    runs: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = {"nll/mean": 2.0, "nll/shelf": 1.0, "nll/maze": 3.0}
    for data, found in (("starter", more), ("mine", more), ("starter", {"nll/mean": 1.0, "nll/shelf": 1.0})):
        folder = RunFolder(runs / "base", "score")
        folder.write_json("config.json", {"data": data})
        folder.log(found)
        track(runs / "base", TrackingArguments())
        assert read_store()[0].config["data"] == data
    for table in (compare_runs(read_folders([runs / "base"])), compare_runs(read_store())):
        assert table.filter(like="nll/").to_dict("records") == [{"nll/mean": 1.0, "nll/shelf": 1.0}]


def test_settings_that_are_numbers_are_sorted_as_numbers() -> None:
    settings = {"a": ("20", "5e-05", "x"), "b": ("100", "0.0001", "10"), "c": ("3", "0.001", "9")}
    runs = [
        ComparedRun(name, "train", {}, {"max_steps": steps, "lr": rate, "data": data})
        for name, (steps, rate, data) in settings.items()
    ]
    runs.append(ComparedRun("none", "train", {}, {}))
    for sort, order in (("max_steps", "cab"), ("-max_steps", "bac"), ("-lr", "cba"), ("data", "bca")):
        assert compare_runs(runs, sort=sort)["run"].tolist() == [*order, "none"], sort


def test_a_setting_called_run_or_job_hides_no_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ba":
        folder = RunFolder(tmp_path / name, "trajectory")
        folder.write_json("config.json", {"run": f"runs/{name}", "job": name})
        folder.write_json("run.json", {"job": "trajectory"})
    table = compare_runs(read_folders([tmp_path]), sort="-run")
    assert list(table.columns) == ["run", "job", "config.job", "config.run"]
    assert table.iloc[0].tolist() == [str(tmp_path / "b"), "trajectory", "b", "runs/b"]
    for kind in ("table", "markdown"):
        print_comparison(table, kind)
        assert "runs/b" in capsys.readouterr().out


def test_settings_are_compared_among_runs_of_one_job(runs: Path) -> None:
    effect = RunFolder(runs / "effect", "misalignment")
    effect.write_json("config.json", {"base": "base", "data": "other"})
    effect.write_json("run.json", {"job": "misalignment"})
    effect.log({"effect/d_high": 0.5, "effect/d_low": 0.125, "effect/d": 0.25})
    table = compare_runs(read_folders([runs]))
    shown = ["nll/mean", "effect/d", "effect/d_low", "effect/d_high", "nll/shelf", "model_name_or_path"]
    assert list(table.columns) == ["run", "job", *shown]


def test_runs_can_be_chosen_by_job_and_name(runs: Path) -> None:
    assert len(compare_runs(read_folders([runs]), name_contains="post")) == 1
    with pytest.raises(UserError, match="no run is left"):
        compare_runs(read_folders([runs]), job="train")


def test_where_nothing_was_tracked_there_is_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no run store"):
        read_store()


def test_the_store_and_the_folders_give_the_same_numbers(
    runs: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in sorted(runs.iterdir()):
        track(path, TrackingArguments())
    stored = compare_runs(read_store(), sort="nll/mean")
    assert stored["nll/shelf"].tolist() == compare_runs(read_folders([runs]))["nll/shelf"].tolist() == [1.25, 1.5]
    assert stored["model_name_or_path"].tolist() == ["base", "post"]


def test_csv_has_every_digit_and_markdown_is_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a", "a|b", 1.2345678901234567)
    table = compare_runs(read_folders([tmp_path / "a"]))
    print_comparison(table, "csv")
    assert "1.2345678901234567" in capsys.readouterr().out
    print_comparison(table, "markdown")
    assert capsys.readouterr().out.splitlines()[0] == "| run | job | nll/mean | nll/shelf |"


def test_mistakes_are_named(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no column"):
        compare_runs(read_folders([runs]), sort="nl/mean")
    with pytest.raises(UserError, match="holds no run"):
        read_folders([tmp_path / "nowhere"])


def test_of_several_paths_those_without_a_run_are_noted_and_left_out(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "mistake").mkdir()
    (runs / "mistake" / ".lock").touch()
    (runs / "report.html").touch()
    (runs / "model").mkdir()
    (runs / "model" / "config.json").write_text('{"model_type": "llama"}')
    names = [Path(run.name).name for run in read_folders(sorted(runs.iterdir()))]
    assert names == ["base", "post"]
    notes = capsys.readouterr().err.splitlines()
    assert [note.split()[4] for note in notes] == [str(runs / name) for name in ("mistake", "model", "report.html")]
    with pytest.raises(UserError, match="no path holds a run"):
        read_folders([runs / "mistake", runs / "model"])
    with pytest.raises(UserError, match="nowhere holds no run"):
        read_folders([runs / "base", runs / "nowhere"])


def test_a_run_that_is_begun_anew_hides_no_other_and_has_no_numbers(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder(runs / "post", "score").finish({"job": "score"})
    (runs / "post" / "metrics.jsonl").unlink()
    table = compare_runs(read_folders(sorted(runs.iterdir())))
    assert table["job"].tolist() == ["score", "unfinished"]
    assert table["nll/mean"].fillna(-1).tolist() == [1.25, -1]
    assert "without numbers: " in capsys.readouterr().err


def test_the_weights_that_a_run_keeps_are_no_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "model", 1.0).path
    for name in ("merged-base", "checkpoint-2"):
        (run / name).mkdir()
        (run / name / "config.json").write_text('{"model_type": "llama"}')
    assert [found.name for found in read_folders([run])] == [str(run)]
    (run / "run.json").unlink()
    (run / "config.json").write_text('{"model_type": "llama"}')
    (run / "run_config.json").write_text("{}")  # a whole model that is being trained
    assert [(found.name, found.job) for found in read_folders([run])] == [(str(run), "unfinished")]


def test_a_table_stands_in_pieces_as_wide_as_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(9):
        make_run(tmp_path / "runs" / f"model-{number}", f"model-{number}", number / 8)
    print_comparison(compare_runs(read_folders([tmp_path / "runs"])), "table")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 160
    means = [line.split()[1:] for line in lines if line.strip().startswith("nll/mean")]
    assert [value for piece in means for value in piece] == [f"{number / 8:.3f}" for number in range(9)]
