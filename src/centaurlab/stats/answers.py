"""A table of scores by kind of answer: words of one token and longer texts are not one population.

Three free texts of forty tokens weigh as much in a mean NLL as a hundred choices, so each kind has its own mean, beside
the NLL of guessing among the options, where there are any; and a study says whether few responses hold most of its sum.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from centaurlab.results.table import N_OPTIONS, N_TOKENS, NLL, STUDY
from centaurlab.stats.estimate import NAN
from centaurlab.stats.sums import LONGER, ONE_TOKEN, tail_share
from centaurlab.stats.words import percent

ANSWER_COLUMNS = (N_TOKENS, N_OPTIONS)
"""Columns of ``SCORE_SCHEMA`` beside the NLL that this reads; a table may lack them."""

ALL = "all"
MUCH = 0.5
"""Of a sum, held by the 5 % of responses with the highest NLL: said aloud."""


@dataclass(frozen=True)
class Answers:
    """The responses of one ``kind`` in a study, or all of them: their number, mean NLL and NLL of guessing, in nats.

    ``chance`` is over the ``n_with_options`` that have options; NaN without any. ``tail``: the share of the NLL's sum
    that the 5 % of responses with the highest hold.
    """

    study: str
    kind: str
    n_responses: int
    nll: float
    chance: float
    n_with_options: int
    tail: float


def answer_kinds(table: pa.Table) -> list[Answers]:
    """Each study's responses, and where it has one-token and longer answers, each kind's; by study and kind."""
    study_R = np.asarray(table.column(STUDY).cast(pa.string()).to_pylist(), dtype=object)
    nll_R = table.column(NLL).to_numpy().astype(np.float64)
    n_tokens_R, n_options_R = (
        table.column(name).fill_null(0).to_numpy() if name in table.column_names else np.zeros(len(table), np.int32)
        for name in ANSWER_COLUMNS
    )
    found = []
    for study in sorted(set(study_R)):
        of_study_R = study_R == study
        kinds = {ALL: of_study_R}
        is_long_R = of_study_R & (n_tokens_R > 1)
        if is_long_R.any() and not is_long_R[of_study_R].all():
            kinds |= {ONE_TOKEN: of_study_R & ~is_long_R, LONGER: is_long_R}
        for kind, chosen_R in kinds.items():
            options_R = n_options_R[chosen_R & (n_options_R > 0)]
            nlls = nll_R[chosen_R]
            found.append(
                Answers(
                    *(study, kind, len(nlls), float(nlls.mean())),
                    *(float(np.log(options_R).mean()) if len(options_R) else NAN, len(options_R), tail_share(nlls)),
                )
            )
    return found


def tail_notes(found: Sequence[Answers]) -> Iterator[str]:
    """Of which studies a twentieth of the responses holds more than half of the sum, in sentences."""
    for answers in found:
        if answers.kind == ALL and answers.tail > MUCH:
            yield tail_note(answers.study, answers.tail)


def tail_note(study: str, tail: float) -> str:
    """That the mean NLL of a study is that of few of its responses."""
    return f"in {study}, the 5 % of responses with the highest NLL hold {percent(tail)} of the sum: its mean is theirs"
