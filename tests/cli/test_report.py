"""``centaurlab report`` writes a page of the folders that it is given, or says in one sentence why not."""

from pathlib import Path

import pytest

from centaurlab.runs.folder import RunFolder
from helpers.commands import centaurlab
from helpers.finished_runs import score_run
from helpers.json_files import write_json


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no folder nothing; name the folder of a run"),
        (["empty"], "empty holds no finished run, nor do the folders right below it"),
        (["unfinished"], "the run in unfinished is not finished"),
        (["s1", "other"], "were scored on different sessions"),
        (["s1", "--format", "pdf"], "--format: invalid choice: 'pdf' (choose from 'html', 'markdown')"),
        (["s1", "--output", "s1/run.json/report.html"], "cannot write s1/run.json/report.html"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    score_run(Path("s1"), "one", ["a2020"])
    score_run(Path("other"), "one", ["a2020"], data="others")
    Path("empty").mkdir()
    Path("unfinished").mkdir()
    write_json(Path("unfinished/config.json"), {})
    done = centaurlab("report", *arguments)
    assert message in done.error
    assert done.stderr == f"{done.error}\n"
    assert not Path("report.html").exists()


def test_the_command_prints_the_answer_and_takes_a_folder_of_runs(tmp_path: Path) -> None:
    score_run(tmp_path / "runs/one", "org/one", ["a2020", "b2021"])
    score_run(tmp_path / "runs/two", "org/two", ["a2020", "b2021"], 1)
    RunFolder(tmp_path / "runs/begun", "train").write_json("config.json", {})
    done = centaurlab("report", "runs", "runs/one", cwd=tmp_path)
    assert done.returncode == 0
    assert "note: left out: the run in runs/begun is not finished" in done.stderr
    assert done.stdout.count("over 2 studies, NLL = ") == 2
    assert done.stdout.endswith("report: report.html\n")
    assert (tmp_path / "report.html").stat().st_size > 10_000
