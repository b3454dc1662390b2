"""--engine vllm gives our numbers where it gives any, says what it is, and is never mixed with our own scorer.

vLLM itself cannot be had here: a stand-in with its signatures and checks is in its place.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.analyses.diagnosis import diagnose
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.run import check_same, read_run
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.engine_vllm import find_engine
from helpers import vllm_standin
from helpers.commands import centaurlab
from helpers.json_files import read_json, run_json
from helpers.score_runs import options
from helpers.transcripts import two_keys, write_transcripts

VLLM = ("--engine", "vllm")
SAID = ["participant", "response", "n_tokens", "nll", "greedy_correct", "n_options", "option_nll"]

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(autouse=True, scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("site") / "packages"
    with pytest.MonkeyPatch.context() as patch:
        vllm_standin.install(folder, patch)
        yield folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [
        {"text": two_keys(person, 6), "study": f"study{person % 2}", "experiment": "e", "participant": person}
        for person in range(8)
    ]
    return write_transcripts(tmp_path_factory.mktemp("data") / "data.jsonl", records)


@pytest.fixture(scope="module")
def ours(data: Path, tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    assert centaurlab("score", *options(tiny_llama_dir, data, folder)).returncode == 0
    return folder


@pytest.fixture(scope="module")
def theirs(data: Path, tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs")
    done = centaurlab("score", *options(tiny_llama_dir, data, folder, *VLLM))
    assert done.returncode == 0, done.stderr
    return folder


def table(folder: Path) -> pd.DataFrame:
    found = pd.read_parquet(folder / "scores.parquet").sort_values(["participant", "response"], ignore_index=True)
    return found.astype({"participant": str})


def test_its_numbers_are_ours_and_what_it_does_not_say_is_null(theirs: Path, ours: Path) -> None:
    found, expected = table(theirs), table(ours)
    pd.testing.assert_frame_equal(found[SAID], expected[SAID], atol=1e-5, rtol=0)
    assert found["option_nll"].notna().all()
    unknown = [name for name in found if name == "entropy" or "_t" in name.removeprefix("n_tokens")]
    assert len(unknown) == 25
    assert found[unknown].isna().all(axis=None)
    assert max(vllm_standin.LLM.started[0].requests) == 8  # it is given many sessions at once


def test_a_run_says_which_engine_it_is_of_and_how_far_it_lies_from_ours(theirs: Path, ours: Path) -> None:
    about = run_json(theirs)
    assert about["engine"] == "vllm 0.33.0"
    assert read_json(theirs / "store" / "identity.json")["engine"] == "vllm 0.33.0"
    assert any("self-check: vllm 0.33.0 and our own scorer differ by" in note for note in about["notes"])
    assert about["protocol"]["max_tokens"] == run_json(ours)["protocol"]["max_tokens"] - 1
    assert run_json(ours)["engine"] is None


def test_engines_are_not_mixed(theirs: Path, ours: Path, data: Path, tiny_llama_dir: Path) -> None:
    into_ours = centaurlab("score", *options(tiny_llama_dir, data, ours, *VLLM))
    assert "max_tokens" in into_ours.error or "engine" in into_ours.error
    assert "give another --output_dir" in centaurlab("score", *options(tiny_llama_dir, data, theirs)).error
    with pytest.raises(UserError, match=r"by our own scorer and .* by vllm 0\.33\.0, which round differently"):
        check_same([read_run(ours), read_run(theirs)])
    with pytest.raises(UserError, match="does not say NLLs at other temperatures"):
        diagnose(read_run(theirs), read_run(theirs))


def test_an_engine_that_computes_something_else_is_refused(
    data: Path, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_standin.LLM, "shift", 3.0)
    done = centaurlab("score", *options(tiny_llama_dir, data, tmp_path / "run", *VLLM))
    assert "more than 0.001 is refused: score this model without --engine" in done.error
    assert not (tmp_path / "run" / "scores.parquet").exists()


def test_a_session_that_it_refuses_is_named_and_the_others_are_scored(
    data: Path, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, seen = vllm_standin.LLM._answer, list[list[int]]()

    def refuse(llm: vllm_standin.LLM, ids: list[int], asked: vllm_standin.SamplingParams) -> object:
        seen.append(ids)
        if len(llm.requests) > 1 and ids == seen[0]:
            raise ValueError("no room for it")
        return answer(llm, ids, asked)

    monkeypatch.setattr(vllm_standin.LLM, "_answer", refuse)
    done = centaurlab("score", *options(tiny_llama_dir, data, tmp_path / "run", *VLLM))
    assert done.returncode == 1
    assert "vllm 0.33.0 cannot score it: no room for it" in done.stderr
    assert table(tmp_path / "run")["participant"].nunique() == 7


@pytest.mark.parametrize(
    ("model", "scoring", "said"),
    [
        ({"load_in_4bit": True}, {}, "has no --load_in_4bit"),
        ({"device_map": "auto"}, {}, "has no --device_map"),
        ({}, {"chunk_tokens": 64}, "has no --chunk_tokens"),
    ],
)
def test_what_it_cannot_do_is_refused(
    model: dict[str, object], scoring: dict[str, object], said: str, tiny_llama_dir: Path
) -> None:
    arguments = ModelArguments(str(tiny_llama_dir), **model)
    with pytest.raises(UserError, match=said):
        find_engine(arguments, ScoreArguments("out", engine="vllm", **scoring), False, 1)
    with pytest.raises(UserError, match="starts its own processes"):
        find_engine(ModelArguments(str(tiny_llama_dir)), ScoreArguments("out"), False, 2)


def test_one_that_is_too_old_or_not_there_is_told(
    packages: Path, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ModelArguments(str(tiny_llama_dir)), ScoreArguments("out", engine="vllm")
    monkeypatch.setattr("sys.path", [path for path in sys.path if path != str(packages)])
    with pytest.raises(UserError, match=r"vLLM is not installed; install both .* pip install centaurlab 'vllm>=0.33'"):
        find_engine(*arguments, False, 1)
    vllm_standin.install(tmp_path / "old", monkeypatch, "0.32.1")
    with pytest.raises(UserError, match=r"vLLM 0\.32\.1 cannot score given tokens"):
        find_engine(*arguments, False, 1)
