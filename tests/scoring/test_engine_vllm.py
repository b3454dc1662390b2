"""--engine vllm gives our numbers where it gives any, says what it is, and is never mixed with our own scorer.

vLLM itself cannot be had here: a stand-in with its signatures and checks is in its place.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from centaurlab.analyses.diagnosis import diagnose
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model
from centaurlab.models.self_check import SelfCheck
from centaurlab.prompts.encoding import Encoding, encode
from centaurlab.results.run import check_same, read_run
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.engine_vllm import VllmScorer, find_engine
from centaurlab.scoring.options import ResponseOptions
from centaurlab.scoring.scorer import Piece, SessionScorer
from helpers import vllm_standin
from helpers.adapters import save_adapter
from helpers.commands import UNTRACKED, centaurlab
from helpers.json_files import read_json, run_json
from helpers.score_runs import options
from helpers.transcripts import bandit, two_keys, write_transcripts

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


def scorer_of(model: PreTrainedModel) -> SessionScorer:
    return SessionScorer(model, 512, SelfCheck(True, True, True, None, packed=True))


def varied(folder: Path) -> list[tuple[Encoding, ResponseOptions]]:
    """Sessions of answers of one token and of several, of which each third has no options and others other ones."""
    keys = ("J", "F", "-3", "très bien", "left 🙂")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sessions = []
    for person, n_trials in enumerate((5, 2, 9, 4, 6)):
        encoding = encode(bandit(person, n_trials, keys, n_instructions=3), tokenizer)
        answer_R = encoding.input_ids_T[encoding.start_R]
        ids_O = np.unique([*answer_R, 5 + person, 7, 9]).astype(np.int32)
        is_option_RO = np.zeros((len(answer_R), len(ids_O)), bool)
        for r, answer in enumerate(answer_R):
            is_option_RO[r] = np.isin(ids_O, [answer, *((5 + person, 9), (7,))[r % 2]]) & (r % 3 != 2)
        sessions.append((encoding, ResponseOptions(ids_O, is_option_RO, is_option_RO.sum(1).astype(np.int32))))
    return sessions


@pytest.fixture(scope="module")
def loaded(tiny_llama_dir: Path) -> PreTrainedModel:
    return load_model(ModelArguments(str(tiny_llama_dir), dtype="float32"), torch.device("cpu"))


def engine_of(model: PreTrainedModel, folder: Path) -> VllmScorer:
    return VllmScorer("vllm 0.33.0", folder, lambda: scorer_of(model), "float32", 1000)


def test_answers_of_several_tokens_and_what_has_no_options_or_others_are_scored_alike(
    loaded: PreTrainedModel, tiny_llama_dir: Path
) -> None:
    sessions, ours = varied(tiny_llama_dir), scorer_of(loaded)
    engine = engine_of(loaded, tiny_llama_dir)
    for (encoding, offered), found in zip(sessions, engine.score_together(sessions), strict=True):
        expected = ours.score(encoding, (), offered).scores
        for name in ("response_R", "n_tokens_R", "nll_R", "greedy_correct_R", "n_options_R", "option_nll_R"):
            np.testing.assert_allclose(getattr(found.scores, name), getattr(expected, name), atol=1e-4, err_msg=name)
    assert {1, 2} < {int(n) for encoding, _ in sessions for n in encoding.end_R - encoding.start_R}
    pieces = [Piece(encoding, offered, ()) for encoding, offered in sessions[:3]]
    found, expected = engine.score_pieces(pieces).scores, ours.score_pieces(pieces).scores
    np.testing.assert_allclose(found.nll_R, expected.nll_R, atol=1e-4)
    np.testing.assert_array_equal(found.response_R, expected.response_R)


@pytest.mark.parametrize("fault", ["options", "likeliest"])
def test_wrong_options_and_likeliest_tokens_are_refused_where_nlls_are_right(
    fault: str, loaded: PreTrainedModel, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = vllm_standin.LLM._answer

    def wrong(llm: vllm_standin.LLM, ids: list[int], asked: vllm_standin.SamplingParams) -> vllm_standin.RequestOutput:
        given = answer(llm, ids, asked)
        if fault == "options":
            assert given.prompt_token_id_logprobs is not None
            given.prompt_token_id_logprobs[:, 1:] += 0.5
        for token, said in zip(ids, given.prompt_logprobs or [], strict=True):
            if said and fault == "likeliest":
                said[token].logprob = 0.0
        return given

    monkeypatch.setattr(vllm_standin.LLM, "_answer", wrong)
    with pytest.raises(UserError, match=r"more than 0\.001 nats, or other likeliest tokens .* is refused"):
        engine_of(loaded, tiny_llama_dir).score_together(varied(tiny_llama_dir))


def test_an_engine_that_dies_is_a_sentence(
    loaded: PreTrainedModel, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> object:
        raise vllm_standin.EngineDeadError("EngineCore encountered an issue")

    engine, sessions = engine_of(loaded, tiny_llama_dir), varied(tiny_llama_dir)[:1]
    engine.score_together(sessions)
    monkeypatch.setattr(vllm_standin.LLM, "_answer", die)
    with pytest.raises(UserError, match="0 ended: EngineCore encountered an issue; what is scored is kept"):
        engine.score_together(sessions)


def test_a_run_says_which_engine_it_is_of_and_how_far_it_lies_from_ours(theirs: Path, ours: Path) -> None:
    about = run_json(theirs)
    assert about["engine"] == "vllm 0.33.0"
    assert read_json(theirs / "store" / "identity.json")["engine"] == "vllm 0.33.0"
    assert any("self-check: vllm 0.33.0 and our own scorer differ by" in note for note in about["notes"])
    assert about["protocol"]["max_tokens"] == run_json(ours)["protocol"]["max_tokens"] - 1
    assert run_json(ours)["engine"] is None


def test_engines_are_not_mixed(theirs: Path, ours: Path, data: Path, tiny_llama_dir: Path) -> None:
    for folder, asked in ((ours, VLLM), (theirs, ())):
        assert "give another --output_dir" in centaurlab("score", *options(tiny_llama_dir, data, folder, *asked)).error
    with pytest.raises(UserError, match=r"by our own scorer and .* by vllm 0\.33\.0, which round differently"):
        check_same([read_run(ours), read_run(theirs)])
    with pytest.raises(UserError, match="does not say NLLs at other temperatures"):
        diagnose(read_run(theirs), read_run(theirs))


def test_an_engine_that_computes_something_else_is_refused(
    data: Path, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_standin.LLM, "shift", 3.0)
    done = centaurlab("score", *options(tiny_llama_dir, data, tmp_path / "run", *VLLM))
    assert "is refused: score this model without --engine" in done.error
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


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("diagnosis --base MODEL --post MODEL", "does not say NLLs at other temperatures, which diagnosis rests on"),
        ("realignment --model MODEL --people 2", r"temperatures, for lora, recalibration; leave it out"),
        ("misalignment --base MODEL --post ADAPTER", "scores no adapter on its base"),
    ],
)
def test_commands_that_it_cannot_serve_are_refused_before_anything_is_scored(
    command: str, said: str, data: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    if "ADAPTER" in command:
        save_adapter(tiny_llama_dir, tmp_path / "adapter")
    named = {"MODEL": str(tiny_llama_dir), "ADAPTER": str(tmp_path / "adapter")}
    asked = [named.get(word, word) for word in command.split()]
    done = centaurlab(*asked, "--data", str(data), "--output_dir", str(tmp_path / "out"), *VLLM, *UNTRACKED)
    assert said in done.error
    assert not (tmp_path / "out").exists()


def test_one_that_is_too_old_or_not_there_is_told(
    packages: Path, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ModelArguments(str(tiny_llama_dir)), ScoreArguments("out", engine="vllm")
    monkeypatch.setattr("sys.path", [path for path in sys.path if path != str(packages)])
    with pytest.raises(UserError, match=r"vLLM is not installed; install both from a clone, .* pip install . 'vllm"):
        find_engine(*arguments, False, 1)
    vllm_standin.install(tmp_path / "old", monkeypatch, "0.32.1")
    with pytest.raises(UserError, match=r"vLLM 0\.32\.1 cannot score given tokens"):
        find_engine(*arguments, False, 1)
