"""A table of scores into the mean NLL and the accuracy of each study and over studies, with intervals.

What is drawn is the same as for effects (``bootstrap.py``): a study's participants, and studies for means over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from centaurlab.results.table import GREEDY_CORRECT, NLL, SESSION, STUDY, by_person
from centaurlab.stats import bootstrap
from centaurlab.stats.estimate import Estimate, FloatArray
from centaurlab.stats.scale import POSITIVE, SHARE

MEAN_COLUMNS = (NLL, GREEDY_CORRECT)
"""The columns of ``SCORE_SCHEMA`` that means are taken of."""


@dataclass(frozen=True)
class MeanNll:
    """NLL in nats per response, accuracy over single-token responses (NaN without any); ``level`` as in ``Effect``.

    Intervals of a mean over studies are about studies like these; ``nll_these`` and ``accuracy_these`` have those about
    these studies and new people. Of one study all are about its people.
    """

    level: str
    name: str
    nll: Estimate
    accuracy: Estimate
    n_responses: int
    n_participants: int
    nll_these: Estimate
    accuracy_these: Estimate
    n_studies: int


def mean_nlls(table: pa.Table, n_resamples: int = 2000, seed: int = 0) -> list[MeanNll]:
    """Over all studies (each counts the same), then study by study in alphabetical order; 95 % intervals.

    ``table``: a row per response with ``MEAN_COLUMNS``, as ``results.table.read_scores`` gives it.

    NaN: the interval of a study with one participant, any interval over a single study.
    """
    studies = {
        name: bootstrap.Study(sums_P4, _ratios, sums_P4[:, [0, 2], None])
        for name, sums_P4 in sorted(_participant_sums(table).items())
    }
    found = bootstrap.estimate(
        studies,
        n_resamples,
        lambda name: bootstrap.generator(seed, "overall") if name is None else bootstrap.generator(seed, "study", name),
    )
    return [
        _row("overall", "all studies", list(studies.values()), found.overall, list(found.studies.values())),
        *(_row("study", name, [study], found.studies[name], [found.studies[name]]) for name, study in studies.items()),
    ]


def _row(
    level: str,
    name: str,
    studies: Sequence[bootstrap.Study],
    draws: bootstrap.Draws,
    of_studies: Sequence[bootstrap.Draws],
) -> MeanNll:
    return MeanNll(
        level,
        name,
        nll=draws.estimate(0, scale=POSITIVE),
        accuracy=draws.estimate(1, scale=SHARE),
        n_responses=int(sum(study.sums_PK[:, 0].sum() for study in studies)),
        n_participants=sum(len(study.sums_PK) for study in studies),
        nll_these=bootstrap.over_these(of_studies, 0).estimate(POSITIVE),
        accuracy_these=bootstrap.over_these(of_studies, 1).estimate(SHARE),
        n_studies=len(studies),
    )


def _ratios(totals_B4: FloatArray) -> FloatArray:
    """Mean NLL and accuracy (2, 1, B) from numbers of responses, Σ NLL, single-token responses, right ones."""
    n_2B, total_2B = totals_B4[:, [0, 2]].T, totals_B4[:, [1, 3]].T
    return bootstrap.divide(total_2B, n_2B)[:, None]


def _participant_sums(table: pa.Table) -> dict[str, FloatArray]:
    """Per study the four sums of ``_ratios`` for each participant."""
    table, key = by_person(table), list(SESSION)
    columns = {name: table.column(name) for name in key}
    values = {"nll": table.column(NLL).cast(pa.float64()), "right": table.column(GREEDY_CORRECT).cast(pa.int64())}
    people = (
        pa.table(columns | values)
        .group_by(key, use_threads=False)
        .aggregate([("nll", "count"), ("nll", "sum"), ("right", "count"), ("right", "sum")])
    )
    sums = np.stack(
        [people.column(name).fill_null(0).to_numpy().astype(np.float64) for name in people.column_names[3:]]
    )
    study_P = np.array(people.column(STUDY).to_pylist())
    return {str(name): sums[:, study_P == name].T for name in np.unique(study_P)}
