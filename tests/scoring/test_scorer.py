"""Scores equal what a plain loop over the model's full logits gives, whatever is cut, shared or kept."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from centaurlab.prompts.encoding import Encoding, encode
from centaurlab.results.table import TEMPERATURES, ResponseScores
from centaurlab.scoring import scorer as scoring
from centaurlab.scoring.responses import NonFiniteError
from centaurlab.scoring.scorer import ModelFailureError, SessionScorer, best_chunk
from helpers.transcripts import INSTRUCTIONS, bandit

ANSWERS = ("J", "F", "-3", "très bien", "左 🙂")
SESSIONS = [bandit(person, n, ANSWERS, n_instructions=8) for person, n in enumerate((12, 3, 1, 9))]


@pytest.fixture(params=["llama", "gemma"], scope="module")
def loaded(
    request: pytest.FixtureRequest, tiny_llama_dir: Path, tiny_gemma_dir: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    folder = tiny_llama_dir if request.param == "llama" else tiny_gemma_dir
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def by_hand(model: PreTrainedModel, encoding: Encoding) -> Iterator[tuple[float, int, float, list[float]]]:
    """NLL, greedy correctness, entropy and NLL at each temperature per response, from full logits in float64."""
    ids = torch.from_numpy(encoding.input_ids_T.astype(np.int64))
    with torch.inference_mode():
        logits_TV = model.double()(ids[None], use_cache=False).logits[0]
    model.float()
    assert logits_TV.dtype == torch.float64
    for start, end in zip(encoding.start_R.tolist(), encoding.end_R.tolist(), strict=True):
        nll, hot = 0.0, [0.0] * len(TEMPERATURES)
        for position in range(start, end):
            log_p_V = logits_TV[position - 1].log_softmax(-1)
            nll -= log_p_V[ids[position]].item()
            for k, temperature in enumerate(TEMPERATURES):
                hot[k] -= (logits_TV[position - 1] / temperature).log_softmax(-1)[ids[position]].item()
        first_V = logits_TV[start - 1].log_softmax(-1)
        entropy = -(first_V.exp() * first_V).sum().item()
        greedy = int(logits_TV[start - 1].argmax() == ids[start]) if end - start == 1 else -1
        yield nll, greedy, entropy, hot


def assert_equal_by_hand(scores: ResponseScores, model: PreTrainedModel, encoding: Encoding) -> None:
    nll, greedy, entropy, hot = zip(*by_hand(model, encoding), strict=True)
    assert scores.response_R.tolist() == encoding.response_R.tolist()
    assert scores.n_tokens_R.tolist() == (encoding.end_R - encoding.start_R).tolist()
    np.testing.assert_allclose(scores.nll_R, nll, atol=1e-4)
    np.testing.assert_allclose(scores.entropy_R, entropy, atol=1e-4)
    np.testing.assert_allclose(scores.nll_RK, hot, atol=1e-4)
    assert scores.greedy_correct_R.tolist() == list(greedy)


def columns(scores: ResponseScores) -> list[bytes]:
    return [column.tobytes() for column in vars(scores).values()]


@pytest.mark.parametrize("chunk_tokens", [None, 7, 16, 64, 4096])
def test_scores_equal_those_of_a_plain_loop(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast], chunk_tokens: int | None
) -> None:
    model, tokenizer = loaded
    for text in SESSIONS:
        encoding = encode(text, tokenizer)
        assert len(encoding.start_R)
        assert_equal_by_hand(SessionScorer(model, chunk_tokens).score(encoding).scores, model, encoding)


@pytest.mark.parametrize("head_rows", [1, 5])
def test_scores_do_not_depend_on_how_many_tokens_wait_for_the_head(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast], head_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = loaded
    monkeypatch.setattr(scoring, "HEAD_ROWS", head_rows)
    encoding = encode(SESSIONS[0], tokenizer)
    assert_equal_by_hand(SessionScorer(model, 16).score(encoding).scores, model, encoding)


@pytest.mark.parametrize("chunk_tokens", [None, 16, 4096])
def test_a_shared_prefix_is_computed_once_and_changes_no_bit(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast], chunk_tokens: int | None
) -> None:
    model, tokenizer = loaded
    encodings = [encode(text, tokenizer) for text in SESSIONS]
    all_ids = [e.input_ids_T.tolist() for e in encodings]
    n_shared = next(i for i, column in enumerate(zip(*all_ids, strict=False)) if len(set(column)) > 1)
    shared = [n_shared // 2, n_shared]
    assert n_shared > 64

    scorer = SessionScorer(model, chunk_tokens)
    for i, encoding in enumerate(encodings):
        scored = scorer.score(encoding, shared)
        alone = SessionScorer(model, chunk_tokens).score(encoding, shared)
        assert columns(scored.scores) == columns(alone.scores)
        assert_equal_by_hand(scored.scores, model, encoding)
        inputs = int(encoding.end_R[-1]) - 1
        assert alone.n_computed == inputs
        assert scored.n_computed == inputs - n_shared * (i > 0)


def test_nested_prefixes_are_dropped_when_left(loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    model, tokenizer = loaded
    story = "The word RED is written in blue. "
    texts = [
        *(INSTRUCTIONS * 8 + story * 9 + f"Now {i}: <<J>> <<F>>" for i in range(2)),
        *(INSTRUCTIONS * 8 + f"Later {i}: <<4>>" for i in range(2)),
        *(f"Another study {i}: <<blue>>" for i in range(2)),
    ]
    encodings = [encode(text, tokenizer) for text in texts]
    outer = len(encode(INSTRUCTIONS * 8 + "<<J>>", tokenizer).input_ids_T) - 4
    inner = len(encode(INSTRUCTIONS * 8 + story * 9 + "<<J>>", tokenizer).input_ids_T) - 4
    shared = [(outer, inner), (outer, inner), (outer,), (outer,), (), ()]
    scorer = SessionScorer(model, 16)
    n_computed = 0
    for encoding, prefix in zip(encodings, shared, strict=True):
        scored = scorer.score(encoding, prefix)
        assert columns(scored.scores) == columns(SessionScorer(model, 16).score(encoding, prefix).scores)
        assert_equal_by_hand(scored.scores, model, encoding)
        n_computed += scored.n_computed
    assert n_computed == sum(int(e.end_R[-1]) - 1 for e in encodings) - inner - 2 * outer


def test_nothing_after_the_last_response_is_computed(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    model, tokenizer = loaded
    encoding = encode("You choose <<J>>" + " and win nothing." * 100, tokenizer)
    assert SessionScorer(model).score(encoding).n_computed == encoding.end_R[-1] - 1 < 20


def test_a_session_whose_responses_are_all_empty_has_no_scores(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    model, tokenizer = loaded
    scores = SessionScorer(model).score(encode("You choose << >>", tokenizer)).scores
    assert [len(column) for column in vars(scores).values()] == [0] * 10
    assert scores.nll_RK.shape == (0, len(TEMPERATURES))


def test_a_model_that_gives_nan_is_an_error_not_a_score(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    model, tokenizer = loaded
    broken = type(model)(model.config).eval()
    broken.load_state_dict(model.state_dict())
    with torch.no_grad():
        broken.get_output_embeddings().weight[5, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="response 0"):
        SessionScorer(broken).score(encode("You choose <<J>> and <<F>>", tokenizer))


def test_chunks_on_a_cpu_are_no_longer_than_a_sliding_window(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    model, _ = loaded
    window = getattr(model.config, "sliding_window", None)
    assert best_chunk(model) == (window or 512)


def test_a_token_that_the_model_does_not_know_is_refused_before_it_is_looked_up(tiny_llama_dir: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    n = len(tokenizer)
    tokenizer.add_tokens(["zebra"])
    scorer = SessionScorer(model)
    encoding = encode("You see a zebra. You press <<J>>.", tokenizer)
    refused = pytest.raises(ModelFailureError, match=f"its token {n} is none of the {n} that the model has embeddings")
    with refused:
        scorer.score(encoding)
    with refused:
        scorer.score_together([(encoding, scoring._no_options(encoding))])
    assert len(scorer.score(encode("You see a zebu. You press <<J>>.", tokenizer)).scores.nll_R) == 1
