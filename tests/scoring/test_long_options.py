"""Options of several tokens: each against uncached passes over the whole text with the option in the answer's place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from centaurlab.catalog.studies import Ask, Study
from centaurlab.data.options import session_options
from centaurlab.data.transcripts import Transcript
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_tokenizer
from centaurlab.models.passes import layer_windows
from centaurlab.prompts.encoding import Encoding, encode_prompt
from centaurlab.prompts.prompt import session_prompt
from centaurlab.results.table import TEMPERATURES, ResponseScores
from centaurlab.scoring.option_trees import option_tree
from centaurlab.scoring.options import OptionTokens
from centaurlab.scoring.scorer import SessionScorer

NUMBERS = tuple(map(str, range(21)))
WORDS = ("the risky lottery", "the safe lottery", "neither")
STUDY = Study(
    "mine",
    lambda segment, past, opening: Ask(options=NUMBERS if "many" in segment else WORDS),
    first_trial="How",
)
ANSWERS = ("1", "17", "the safe lottery", "2", "neither", "20", "the risky lottery", "0", "10", "neither")


def asked(answer: str) -> str:
    return (
        f"How many of the twenty do you give away? <<{answer}>>.\n" if answer in NUMBERS else f"Which? <<{answer}>>.\n"
    )


TEXT = "There are two lotteries. " + "".join(map(asked, ANSWERS * 3))


@pytest.fixture(scope="module", params=["llama", "gemma", "gpt2"])
def model(request: pytest.FixtureRequest) -> tuple[PreTrainedModel, Path]:
    """In float32; Gemma's layers attend within windows, and GPT-2's positions are learnt."""
    llama: Path = request.getfixturevalue("tiny_llama_dir")
    gemma: Path = request.getfixturevalue("tiny_gemma_dir")
    if request.param != "gpt2":
        folder = gemma if request.param == "gemma" else llama
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), folder
    torch.manual_seed(0)
    size = load_tokenizer(ModelArguments(str(llama))).vocab_size
    config = GPT2Config(vocab_size=size, n_positions=2048, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)
    return GPT2LMHeadModel(config).eval(), llama


def share_nlls(model: PreTrainedModel, before: list[int], options: dict[str, list[int]], answer: str) -> list[float]:
    """-log of the answer's share at temperatures 1 and 2, every option in a pass of its own."""
    log_p = {}
    for name, ids in options.items():
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([before + ids]), use_cache=False).logits[0].double()
        rows = torch.stack([(logits[len(before) - 1 : -1] / t).log_softmax(-1) for t in (1, 2)])
        log_p[name] = rows[:, range(len(ids)), ids].sum(1).numpy()
    shares: list[float] = (np.logaddexp.reduce(list(log_p.values())) - log_p[answer]).tolist()
    return shares


Scored = Callable[..., tuple[Encoding, ResponseScores]]


@pytest.fixture
def scored(model: tuple[PreTrainedModel, Path]) -> Scored:
    tokenizer = load_tokenizer(ModelArguments(str(model[1])))

    def score(long: bool = True, **how: int) -> tuple[Encoding, ResponseScores]:
        prompt = session_prompt(TEXT)
        encoding = encode_prompt(prompt, tokenizer)
        known = session_options(Transcript(TEXT, "mine", "mine", "1"), {}, {"mine": STUDY})
        options = OptionTokens(tokenizer, long).of(prompt, encoding, known)
        scorer = SessionScorer(model[0], **how)
        scorer.score(encoding, (20,), options)
        return encoding, scorer.score(encoding, (20,), options).scores  # from what the first has kept

    return score


def test_the_share_of_the_answer_is_that_of_uncached_passes(
    model: tuple[PreTrainedModel, Path], scored: Scored
) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(model[1])))
    encoding, scores = scored(chunk_tokens=50)
    end = tokenizer(">>.\nHow", add_special_tokens=False).input_ids[:1]
    tokens = {name: tokenizer(name, add_special_tokens=False).input_ids for name in (*NUMBERS, *WORDS)}
    for name, ids in tokens.items():
        others = [other for n, other in tokens.items() if n != name and (n in NUMBERS) == (name in NUMBERS)]
        tokens[name] = ids + end if any(other[: len(ids)] == ids for other in others) else ids
    assert np.isfinite(scores.option_nll_R).all()
    for r in (0, 2, 15, 26):
        answer = (ANSWERS * 3)[r]
        offered = {name: tokens[name] for name in (NUMBERS if answer in NUMBERS else WORDS)}
        before = encoding.input_ids_T[: encoding.start_R[r]].tolist()
        hot = TEMPERATURES.index(2.0)
        found = [scores.nll_R[r] - scores.option_nll_R[r], scores.nll_RK[r, hot] - scores.option_nll_RK[r, hot]]
        assert found == pytest.approx(share_nlls(model[0], before, offered, answer), abs=2e-4)


def test_chunks_change_nothing_and_nlls_are_the_same_without(scored: Scored) -> None:
    scores = scored(chunk_tokens=50)[1]
    np.testing.assert_allclose(scored(chunk_tokens=512)[1].option_nll_R, scores.option_nll_R, atol=2e-4)
    without = scored(long=False, chunk_tokens=50)[1]
    np.testing.assert_array_equal(without.nll_R, scores.nll_R)
    assert np.isnan(without.option_nll_R).all()
    assert (without.n_options_R == scores.n_options_R).all()


def test_a_model_that_keeps_other_things_than_keys_says_so(
    model: tuple[PreTrainedModel, Path], scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert layer_windows(model[0]) is not None
    monkeypatch.setattr("centaurlab.scoring.option_passes.layer_windows", lambda _: None)
    assert np.isnan(scored()[1].option_nll_R).all()


def test_only_an_option_that_begins_another_includes_the_end() -> None:
    tree = option_tree([(1,), (1, 0), (2,)], end=9)
    assert tree is not None
    assert [[token for _, token in path] for path in tree.paths] == [[1, 9], [1, 0], [2]]
    assert (tree.ids, tree.parents, tree.depths()) == ((1,), (-1,), [0])
    assert option_tree([(1,), (1, 9)], end=9) is None
    assert option_tree([(1, 2), (1, 2)], end=9) is None
