"""Every token under a model against the softmax written out, in one piece and in chunks."""

import math
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from centaurlab.data.transcripts import Transcript
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.self_check import SelfCheck
from centaurlab.prompts.encoding import encode
from centaurlab.runs.integrity import read_sound_json
from centaurlab.scoring import membership as module
from centaurlab.scoring.membership import membership, memberships, token_scores
from helpers.transcripts import two_keys


@pytest.mark.parametrize("chunks", [True, False])
def test_log_probabilities_and_z_are_those_of_the_softmax(
    tiny_llama_dir: Path, chunks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    encoding = encode(two_keys(0), tokenizer)
    log_p_T, z_T = token_scores(model, encoding.input_ids_T, SelfCheck(True, chunks, True, None))
    ids = encoding.input_ids_T.astype(int)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids.tolist()])).logits[0].double().numpy()
    assert math.isnan(log_p_T[0])
    for t in (1, 6, 7, 8, len(ids) - 1):
        p = np.exp(logits[t - 1] - logits[t - 1].max())
        p /= p.sum()
        mean = sum(q * math.log(q) for q in p)
        sd = math.sqrt(sum(q * (math.log(q) - mean) ** 2 for q in p))
        assert log_p_T[t] == pytest.approx(math.log(p[ids[t]]), abs=1e-4)
        assert z_T[t] == pytest.approx((math.log(p[ids[t]]) - mean) / sd, rel=1e-3, abs=1e-3)
    found = membership(encoding, log_p_T, z_T)
    n_characters = two_keys(0).index("<<") + 2 - encoding.end_character_T[0]  # nothing predicts the first token
    n_before = encoding.start_R[0]
    assert found.nll_character_instructions == pytest.approx(-np.nansum(log_p_T[:n_before]) / n_characters)
    answers = [t for start, end in zip(encoding.start_R, encoding.end_R, strict=True) for t in range(start, end)]
    assert found.nll_character_answers == pytest.approx(-log_p_T[answers].sum() / 12)  # letters of one character
    assert found.min_k_answers == pytest.approx(np.sort(z_T[answers])[:2].mean())


def test_what_is_known_of_a_session_is_read_again(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [Transcript(two_keys(person), "s", "e", str(person)) for person in (0, 1)]
    asked = (ModelArguments(str(tiny_llama_dir), dtype="float32"), sessions, tmp_path, "full", None)
    first = memberships(*asked)
    corrected = [replace(sessions[0], text="You choose <<J>> and then <<F>> of two.\n"), sessions[1]]
    fresh = memberships(asked[0], corrected, tmp_path / "fresh", *asked[3:])
    assert memberships(asked[0], corrected, *asked[2:]) == fresh != first
    monkeypatch.setattr(module, "load_model", None)
    assert memberships(*asked) == first
    assert len({one.min_k_instructions for one in first.values()}) == 1  # the same instructions


@pytest.mark.parametrize(("seconds", "on_disk"), [(0.0, 2), (1e9, 0)])
def test_what_was_computed_before_an_interruption_is_not_computed_again(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, on_disk: int
) -> None:
    """``on_disk``: how many sessions a process that is killed leaves; one that is interrupted leaves both of two."""
    sessions = [Transcript(two_keys(person), "s", "e", str(person)) for person in range(4)]
    model, cut = ModelArguments(str(tiny_llama_dir), dtype="float32"), tmp_path / "cut"
    computed: list[int] = []

    def interrupted(*asked: object) -> object:
        if len(computed) == 2:
            assert len(read_sound_json(cut / "membership.json").get("sessions", {})) == on_disk
            raise KeyboardInterrupt
        computed.append(1)
        return token_scores(*asked)

    monkeypatch.setattr(module, "token_scores", interrupted)
    monkeypatch.setattr(module, "_WRITTEN_EVERY", seconds)
    with pytest.raises(KeyboardInterrupt):
        memberships(model, sessions, cut, "full", None)
    monkeypatch.setattr(module, "token_scores", lambda *asked: (computed.append(1), token_scores(*asked))[1])
    found = memberships(model, sessions, cut, "full", None)
    assert len(computed) == 4
    assert found == memberships(model, sessions, tmp_path / "whole", "full", None)


def test_a_session_with_a_token_that_the_model_does_not_know_has_no_values(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    tokenizer.add_tokens(["zebra"])
    monkeypatch.setattr(module, "load_tokenizer", lambda _: tokenizer)
    texts = ["You see a zebra. You press <<J>>.", "You see a zebu. You press <<J>>."]
    sessions = [Transcript(text, "s", "e", str(person)) for person, text in enumerate(texts)]
    asked = (ModelArguments(str(tiny_llama_dir), dtype="float32"), sessions, tmp_path, "full", None)
    unknown, known = map(astuple, memberships(*asked).values())
    assert all(map(math.isnan, unknown))
    assert math.isfinite(known[0])
    assert all(map(math.isnan, astuple(next(iter(memberships(*asked).values())))))  # read again
