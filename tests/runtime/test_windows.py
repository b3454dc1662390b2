"""Without what Python has on POSIX systems alone: people are read, runs are compared, reported and looked at."""

from pathlib import Path

import pytest

from helpers.commands import run_python
from helpers.finished_runs import score_run
from helpers.transcripts import sessions_of, write_transcripts

HIDDEN = """
import os, sys, warnings
import multiprocessing.util, psutil  # whose parts for this system need them
warnings.simplefilter("ignore", UserWarning)  # locks of another kind
sys.modules["fcntl"] = sys.modules["resource"] = None  # an import raises
del os.sysconf, os.sched_getaffinity, os.killpg, os.getpgid
"""
PROGRAM = """
import centaurlab as cl
from centaurlab.cli.main import main
from centaurlab.runs.provenance import provenance
for name in cl.__all__:
    getattr(cl, name)
print(len(cl.load("people.jsonl").to_frame()), provenance()["hardware"]["memory_bytes"] > 0)
effect = cl.compare("post", "base", resamples=50)
print(effect.overall.d.value)
cl.report(["post", "base"], "report.html")
effect._repr_html_()
main(["data", "stats", "people.jsonl"])
main(["compare", "post", "base"])
"""


def test_reading_comparing_and_reporting_need_no_posix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_transcripts(tmp_path / "people.jsonl", sessions_of(("alpha",), 3, lambda *_: "You press <<J>>."))
    for seed, model in enumerate(("base", "post")):
        score_run(tmp_path / model, model, ["a2020", "b2021", "c2022"], seed)
    done = run_python("-c", HIDDEN + PROGRAM, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 True\n")
    assert (tmp_path / "report.html").stat().st_size > 1000
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(PROGRAM, {})
    assert capsys.readouterr().out == done.stdout
