"""Free runs against independent oracles: all paths enumerated, scoring's probabilities, other batches."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from centaurlab.data.options import session_options
from centaurlab.data.transcripts import Transcript, find_responses
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.encoding import encode
from centaurlab.prompts.prompt import session_prompt
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.options import OptionTokens
from centaurlab.scoring.scorer import SessionScorer
from centaurlab.simulation import packed
from centaurlab.simulation.answers import FreeWords, Vocabulary
from centaurlab.simulation.environments.bandits import Walk
from centaurlab.simulation.environments.bandits import bandit as bandit_environment
from centaurlab.simulation.environments.environment import Environment
from centaurlab.simulation.packed import PackedModel, Stretch
from centaurlab.simulation.play import DRAWS_APART, AnswerError, Chance, Play, Question
from centaurlab.simulation.player import Person, Player, Settings, Simulated
from centaurlab.simulation.questions import OpenLoop
from helpers.transcripts import bandit

SETTINGS = Settings(seed=0, temperature=1.0, max_tokens=2048, max_new_tokens=8)


@pytest.fixture(params=["llama", "gemma"], scope="module")
def loaded(
    request: pytest.FixtureRequest, tiny_llama_dir: Path, tiny_gemma_dir: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    folder = tiny_llama_dir if request.param == "llama" else tiny_gemma_dir
    arguments = ModelArguments(str(folder), dtype="float32")
    return load_model(arguments), load_tokenizer(arguments)


def person(text: str, replicates: int = 1, name: str = "p", study: str = "alpha") -> Person:
    told = Transcript(text, study, "exp1", name)
    session = OpenLoop(told, None, session_options(told, {}), "unknown")
    return Person(told.key, session, tuple(range(1, replicates + 1)))


def run(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
    people: Sequence[Person],
    settings: Settings = SETTINGS,
    at_once: int = 64,
    chunk_tokens: int | None = None,
) -> dict[tuple[str, int], Simulated | AnswerError]:
    found: dict[tuple[str, int], Simulated | AnswerError] = {}
    player = Player(PackedModel(loaded[0], chunk_tokens), loaded[1], settings, at_once)
    player.play(people, lambda person, replicate, ended: found.update({(person.key.participant, replicate): ended}))
    return found


def simulated(found: dict[tuple[str, int], Simulated | AnswerError]) -> dict[tuple[str, int], Simulated]:
    assert all(isinstance(ended, Simulated) for ended in found.values()), found
    return {name: ended for name, ended in found.items() if isinstance(ended, Simulated)}


def answers(found: dict[tuple[str, int], Simulated | AnswerError]) -> dict[tuple[str, int], list[str]]:
    return {name: [answer.text for answer in ended.answers] for name, ended in simulated(found).items()}


@cache
def oracle(folder: Path) -> PreTrainedModel:
    """The model by transformers alone, in float64."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


def log_p(folder: Path, ids: list[int]) -> torch.Tensor:
    """Log-probabilities after ``ids``, without a cache."""
    model = oracle(folder)
    with torch.inference_mode():
        found: torch.Tensor = model(torch.tensor(ids)[None], use_cache=False).logits[0, -1].log_softmax(-1)
    return found


@pytest.mark.parametrize(
    ("model", "n_runs"),
    [("llama", 500), ("gemma", 500), pytest.param("llama", 20_000, marks=pytest.mark.release)],
)
def test_paths_are_taken_as_often_as_enumeration_says(
    model: str, n_runs: int, tiny_llama_dir: Path, tiny_gemma_dir: Path
) -> None:
    folder = tiny_llama_dir if model == "llama" else tiny_gemma_dir
    arguments = ModelArguments(str(folder), dtype="float32")
    text = "Three keys, J, F and K. You press <<J>>. You press <<F>>, then <<K>>."
    tokenizer = AutoTokenizer.from_pretrained(folder)
    segments = ["Three keys, J, F and K. You press <<", ">>. You press <<", ">>, then <<"]
    expected = {}
    for path in itertools.product("FJK", repeat=3):
        total, ids = 0.0, tokenizer(segments[0]).input_ids
        for n, key in enumerate(path):
            options = [tokenizer(option, add_special_tokens=False).input_ids for option in "FJK"]
            assert all(len(option) == 1 for option in options)
            log_p_V = log_p(folder, ids)
            log_p_O = torch.stack([log_p_V[option[0]] for option in options]).log_softmax(-1)
            total += log_p_O["FJK".index(key)].item()
            following = segments[n + 1] if n < 2 else ""
            ids = ids + options["FJK".index(key)] + tokenizer(following, add_special_tokens=False).input_ids
        expected[path] = np.exp(total)
    assert sum(expected.values()) == pytest.approx(1)
    found = run((load_model(arguments), load_tokenizer(arguments)), [person(text, n_runs)], at_once=500)
    counts = Counter(tuple(of_run) for of_run in answers(found).values())
    frequent = [path for path, p in expected.items() if p * n_runs >= 5]
    expected_C = np.array([expected[path] * n_runs for path in frequent])
    observed_C = np.array([counts[path] for path in frequent])
    observed_C, expected_C = (np.append(of, n_runs - of.sum()) for of in (observed_C, expected_C))  # and all others
    assert stats.chisquare(observed_C, expected_C).pvalue > 0.001


def test_rounding_is_not_taken_for_other_numbers(tiny_gemma_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(ModelArguments(str(tiny_gemma_dir), dtype="bfloat16"))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    monkeypatch.setattr(packed, "_TOLERANCE_ROUNDED", 0.0)
    PackedModel(model).prepare(range(5, 45))
    assert all(weight.equal(before[name]) for name, weight in model.state_dict().items())
    forgetful = PackedModel(model)
    forgetful._windows = [2 for _ in forgetful._windows]
    with pytest.raises(UserError, match="gives other numbers where sessions are computed side by side"):
        forgetful.prepare(range(5, 45))


def test_option_probabilities_are_those_of_scoring(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast], tiny_llama_dir: Path
) -> None:
    people = [person(bandit(i, 12, "JF", n_instructions=2), 3, str(i)) for i in range(4)]
    found = simulated(run(loaded, people, chunk_tokens=37))
    plain = AutoModelForCausalLM.from_pretrained(loaded[0].name_or_path, dtype=torch.float32).eval()
    scorer = SessionScorer(plain)
    options = {one.key.participant: one.session.options for one in people}
    for (name, _), ended in found.items():
        assert ended.same_tokens
        encoding = encode(ended.text, loaded[1])
        offered = OptionTokens(loaded[1]).of(session_prompt(ended.text), encoding, options[name])
        scores = scorer.score(encoding, options=offered).scores
        p = np.exp(scores.option_nll_R - scores.nll_R)
        np.testing.assert_allclose([answer.p for answer in ended.answers], p, atol=1e-5)
        np.testing.assert_allclose([answer.off_option_nats for answer in ended.answers], scores.option_nll_R, atol=1e-4)


def test_options_of_several_tokens_have_the_probability_of_all_their_tokens(tiny_llama_dir: Path) -> None:
    arguments = ModelArguments(str(tiny_llama_dir), dtype="float32")
    options = ("1", "10", "left")
    text = "How many? <<1>>. How many? <<10>>. Where? <<left>>."
    (ended,) = simulated(run((load_model(arguments), load_tokenizer(arguments)), [person(text)])).values()
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    ids, log_p_O = tokenizer("How many? <<").input_ids, []
    for option in options:
        total, tokens = 0.0, tokenizer(option, add_special_tokens=False).input_ids
        end = tokenizer(">>. How", add_special_tokens=False).input_ids[:1] if option == "1" else []  # "10" goes on
        for n, token in enumerate([*tokens, *end]):
            total += log_p(tiny_llama_dir, ids + tokens[:n])[token].item()
        log_p_O.append(total)
    first = ended.answers[0]
    together = np.logaddexp.reduce(log_p_O)
    assert np.log(first.p) == pytest.approx(log_p_O[options.index(first.text)] - together, abs=1e-4)
    assert first.off_option_nats == pytest.approx(-together, abs=1e-4)


def test_neither_batches_nor_chunks_change_an_answer(loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    words = ("J", "F", "-3", "très bien", "左 🙂", *"abcdefghijklmnopqrstuvwxyz")  # too many to be options: free words
    people = [person(bandit(i, 3 + 4 * i, "JF"), 3, f"a{i}") for i in range(4)]
    people += [person(bandit(i, 20, words), 2, f"b{i}", "beta") for i in range(2)]
    first, *others = (
        answers(run(loaded, people, at_once=at_once, chunk_tokens=chunk))
        for at_once, chunk in ((1, None), (7, 64), (64, 33))
    )
    assert all(other == first for other in others)
    assert any(len(set(said)) > 2 for name, said in first.items() if name[0].startswith("b"))


def test_what_takes_most_passes_begins_first(loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    choices = person(bandit(0, 40, "JF"), name="choices")
    words = person(bandit(1, 15, [*"abcdefghijklmnopqrstuvwxyz"]), name="words")
    assert len(choices.session.transcript.text) > len(words.session.transcript.text)
    assert [name for name, _ in run(loaded, [choices, words], at_once=1)] == ["words", "choices"]


def test_free_words_leave_a_session_that_scoring_reads_as_it_was_simulated(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    people = [person(bandit(i, 20, [*"abcdefghijklmnopqrstuvwxyz"]), 2, str(i)) for i in range(3)]
    for ended in simulated(run(loaded, people)).values():
        assert ended.same_tokens
        told = [ended.text[r.start : r.end] for r in find_responses(ended.text)]
        assert told == [answer.text for answer in ended.answers]
        assert len(told) == 20
        assert all(answer.n_options is None and 0 < answer.p <= 1 for answer in ended.answers)


def test_words_that_do_not_end_leave_no_half_of_a_marker(tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_llama_dir)))
    size = len(tokenizer)
    words = FreeWords(Vocabulary(tokenizer, size), np.random.default_rng(0), max_new_tokens=2)
    for character in "a>":
        (token,) = tokenizer(character, add_special_tokens=False).input_ids
        words.add(torch.full((size,), -torch.inf).index_fill(0, torch.tensor(token), 0.0))
    assert words.answer is not None
    assert (words.answer.text, words.answer.is_complete) == ("a", False)


@pytest.mark.parametrize("token", [0, ord("a")], ids=["never said", "said"])
@pytest.mark.parametrize("logit", [math.nan, math.inf])
def test_no_word_is_drawn_from_what_is_no_number(tiny_llama_dir: Path, token: int, logit: float) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_llama_dir)))
    words = FreeWords(Vocabulary(tokenizer, len(tokenizer)), np.random.default_rng(0), max_new_tokens=2)
    with pytest.raises(AnswerError, match="NaN or infinity"):
        words.add(torch.zeros(len(tokenizer)).index_fill(0, torch.tensor(token), logit))


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # as which sessions are put together; there single tokens are, too
@torch.inference_mode()
def test_sessions_put_together_are_each_as_if_alone(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = loaded
    model.set_attn_implementation("sdpa")
    sessions = [[(7 * place + number) % 90 + 5 for place in range(30 + 4 * number)] for number in range(6)]
    wholes = [model(torch.tensor([ids])).logits[0] for ids in sessions]
    groups, together = packed._groups, PackedModel(model)
    monkeypatch.setattr(packed, "_groups", lambda parts, _: groups(parts, torch.device(device)))
    together.prepare(sessions[0])
    sizes: list[int] = []
    attend = packed.attend_to_visible
    monkeypatch.setattr(packed, "attend_to_visible", lambda *given: (sizes.append(len(given[0])), attend(*given))[1])
    caches = [together.new_cache() for _ in sessions]
    found: dict[int, torch.Tensor] = {}
    for start, end in ((None, -9), (-9, -2), (-2, -1), (-1, None)):
        together.compute(
            [
                Stretch(cache, ids[start:end], partial(found.__setitem__, number))
                for number, (cache, ids) in enumerate(zip(caches, sessions, strict=True))
            ]
        )
        for number, whole_TV in enumerate(wholes):
            assert torch.allclose(found[number], whole_TV[-1 if end is None else end - 1], atol=1e-4)
    assert max(sizes) == len(sessions)
    assert (sizes[-1] == 1) == (device == "cpu")


def test_an_answer_of_which_nothing_is_seen_cannot_end(tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_llama_dir)))
    vocabulary = Vocabulary(tokenizer, len(tokenizer))
    (end,) = tokenizer(">", add_special_tokens=False).input_ids
    unseen = ["", " \t", "\u200b", "\ufeff \u3164"]
    logits_V = torch.zeros(len(tokenizer))
    found = [float(vocabulary.possible(logits_V, answer)[0][end]) for answer in [*unseen, "a"]]
    assert found == [*([-math.inf] * 4), 0.0]


def test_a_session_ends_at_the_last_answer_that_fits_the_window(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    text = bandit(0, 30, "JF", n_instructions=1)
    whole = len(encode(text, loaded[1]).input_ids_T)
    settings = Settings(0, 1.0, whole // 2, 8)
    (ended,) = simulated(run(loaded, [person(text)], settings)).values()
    assert 0 < len(ended.answers) < 30
    assert ended.n_cut == 30 - len(ended.answers)
    assert ended.text.endswith(">>")
    encoding = encode(ended.text, loaded[1], settings.max_tokens)
    assert encoding.coverage.cut == 0
    (failed,) = run(loaded, [person(text)], Settings(0, 1.0, 10, 8)).values()
    assert "beyond the context window of 10 tokens" in str(failed)


def test_temperature_near_zero_takes_the_likeliest_option(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    found = answers(run(loaded, [person(bandit(1, 8, "JF"), 5)], Settings(0, 1e-4, 2048, 8)))
    assert len({tuple(of_run) for of_run in found.values()}) == 1


def test_batches_change_nothing_of_what_an_environment_tells(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    words = {"told": " and win {outcome}. You choose ", "last": " and win {outcome}. "}
    people = []
    for n in range(3):
        told = Transcript(
            f"Person {n}. You choose " + "<<J>> and win 0. You choose <<F>> and win 1. ", "s", "e", str(n)
        )
        loop = OpenLoop(
            told,
            None,
            session_options(told, {}),
            "environment",
            bandit_environment("s", Walk(), **words, n_trials=6 + n),
        )
        people.append(Person(told.key, loop, tuple(range(1, 5))))
    first, *others = (
        {name: ended.text for name, ended in simulated(run(loaded, people, at_once=at_once)).items()}
        for at_once in (1, 7, 64)
    )
    assert all(other == first for other in others)
    assert len(set(first.values())) > 3
    for (name, _), text in first.items():
        assert text.count("<<") == 6 + int(name)


def test_no_session_is_written_that_the_model_did_not_read(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    """An environment that draws its beginning by itself tells another one each time that it is played."""
    drawn = itertools.count()

    def play(_session: Transcript, _chance: Chance) -> Play:
        yield Question(f"There are {next(drawn)} trials. You press ", ("J", "F"))
        return "."

    one = person("You press <<J>>.", replicates=3)
    found = run(loaded, [replace(one, session=replace(one.session, environment=Environment("s", play)))])
    assert len(found) == 3
    assert {str(ended) for ended in found.values()} == {DRAWS_APART}


def test_a_token_that_the_model_does_not_know_ends_its_session_alone(tiny_llama_dir: Path) -> None:
    arguments = ModelArguments(str(tiny_llama_dir), dtype="float32")
    tokenizer = load_tokenizer(arguments)
    tokenizer.add_tokens(["zebra", "zebu"])
    texts = {
        "opening": "You see a zebra. You press <<J>>. You press <<F>>.",
        "later": "You press <<J>>. You see a zebra. You press <<F>>.",
        "option": "You press <<J>>. You press <<zebu>>.",
        "fine": "You press <<J>>. You press <<F>>.",
    }
    found = run((load_model(arguments), tokenizer), [person(text, name=name) for name, text in texts.items()])
    assert isinstance(found.pop(("fine", 1)), Simulated)
    assert len(found) == 3
    for ended in found.values():
        assert "that the model has embeddings of" in str(ended)
