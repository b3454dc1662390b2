"""Options as tokens, and their probability: against a softmax of the model's own logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from centaurlab.catalog.studies import Ask, Study, letters
from centaurlab.data.options import session_options
from centaurlab.data.transcripts import Transcript
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.encoding import encode_prompt
from centaurlab.prompts.prompt import session_prompt
from centaurlab.scoring.options import OptionRules, OptionsFound, OptionTokens
from centaurlab.scoring.scorer import SessionScorer
from helpers.tokenizers_zoo import FAMILIES


def told(text: str, participant: str = "1") -> Transcript:
    return Transcript(text, "mine", "mine", participant)


def offered(segment: str, past: object, opening: str) -> Ask:
    """The letters named since the last answer."""
    return Ask(options=letters(segment))


CHOICE = Study("mine", offered, first_trial="Choose")
ALWAYS_J = told("Choose J or F. You choose <<J>>. Choose J, F or K. You choose <<J>>. Choose J or K. You choose <<K>>.")


def test_offered_options_count_whatever_was_answered(tiny_llama_dir: Path) -> None:
    """By hand: −log of the summed probability of the options offered, at each response's own position."""
    arguments = ModelArguments(str(tiny_llama_dir), dtype="float32")
    model, tokenizer = load_model(arguments, torch.device("cpu")), load_tokenizer(arguments)
    prompt = session_prompt(ALWAYS_J.text)
    encoding = encode_prompt(prompt, tokenizer)
    options = OptionTokens(tokenizer).of(prompt, encoding, OptionRules({}, {"mine": CHOICE}).of(ALWAYS_J))
    assert options.n_options_R.tolist() == [2, 3, 2]
    scores = SessionScorer(model).score(encoding, (), options).scores
    with torch.inference_mode():
        logits = model(input_ids=torch.from_numpy(encoding.input_ids_T.astype(np.int64))[None]).logits[0].double()
    for r, names in enumerate(("JF", "JFK", "JK")):
        ids = [encode_prompt(session_prompt(f"You choose <<{name}>>."), tokenizer) for name in names]
        tokens = [int(one.input_ids_T[one.start_R[0]]) for one in ids]
        p = logits[encoding.start_R[r] - 1].softmax(-1)[tokens].sum()
        assert scores.option_nll_R[r] == pytest.approx(-float(p.log()), abs=1e-5)
        hot = (logits[encoding.start_R[r] - 1] / 2).softmax(-1)[tokens].sum()
        assert scores.option_nll_RK[r, 7] == pytest.approx(-float(hot.log()), abs=1e-5)
        assert scores.option_nll_R[r] <= scores.nll_R[r]
    alone = SessionScorer(model).score(encoding).scores
    np.testing.assert_array_equal(alone.nll_R, scores.nll_R)
    assert np.isnan(alone.option_nll_R).all()


@pytest.mark.parametrize(("answers", "n_options"), [("JF", 2), ("Jj", 0), ("J☃", 2), ("J☃☂", 0), ("JFJ", 2)])
def test_a_token_that_stands_for_two_answers_makes_no_set_of_options(answers: str, n_options: int) -> None:
    """This tokenizer reads all in lower case, and has one token for all that it does not know."""
    tokenizer = next(family for family in FAMILIES if family.name == "WordPiece").build()
    transcript = told("".join(f"You choose << {answer} >>. " for answer in answers))
    prompt = session_prompt(transcript.text)
    found = OptionTokens(tokenizer).of(prompt, encode_prompt(prompt, tokenizer), session_options(transcript, {}))
    assert found.is_option_RO.sum(axis=1).tolist() == [n_options] * len(answers)
    assert found.n_options_R.tolist() == [n_options] * len(answers)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_answer_is_among_its_options_with_every_kind_of_tokenizer(family) -> None:
    """Or the response has no set: never one without the answer."""
    tokenizer = family.build()
    prompt = session_prompt(ALWAYS_J.text)
    encoding = encode_prompt(prompt, tokenizer)
    found = OptionTokens(tokenizer).of(prompt, encoding, OptionRules({}, {"mine": CHOICE}).of(ALWAYS_J))
    for r, start in enumerate(encoding.start_R):
        chosen = found.ids_O[found.is_option_RO[r]]
        assert not len(chosen) or encoding.input_ids_T[start] in chosen
        assert len(chosen) in (0, found.n_options_R[r])


def test_free_text_is_no_choice_and_long_options_are_trees(tiny_llama_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    free = told("You say <<some words here>>. You say <<quite other ones>>.")
    prompt = session_prompt(free.text)
    found = OptionTokens(tokenizer).of(prompt, encode_prompt(prompt, tokenizer), session_options(free, {}))
    assert found.n_options_R.tolist() == [0, 0]
    words = ("a very long answer indeed", "no")
    study = Study("mine", lambda segment, past, opening: Ask(options=words), first_trial="You")
    asked = told(f"You say <<{words[0]}>>. You say <<no>>.")
    prompt = session_prompt(asked.text)
    rules = OptionRules({}, {"mine": study})
    found = OptionTokens(tokenizer).of(prompt, encode_prompt(prompt, tokenizer), rules.of(asked))
    assert found.n_options_R.tolist() == [2, 2]
    assert not found.is_option_RO.any()
    assert [branching.r for branching in found.long] == [0, 1]
    assert not OptionTokens(tokenizer, long=False).of(prompt, encode_prompt(prompt, tokenizer), rules.of(asked)).long


def test_items_are_the_same_for_everybody_and_differ_from_each_other() -> None:
    rules = OptionRules({})
    one, other = (told(f"Go.\nIs a cat alive? <<{a}>>\nIs a car alive? <<{b}>>\n", p) for p, a, b in ("1yn", "2ny"))
    first, second = (rules.items(session, rules.of(session)) for session in (one, other))
    assert (first == second).all()
    assert first[0] != first[1]


def test_a_digest_of_options_does_not_depend_on_the_order_of_sessions() -> None:
    rules = OptionRules({})
    sessions = [told("<<a>> <<b>>", "1"), told("<<a>> <<c>>", "2")]
    prints = []
    for order in (sessions, sessions[::-1]):
        found = OptionsFound()
        for session in order:
            found.add(rules.of(session), session.participant)
        prints.append(found.fingerprint)
    assert prints[0] == prints[1]
    assert found.rules == {"own answers": 2}
