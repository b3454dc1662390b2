"""A table of scores into the mean NLL and the accuracy of each study and over studies, with intervals.

What is drawn is the same as for effects (``bootstrap.py``): a study's participants, and studies for means over them.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from centaurlab.results.table import GREEDY_CORRECT, NLL, SESSION, STUDY
from centaurlab.stats.bootstrap import interval, resampled_means, resampled_sums
from centaurlab.stats.estimate import NAN, Estimate, FloatArray, IntArray

_STATISTICS = 2  # NLL, accuracy


MEAN_COLUMNS = (NLL, GREEDY_CORRECT)
"""The columns of ``SCORE_SCHEMA`` that means are taken of."""


@dataclass(frozen=True)
class MeanNll:
    """NLL in nats per response, accuracy over single-token responses (NaN without any); ``level`` as in ``Effect``."""

    level: str
    name: str
    nll: Estimate
    accuracy: Estimate
    n_responses: int
    n_participants: int


@dataclass(frozen=True)
class _Study:
    name: str
    sums_P4: FloatArray
    value_2: FloatArray
    replicate_2B: FloatArray


def mean_nlls(table: pa.Table, n_resamples: int = 2000, seed: int = 0) -> list[MeanNll]:
    """Over all studies (each counts the same), then study by study in alphabetical order; 95 % intervals.

    ``table``: a row per response with ``MEAN_COLUMNS``, as ``results.table.read_scores`` gives it.

    NaN: the interval of a study with one participant, any interval over a single study.
    """
    studies = [
        _estimate(name, sums_P4, n_resamples, seed) for name, sums_P4 in sorted(_participant_sums(table).items())
    ]
    rows = []
    for study in studies:
        n_people_2 = (study.sums_P4[:, [0, 2]] > 0).sum(axis=0)
        rows.append(_row("study", study.name, [study], study.replicate_2B, n_people_2))
    values_S2 = np.stack([study.value_2 for study in studies])
    means_2B = np.stack(
        [
            resampled_means(value_S[:, None], n_resamples, np.random.default_rng([seed, zlib.crc32(b"overall")]))[:, 0]
            for value_S in values_S2.T
        ]
    )
    return [_row("overall", "all studies", studies, means_2B, np.isfinite(values_S2).sum(axis=0)), *rows]


def _row(level: str, name: str, studies: list[_Study], replicate_2B: FloatArray, n_units_2: IntArray) -> MeanNll:
    estimates = []
    for q in range(_STATISTICS):
        values = np.array([study.value_2[q] for study in studies])
        defined = values[np.isfinite(values)]
        value = float(defined.mean()) if len(defined) else NAN
        estimates.append(Estimate(value, *interval(value, replicate_2B[q], int(n_units_2[q]))))
    nll, accuracy = estimates
    return MeanNll(
        level,
        name,
        nll,
        accuracy,
        n_responses=int(sum(study.sums_P4[:, 0].sum() for study in studies)),
        n_participants=sum(len(study.sums_P4) for study in studies),
    )


def _estimate(name: str, sums_P4: FloatArray, n_resamples: int, seed: int) -> _Study:
    rng = np.random.default_rng([seed, zlib.crc32(b"study"), zlib.crc32(name.encode("utf-8", "surrogatepass"))])
    value_21 = _ratios(sums_P4.sum(axis=0, keepdims=True))
    return _Study(name, sums_P4, value_21[:, 0], _ratios(resampled_sums(sums_P4, n_resamples, rng)))


def _ratios(sums_B4: FloatArray) -> FloatArray:
    """Mean NLL and accuracy (2, B) from numbers of responses, Σ NLL, single-token responses, right ones."""
    n_2B, total_2B = sums_B4[:, [0, 2]].T, sums_B4[:, [1, 3]].T
    return np.divide(total_2B, n_2B, out=np.full_like(n_2B, NAN), where=n_2B > 0)


def _participant_sums(table: pa.Table) -> dict[str, FloatArray]:
    """Per study the four sums of ``_ratios`` for each participant."""
    key = list(SESSION)
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
