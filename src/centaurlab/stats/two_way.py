"""Intervals over two kinds of units that cross, each drawn from more of its kind: studies and models, people and items.

Every model meets every study, and everybody every item, so that a mean varies by both. Its variance is that of
clustering by the one, plus that by the other, less that by both at once, which is in each of the two (Cameron, Gelbach
& Miller 2011, doi:10.1198/jbes.2010.07136; each with G / (G - 1) for G clusters). It is never taken to be less than
either alone. The degrees of freedom are those of the kind with fewer units.

Shapes: N contributions to a mean, S studies, M pairs of models, G clusters.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from centaurlab.stats.bootstrap import Draws, Spread
from centaurlab.stats.estimate import NAN, FloatArray

Labels = npt.NDArray[np.int64]


def two_way_variance(contribution_N: FloatArray, one_N: Labels, other_N: Labels) -> float:
    """The variance of a sum of contributions around zero, clustered both ways; labels count from 0, without gaps."""
    one_G, other_G = (summed(contribution_N, labels_N) for labels_N in (one_N, other_N))
    return crossed_variance(one_G, other_G, both_ways(contribution_N, one_N, other_N))


def both_ways(contribution_N: FloatArray, one_N: Labels, other_N: Labels) -> float:
    """The variance clustered by both at once: one cluster for each pair of labels."""
    both_N = np.unique(one_N * (int(other_N.max()) + 1) + other_N, return_inverse=True)[1]
    return _squares(summed(contribution_N, both_N.astype(np.int64)))


def crossed_variance(one_G: FloatArray, other_G: FloatArray, both: float) -> float:
    """The same from the sum of contributions of each unit of either kind, and the variance by ``both`` at once."""
    one, other = _squares(one_G), _squares(other_G)
    return max(one + other - both, one, other)


def models_like_these(studies: Sequence[Draws], statistic: int, columns: Sequence[int], bases: Sequence[str]) -> Spread:
    """The mean over studies and models, both drawn; ``bases`` of the columns: those that share one are one cluster.

    Of a single study, its people are drawn beside the models. NaN with fewer than two bases.
    """
    value_SM = np.array([study.value_QM[statistic, list(columns)] for study in studies])
    is_defined_SM = np.isfinite(value_SM)
    n_M = is_defined_SM.sum(axis=0)
    weight_SM = is_defined_SM / np.maximum(n_M, 1) / max(int((n_M > 0).sum()), 1)
    value = float((weight_SM * np.where(is_defined_SM, value_SM, 0.0)).sum())
    label_M = np.unique(np.array(bases), return_inverse=True)[1]
    study_N, column_N = np.nonzero(is_defined_SM)
    n_bases, n_studies = len(set(label_M[column_N])), len(set(study_N))
    if n_bases < 2:
        return Spread(value if n_bases else NAN)
    contribution_N = (weight_SM * (value_SM - value))[study_N, column_N]
    if len(studies) > 1:
        if n_studies < 2:
            return Spread(value)
        labels = (np.unique(label_N, return_inverse=True)[1] for label_N in (study_N, label_M[column_N]))
        variance = two_way_variance(contribution_N, *(label_N.astype(np.int64) for label_N in labels))
        return Spread(value, variance**0.5, min(n_studies, n_bases) - 1, n_bases)
    (study,) = studies
    part_M = {int(m): float(weight_SM[0, m]) for m in column_N}
    people = study.combination(statistic, {columns[m]: part for m, part in part_M.items()})
    of_each = [
        study.combination(statistic, {columns[m]: part for m, part in part_M.items() if label_M[m] == base}).error ** 2
        for base in sorted(set(label_M[column_N]))
    ]
    present_N = np.unique(label_M[column_N], return_inverse=True)[1]
    of_bases = _squares(summed(contribution_N, present_N.astype(np.int64)))
    variance = max(people.error**2 + of_bases - sum(of_each), people.error**2, of_bases)
    return Spread(value, variance**0.5, min(people.freedom, n_bases - 1), n_bases)


def summed(contribution_N: FloatArray, label_N: Labels) -> FloatArray:
    """(G,) the sum of contributions of each cluster; labels count from 0."""
    return np.bincount(label_N, contribution_N).astype(np.float64)


def _squares(total_G: FloatArray) -> float:
    """Σ over clusters of the squared sum of their contributions, times G / (G - 1)."""
    n_clusters = len(total_G)
    return float((total_G**2).sum()) * n_clusters / (n_clusters - 1) if n_clusters > 1 else 0.0
