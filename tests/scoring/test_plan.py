"""What is estimated of a session by its characters comes near what the tokenizer makes of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import Transcript, text_digest
from centaurlab.models.loading import load_without_weights
from centaurlab.models.shape import model_shape
from centaurlab.prompts.context import Reading
from centaurlab.prompts.encoding import encode
from centaurlab.scoring.options import OptionRules
from centaurlab.scoring.order import divide
from centaurlab.scoring.plan import SAMPLED_PER_STUDY, PlannedSession, SessionLength, estimate_lengths, plan_window
from helpers.paths import PSYCH_201
from helpers.tiny_models import named


def transcript(study: str, participant: int, text: str) -> Transcript:
    return Transcript(text, study, study, str(participant))


def planned(sessions: Sequence[Transcript]) -> list[PlannedSession]:
    """The sessions with their prompts, in the order given."""
    found = plan_window(sessions, [text_digest(s.text) for s in sessions], Reading("full"), OptionRules({}))
    return sorted(found, key=lambda one: one.index)


def test_lengths_are_exact_where_all_are_tokenized_and_close_where_some_are(tiny_llama_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    draw = np.random.default_rng(0)
    words = ["You press <<J>> and win 3.5 points. ", "You press <<F>> and lose. "]
    numbers = ["17 93 4.25 8 1 0 66 <<12>> ", "3 <<-4.75>> "]
    sessions = [
        transcript(study, i, "".join(draw.choice(pieces, draw.integers(3, 90))) + "The end.")
        for study, pieces in (("words", words), ("numbers", numbers))
        for i in range(SAMPLED_PER_STUDY * 5)
    ]
    encodings = [encode(s.text, tokenizer) for s in sessions]
    exact = [(len(e.input_ids_T), int((e.end_R - e.start_R).sum())) for e in encodings]
    few = estimate_lengths(planned(sessions[:1]), tokenizer, 10_000)
    assert (few[0].n_tokens, few[0].n_response_tokens) == pytest.approx(exact[0])
    estimated = estimate_lengths(planned(sessions), tokenizer, 10_000)
    np.testing.assert_allclose([length.n_tokens for length in estimated], [n for n, _ in exact], rtol=0.1)
    np.testing.assert_allclose(
        [length.n_response_tokens for length in estimated], [n for _, n in exact], rtol=0.35, atol=4
    )
    cut = estimate_lengths(planned(sessions), tokenizer, 100)
    assert max(length.n_tokens for length in cut) == pytest.approx(100)
    longest = int(np.argmax([n for n, _ in exact]))
    share = cut[longest].n_response_tokens / estimated[longest].n_response_tokens
    assert share == pytest.approx(100 / estimated[longest].n_tokens)
    assert estimate_lengths(planned([transcript("a", 0, "no answer")]), tokenizer, 100) == [SessionLength(0, 0, 0)]


@pytest.mark.slow
@pytest.mark.skipif(not PSYCH_201.is_dir(), reason="needs the real transcripts")
def test_on_real_sessions_the_slowest_of_four_is_within_five_percent(
    tiny_llama_dir: Path, tiny_gemma_dir: Path
) -> None:
    """Divided by estimated cost; judged by the operations of what the tokenizer makes of every session."""
    folder = tiny_gemma_dir
    tokenizer = AutoTokenizer.from_pretrained(folder)
    shape = model_shape(load_without_weights(named(folder)))
    sessions = list(open_source(DataArguments(str(PSYCH_201), on_malformed="skip")))
    encodings = [encode(s.text, tokenizer, 32_768) for s in sessions]
    true = [shape.flops(len(e.input_ids_T), len(e.input_ids_T), int((e.end_R - e.start_R).sum())) for e in encodings]
    lengths = estimate_lengths(planned(sessions), tokenizer, 32_768)
    estimated = [shape.flops(n.n_tokens, n.n_tokens, n.n_response_tokens) for n in lengths]

    def slowest_over_mean(shares: list[list[int]]) -> float:
        sums = [sum(true[i] for i in share) for share in shares]
        return max(sums) / (sum(sums) / len(sums))

    assert slowest_over_mean(divide(estimated, 4)) <= 1.05
    by_characters = [float(len(s.text)) for s in sessions]
    assert slowest_over_mean(divide(by_characters, 4)) > slowest_over_mean(divide(estimated, 4))
