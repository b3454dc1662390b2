"""Where models stand among rows without one: differences, completeness, and whom most people follow.

All rows, language models too, are held against each other on the responses that every one of them predicts, a column
of NLLs each. Intervals are those of comparisons (``bootstrap.py``): of studies like these, and of new people in these.

Shapes: R responses.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from centaurlab.results.joined import StudyScores
from centaurlab.results.table import (
    EXPERIMENT,
    N_OPTIONS,
    NLL,
    OPTION_NLL,
    PARTICIPANT,
    PERSON,
    RESPONSE,
    SESSION,
    STUDY,
)
from centaurlab.results.table import person_names as names_of_people
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import Effect, estimate_effects
from centaurlab.stats.estimate import UNKNOWN, Estimate
from centaurlab.stats.selection import Selection, select
from centaurlab.stats.sums import ComparedPair, sum_study
from centaurlab.stats.words import Quantity, in_words

KEY = [*SESSION, RESPONSE]


def joined(tables: Mapping[str, Sequence[pa.Table]], among_options: bool = False) -> pd.DataFrame:
    """The responses that every row has, with ``PERSON`` and the row's NLL in nats in a column of its name.

    Parameters
    ----------
    tables : mapping of str to sequence of pyarrow.Table
        Tables of scores of each row, which together hold a response once; for ``among_options`` with ``OPTION_NLL``
        and ``N_OPTIONS``.
    among_options : bool
        Whether NLLs are those given that the answer is one of the options, where there are any: what is left of a
        model that is told, as baselines are, what could be answered. NaN where there are some and their probability
        is not known.
    """
    columns: list[pd.Series] = []
    people: pd.Series | None = None
    for name, parts in tables.items():
        frame = pd.concat([_frame(part) for part in parts], ignore_index=True)
        if people is None or PERSON in frame:
            people = names_of_people(frame).set_axis(pd.MultiIndex.from_frame(frame[KEY]))
        value = frame[NLL].astype(float)
        if among_options:
            has_options = frame[N_OPTIONS].astype(float) > 1
            value = value - frame[OPTION_NLL].astype(float).where(has_options, 0.0)
        columns.append(value.set_axis(pd.MultiIndex.from_frame(frame[KEY])).rename(name))
    assert people is not None, "no rows"
    return pd.concat([people.rename(PERSON), *columns], axis=1, join="inner").reset_index()


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame.astype(dict.fromkeys((STUDY, EXPERIMENT, PARTICIPANT), str))


def differences(frame: pd.DataFrame, first: str, second: str, estimates: EstimateArguments) -> list[Effect]:
    """The effects of one row against another, first − second, where both are known: over all studies, then of each.

    None where nothing is.
    """
    frame = frame.dropna(subset=[first, second])
    if not len(frame):
        return []
    studies = [
        sum_study(
            StudyScores(
                str(study),
                np.asarray(pd.factorize(part[PERSON])[0], np.int64),
                nll_base_R=part[second].to_numpy(np.float32),
                nll_post_R=part[first].to_numpy(np.float32),
            )
        )
        for study, part in frame.groupby(STUDY)
    ]
    pair = ComparedPair(Contrast(first, second), studies)
    found = estimate_effects([pair], estimates.resamples, estimates.seed)
    return [effect for effect in found if effect.level in ("overall", "study")]


def given_options(overall: Sequence[Effect], n_responses: int) -> str:
    """The difference given that an answer is one of the options, where the probability of these is known."""
    if not overall:
        return "given the options offered, it is not known: the model's folder lacks their probability"
    (among,) = overall
    of = f" ({among.n_responses:,} of {n_responses:,} responses)" if among.n_responses < n_responses else ""
    given = Quantity(f"given the options offered{of}, difference", "nats per response", is_difference=True)
    return in_words(among.nll_difference, given, these=among.nll_difference_these)


def completeness(distance: Estimate, gain: float) -> Estimate:
    """How much of a known ``gain``, from chance to an end, is left at a ``distance`` from the end: 1 − distance / gain.

    That is (chance − NLL) / (chance − end); the interval is that of the distance, on the same responses. NaN where the
    end is no better than chance.

    References
    ----------
    Fudenberg, Kleinberg, Liang & Mullainathan 2022, doi:10.1086/718371.
    """
    if not gain > 0:
        return UNKNOWN
    return Estimate(1 - distance.value / gain, 1 - distance.high / gain, 1 - distance.low / gain)


def selection(frame: pd.DataFrame, rows: Sequence[str]) -> Selection:
    """Which row most people follow, by the sum of what it predicted of each; a person counts once in each study."""
    evidence = -frame.groupby([STUDY, PERSON])[list(rows)].sum()
    return select(rows, evidence.to_numpy(np.float64))


def interval_columns(name: str, estimate: Estimate, these: Estimate = UNKNOWN) -> dict[str, float]:
    """An estimate as the columns of a table, with the interval over new people where it has one of its own."""
    columns = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    if these.is_defined:
        columns |= {f"{name}_low_these": these.low, f"{name}_high_these": these.high}
    return columns
