"""A folder of scores as a log of inspect_ai: its own reader finds in it what the table holds, to the last bit."""

import importlib.util
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from centaurlab.data.transcripts import SessionKey
from centaurlab.results import inspect_log
from centaurlab.results.inspect_log import write_inspect_log
from centaurlab.results.run import read_run
from centaurlab.results.table import ResponseScores, write_scores
from centaurlab.runs.integrity import digests
from helpers.commands import centaurlab, run_process
from helpers.paths import ROOT
from helpers.score_folders import response_scores, score_folder

OWN = ROOT / ".venv" / "inspect" / "bin" / "python"
"""Of an environment of inspect's own: its libraries and ours want other versions of each other's."""

KEYS = [
    *(SessionKey("r", "r", "1"), SessionKey("r", "exp2", "1"), SessionKey("s/t", "e", "ü „2“\n")),
    *(SessionKey("s_t", "e", "ü „2“_"), SessionKey("s_t", "e", "ü „2“_ (2)")),
    SessionKey("s_t", "e", "../../x"),
]
READ = """
import json, sys
from inspect_ai.log import read_eval_log, read_eval_log_sample, read_eval_log_sample_summaries
from inspect_ai.analysis import samples_df
log = read_eval_log(sys.argv[1])
ids = [summary.id for summary in read_eval_log_sample_summaries(sys.argv[1])]
samples = [read_eval_log_sample(sys.argv[1], name) for name in ids]
assert sorted(sample.id for sample in log.samples) == sorted(ids)  # it orders them by their ids
assert read_eval_log(sys.argv[1], header_only=True).results == log.results
scores = {name: {n: m.value for n, m in of.metrics.items()} for of in log.results.scores for name in [of.name]}
print(json.dumps({
    "status": log.status, "model": log.eval.model, "dataset": log.eval.dataset.name, "scores": scores,
    "completed": log.results.completed_samples, "frame": samples_df(sys.argv[1])["score_nll"].tolist(),
    "samples": [[s.metadata, s.scores["nll"].value, s.scores["nll"].metadata] for s in samples],
}))
"""


def some_scores(seed: int) -> ResponseScores:
    """Scores of a few responses, the first of two tokens."""
    draw, n = np.random.default_rng(seed), 3 + seed
    scores = response_scores(dict(enumerate(draw.gamma(2, size=n))))
    scores.n_tokens_R[0], scores.greedy_correct_R[:] = 2, [-1, *draw.integers(0, 2, n - 1)]
    return scores


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    folder = score_folder(tmp_path / "model", [], prints={"r": "1", "s/t": "2", "s_t": "3"})
    write_scores(folder, ((key, some_scores(i)) for i, key in enumerate(KEYS)))
    about = json.loads((folder / "run.json").read_text())
    about["data"]["studies"]["r"] |= {"nll": 0.5, "accuracy": 0.25}
    about["failed_sessions"] = ["one"]
    about["files"] = digests(folder, [folder / "scores.parquet"])
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def of_sessions(folder: Path) -> list[list[dict[str, object]]]:
    """The rows of each session as they lie in the table."""
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    return [[row for row in rows if SessionKey(*list(row.values())[:3]) == key] for key in KEYS]


def test_every_number_stands_in_the_log_and_every_session_has_a_name_of_its_own(scored: Path) -> None:
    assert write_inspect_log(read_run(scored), scored / "log.eval") == len(KEYS)
    with zipfile.ZipFile(scored / "log.eval") as log:
        header, names = json.loads(log.read("header.json")), [n for n in log.namelist() if n.startswith("samples/")]
        samples = [json.loads(log.read(name)) for name in names]
    assert len(set(names)) == len(KEYS)
    assert not any("/" in sample["id"] or "\n" in sample["id"] for sample in samples)
    for sample, rows in zip(samples, of_sessions(scored), strict=True):
        for name, values in sample["scores"]["nll"]["metadata"].items():
            assert values == [row[name] for row in rows], name
        assert sample["scores"]["nll"]["value"] == pytest.approx(np.mean([row["nll"] for row in rows]))
    assert (header["results"]["completed_samples"], header["results"]["total_samples"]) == (len(KEYS), len(KEYS) + 1)


def test_no_folder_of_this_machine_is_in_the_log(scored: Path) -> None:
    """Where the model, its base and the data were given as folders, and notes name others."""
    about, secret = json.loads((scored / "run.json").read_text()), scored / "secret"
    about["data"]["name"] = f"{secret}/data"
    about["model"] |= {"name": f"{secret}/own", "base": f"{secret}/gemma", "adapter": f"{secret}/own"}
    about["notes"] = [f"tokens kept in {secret}/tokens"]
    (scored / "run.json").write_text(json.dumps(about))
    write_inspect_log(read_run(scored), scored / "log.eval")
    with zipfile.ZipFile(scored / "log.eval") as log:
        told = {name: log.read(name).decode() for name in log.namelist()}
    assert [name for name, text in told.items() if "secret" in text] == []
    about = json.loads(told["header.json"])["eval"]
    assert (about["dataset"]["name"], about["model"], about["metadata"]["model"]["base"]) == ("data", "own", "gemma")


def test_the_command_writes_beside_the_scores_or_where_it_is_told(scored: Path, tmp_path: Path) -> None:
    done = centaurlab("export", scored, "--format", "inspect")
    assert done.returncode == 0, done.stderr
    assert (scored / "inspect.eval").exists()
    assert "NAME.eval" in centaurlab("export", scored, "--output", tmp_path / "log.json").error
    assert "is no folder" in centaurlab("export", scored, "--output", tmp_path / "absent" / "log.eval").error
    assert "is not a finished run" in centaurlab("export", tmp_path).error
    assert not list(tmp_path.glob("*.eval"))


def test_what_is_no_number_is_null_and_a_log_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = some_scores(1)  # of four responses, the third an open one to a baseline
    scores.entropy_R[2] = scores.option_nll_R[2] = np.nan
    folder = score_folder(tmp_path / "model", [], prints={"r": "1"})
    write_scores(folder, [(KEYS[0], scores)])
    log = tmp_path / "log.eval"
    write_inspect_log(read_run(folder), log)
    with zipfile.ZipFile(log) as file:
        (name,) = (name for name in file.namelist() if name.startswith("samples/"))
        columns = json.loads(file.read(name), parse_constant=pytest.fail)["scores"]["nll"]["metadata"]
    assert [value is None for value in columns["entropy"]] == [False, False, True, False]
    monkeypatch.setattr(inspect_log, "_results", lambda *_: 1 / 0)
    before = log.read_bytes()
    with pytest.raises(ZeroDivisionError):
        write_inspect_log(read_run(folder), log)
    assert (log.read_bytes(), sorted(path.name for path in tmp_path.iterdir())) == (before, ["log.eval", "model"])


@pytest.mark.slow
def test_inspect_s_own_reader_finds_them(scored: Path) -> None:
    if importlib.util.find_spec("inspect_ai") is None and not OWN.exists():
        pytest.skip("inspect_ai is not installed")
    python = OWN if OWN.exists() else sys.executable
    write_inspect_log(read_run(scored), scored / "log.eval")
    done = run_process(python, "-c", READ, scored / "log.eval", PYTHONPATH=os.devnull)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["status"], found["model"], found["dataset"]) == ("success", "model", "people")
    assert found["scores"] == {"nll": {"mean_over_studies": 0.5, "r": 0.5}, "accuracy": {"r": 0.25}}
    assert found["completed"] == len(found["frame"]) == len(KEYS)
    for (about, mean, columns), key, rows in zip(found["samples"], KEYS, of_sessions(scored), strict=True):
        assert about == {"study": key.study, "experiment": key.experiment, "participant": key.participant}
        assert columns["nll"] == [row["nll"] for row in rows]
        assert mean == pytest.approx(np.mean(columns["nll"]))
