"""Where models stand among rows without one: differences, completeness, and whom most people follow.

All rows, language models too, are held against each other on the responses that every one of them predicts, a column
of NLLs each. Intervals are those of comparisons (``bootstrap.py``): of studies like these, and of new people in these.

Shapes: P people, B resamples, N people of a group, K rows, Q ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from centaurlab.results.joined import StudyScores
from centaurlab.results.table import EXPERIMENT, NLL, OPTION_NLL, PARTICIPANT, PERSON, RESPONSE, SESSION, STUDY
from centaurlab.results.table import person_names as names_of_people
from centaurlab.stats import bootstrap
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import Effect, estimate_effects
from centaurlab.stats.estimate import NAN, UNKNOWN, Estimate, FloatArray
from centaurlab.stats.selection import Selection, select
from centaurlab.stats.sums import ComparedPair, sum_study

KEY = [*SESSION, RESPONSE]


def joined(tables: Mapping[str, Sequence[pa.Table]], among_options: bool = False) -> pd.DataFrame:
    """The responses that every row has, with ``PERSON`` and the row's NLL in nats in a column of its name.

    Parameters
    ----------
    tables : mapping of str to sequence of pyarrow.Table
        Tables of scores of each row, which together hold a response once; with ``OPTION_NLL`` for ``among_options``.
    among_options : bool
        Whether NLLs are those given that the answer is one of the options, where there are any: what is left of a
        model that is told, as baselines are, what could be answered.
    """
    columns: list[pd.Series] = []
    people: pd.Series | None = None
    for name, parts in tables.items():
        frame = pd.concat([_frame(part) for part in parts], ignore_index=True)
        if people is None or PERSON in frame:
            people = names_of_people(frame).set_axis(pd.MultiIndex.from_frame(frame[KEY]))
        value = frame[NLL].astype(float)
        if among_options:
            value = value - frame[OPTION_NLL].astype(float).fillna(0.0)
        columns.append(value.set_axis(pd.MultiIndex.from_frame(frame[KEY])).rename(name))
    assert people is not None, "no rows"
    return pd.concat([people.rename(PERSON), *columns], axis=1, join="inner").reset_index()


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame.astype(dict.fromkeys((STUDY, EXPERIMENT, PARTICIPANT), str))


def differences(frame: pd.DataFrame, first: str, second: str, estimates: EstimateArguments) -> list[Effect]:
    """The effects of one row against another, first − second: over all studies, then of each."""
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


@dataclass(frozen=True)
class Completeness:
    """Of a row, (chance − NLL) / (chance − end) for each end, in the order of the ends; NaN where an end is no better.

    ``overall``: means over studies, with the interval of studies like these, and ``these`` with that of new people.
    """

    ends: tuple[str, ...]
    overall: tuple[Estimate, ...]
    these: tuple[Estimate, ...]
    studies: Mapping[str, tuple[Estimate, ...]]


def completeness(
    frame: pd.DataFrame, row: str, chance: str, ends: Sequence[str], estimates: EstimateArguments
) -> Completeness:
    """How far a row gets from chance to each of the ``ends``, on the same responses.

    References
    ----------
    Fudenberg, Kleinberg, Liang & Mullainathan 2022, doi:10.1086/718371.
    """
    columns = [chance, row, *ends]

    def share(totals_BK: FloatArray) -> FloatArray:
        chance_B, row_B, end_BQ = totals_BK[:, 1], totals_BK[:, 2], totals_BK[:, 3:]
        gain_QB = (chance_B[:, None] - end_BQ).T
        found_QB = bootstrap.divide(np.broadcast_to(chance_B - row_B, gain_QB.shape).copy(), gain_QB)
        found_QMB: FloatArray = np.where(gain_QB > 0, found_QB, NAN)[:, None]
        return found_QMB

    studies = {}
    for study, part in frame.groupby(STUDY):
        sums = part.assign(n=1.0).groupby(PERSON)[["n", *columns]].sum().to_numpy(np.float64)
        weight_PQM = np.repeat(sums[:, :1, None], len(ends), axis=1)
        studies[str(study)] = bootstrap.Study(sums, share, weight_PQM)
    found = bootstrap.estimate(
        studies,
        estimates.resamples,
        lambda name: bootstrap.generator(estimates.seed, *(("overall",) if name is None else ("study", name))),
    )
    each = range(len(ends))
    return Completeness(
        tuple(ends),
        overall=tuple(found.overall.estimate(q) for q in each),
        these=tuple(found.these(q) for q in each),
        studies={study: tuple(draws.estimate(q) for q in each) for study, draws in found.studies.items()},
    )


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
