"""A run's record comes back as it was written, under the names that older and newer versions use for it."""

import json
from pathlib import Path

import pytest

from centaurlab.results.record import (
    Coverage,
    ModelIdentity,
    ScoredData,
    ScoredProtocol,
    ScoredStudy,
    ScoreRecord,
    ScoringSpeed,
)
from centaurlab.results.run import read_run, scored_data, scored_models, write_record
from centaurlab.results.table import write_scores
from centaurlab.runs.folder import RunFolder
from centaurlab.runtime.errors import UserError
from helpers.json_files import run_json, write_json

RECORD = ScoreRecord(
    model=ModelIdentity("tiny", "f00", "t00", "bfloat16", "nf4", base="base", adapter="runs/adapter"),
    protocol=ScoredProtocol("paper", 2048),
    data=ScoredData(
        "people.jsonl",
        "d00",
        {"a": ScoredStudy("a00", 3, 4, 12, 1.25, 0.5), "b": ScoredStudy("b00", 0, 2)},
        notes=("skipped 1 file",),
        skipped_sessions=("people.jsonl:7: unclosed",),
    ),
    coverage={"a": Coverage(12, 10, 1, 1, 2, 3, 0), "b": Coverage()},
    context={"persona": "own", "fields": ["age"]},
    sample={"reached": True, "studies_left_out": ["b"]},
    failed_sessions=("tiny: people.jsonl:3: memory does not suffice",),
    speed=ScoringSpeed(2, 100, 3.5, 2**30, None, 400, 50, 9.25, 1e12, 43.2),
    notes=("floating-point operations are not counted",),
    provenance={"centaurlab": "0.1.0", "git": None, "hardware": {"gpus": ["NVIDIA H100"]}, "time": "2026-01-01"},
)

KEYS = {
    "": "asked centaurlab context coverage data digest engine failed_sessions files git hardware job metrics model "
    "nll_mean notes protocol sample speed time",
    "model": "adapter base dtype fingerprint name quantization tokenizer_fingerprint",
    "protocol": "max_tokens name",
    "data": "fingerprint name notes skipped_sessions studies",
    "speed": "flops peak_gpu_memory_bytes peak_memory_bytes processes scoring_seconds tokens tokens_computed_now "
    "tokens_per_second tokens_reused wall_seconds",
}


def write(folder: Path, record: ScoreRecord) -> Path:
    write_record(RunFolder(folder, "score"), record)
    write_scores(folder, [])
    return folder


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run", RECORD))
    assert run.record == RECORD
    assert (run.model, run.fingerprint, run.n_failed, run.record.gpus) == ("tiny", "f00", 1, ["NVIDIA H100"])
    assert run.record.nll_mean == 1.25
    written = run_json(run.folder)
    assert json.loads(json.dumps(run.about)) == {name: written[name] for name in written if name in run.about}


def test_its_fields_have_the_names_that_every_version_gave_them(tmp_path: Path) -> None:
    about = run_json(write(tmp_path / "run", RECORD))
    assert {part: " ".join(sorted(about[part] if part else about)) for part in KEYS} == KEYS
    assert about["job"] == "score"
    assert " ".join(sorted(about["data"]["studies"]["a"])) == (
        "accuracy fingerprint nll of_sessions option_rules options_fingerprint options_problem people responses "
        "sessions sessions_without_options"
    )
    assert " ".join(sorted(about["coverage"]["a"])) == "cut empty failed images malformed responses scored straddling"


def test_older_records_lack_fields_and_newer_ones_have_more(tmp_path: Path) -> None:
    old = {
        "job": "score",
        "model": {"name": "tiny", "invented": 1},
        "protocol": {"name": "full"},
        "data": {"studies": {"a": {"fingerprint": "a00", "invented": 1}}},
        "coverage": {"a": {"responses": 3, "scored": 3}},
        "invented": {"later": True},
    }
    folder = write(tmp_path / "run", RECORD)
    write_json(folder / "run.json", old)
    record = read_run(folder).record
    assert record.model == ModelIdentity("tiny")
    assert record.data.studies == {"a": ScoredStudy("a00")}
    assert record.coverage == {"a": Coverage(3, 3)}
    assert (record.context, record.sample, record.failed_sessions, record.speed) == (None, None, (), None)
    assert (record.nll_mean, record.gpus) == (None, [])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"job": "score"}',
        '{"job": "score", "model": {}, "protocol": {"name": "full"}, "data": {"studies": {}}}',
        '{"job": "score", "model": {"name": "m"}, "protocol": 7, "data": {"studies": {}}}',
        '{"job": "score", "model": {"name": "m"}, "protocol": {"name": "full"}, "data": {"studies": []}}',
        '{"job": "score", "model": {"name": "m"}, "protocol": {"name": "full"}, "data": {"studies": {"a": {}}}}',
    ],
)
def test_a_damaged_record_is_one_sentence(tmp_path: Path, content: str) -> None:
    folder = write(tmp_path / "run", RECORD)
    (folder / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json is damaged \(.+\); give its 'centaurlab score' command again"):
        read_run(folder)


def test_a_comparison_says_what_its_runs_scored(tmp_path: Path) -> None:
    run = read_run(write(tmp_path / "run", RECORD))
    (model,) = scored_models({"asked for": run})
    assert model == {
        "asked": "asked for",
        "folder": str(tmp_path / "run"),
        "protocol": {"name": "paper", "max_tokens": 2048},
        "failed": 1,
        "data": RECORD.data.fingerprint,
        **RECORD.model.as_dict(),
    }
    assert scored_data([run])["studies"] == {"a": {"fingerprint": "a00"}, "b": {"fingerprint": "b00"}}
