"""How other work sums up simulated behaviour, beside which ours can be read: SimBench's score, PAS, CCC, rank of NLLs.

None of these has a floor: groups of few people disagree with one another too.

Shapes: C cells, I items, N people, S studies, M models.
"""

import math

import numpy as np

from centaurlab.stats.estimate import NAN, Estimate, FloatArray, IntArray

_ROUNDING = 1e-12

_CAUCHY = math.sqrt(2) / 2


def simbench_score(people_C: FloatArray, model_C: FloatArray, item_C: IntArray) -> float:
    """100 where all items are answered alike, 0 where the model is as far from people as answering at random is.

    100 · (1 − mean TVD of the model / mean TVD of equal shares), over items that both answered.

    References
    ----------
    Hu et al. 2025, arXiv:2510.17516, section 3.
    """
    model_I, uniform_I = [], []
    for cells in _items(item_C):
        people, model = people_C[cells], model_C[cells]
        if people.sum() and model.sum():
            share = people / people.sum()
            model_I.append(0.5 * np.abs(share - model / model.sum()).sum())
            uniform_I.append(0.5 * np.abs(share - 1 / len(share)).sum())
    return 100 * (1 - float(np.mean(model_I) / np.mean(uniform_I))) if sum(uniform_I) > 0 else NAN


def jensen_shannon(people_C: FloatArray, model_C: FloatArray, item_C: IntArray) -> float:
    """The Jensen–Shannon divergence in nats, mean over items that both answered, entropies corrected for few answers.

    References
    ----------
    Miller 1955: an entropy of n answers of K kinds is (K − 1) / 2n too small.
    """
    found = []
    for cells in _items(item_C):
        people, model = people_C[cells], model_C[cells]
        if people.sum() and model.sum():
            # The mean of both distributions is known from answers of both, each weighing half.
            both = 0.5 * (people / people.sum() + model / model.sum())
            kinds, weight = np.count_nonzero(both), 0.25 * (1 / people.sum() + 1 / model.sum())
            mixed = _entropy(both) + (kinds - 1) / 2 * weight
            found.append(mixed - 0.5 * (_corrected(people) + _corrected(model)))
    return float(np.mean(found)) if found else NAN


def _items(item_C: IntArray) -> list[IntArray]:
    return [np.flatnonzero(item_C == item) for item in np.unique(item_C)]


def _entropy(share_C: FloatArray) -> float:
    known = share_C[share_C > 0]
    return float(-(known * np.log(known)).sum())


def _corrected(count_C: FloatArray) -> float:
    return _entropy(count_C / count_C.sum()) + (np.count_nonzero(count_C) - 1) / (2 * float(count_C.sum()))


def _are_equal(value_N: FloatArray) -> bool:
    """Whether values differ by rounding at most."""
    return bool(np.ptp(value_N) <= 1e-9 * np.abs(value_N).max())


def hedges_g(value_N: FloatArray) -> float:
    """An effect over the SD of people, corrected for few people.

    References
    ----------
    Hedges 1981, doi:10.3102/10769986006002107.
    """
    known = value_N[np.isfinite(value_N)]
    if len(known) < 3 or _are_equal(known):
        return NAN
    return float(known.mean() / known.std(ddof=1)) * (1 - 3 / (4 * (len(known) - 1) - 1))


def probability_of_effect(value_N: FloatArray) -> float:
    """That the mean is not zero, where both are as likely before: by the JZS Bayes factor of a t test.

    References
    ----------
    Rouder et al. 2009, doi:10.3758/PBR.16.2.225, equation 1, Cauchy prior of scale √2 / 2.
    """
    from scipy.integrate import quad  # here: --help would wait for it

    known = value_N[np.isfinite(value_N)]
    n = len(known)
    if n < 2 or _are_equal(known):
        return NAN
    t, v = float(known.mean() / known.std(ddof=1)) * math.sqrt(n), n - 1
    null = -(v + 1) / 2 * math.log1p(t * t / v)

    def density(g: float) -> float:
        scaled = 1 + n * g * _CAUCHY**2
        log_likelihood = -0.5 * math.log(scaled) - (v + 1) / 2 * math.log1p(t * t / (scaled * v))
        return math.exp(log_likelihood - null - 1.5 * math.log(g) - 1 / (2 * g)) / math.sqrt(2 * math.pi)

    log_factor = math.log(max(quad(density, 0, math.inf, limit=200)[0], 1e-300)) if null > -600 else math.inf
    return 1 / (1 + math.exp(-log_factor))


def agreement_of_tests(people_N: FloatArray, model_N: FloatArray) -> float:
    """The probability that an effect is there in both, or in neither (PAS).

    References
    ----------
    Liu et al. 2026, arXiv:2602.00685 (HumanStudy-Bench).
    """
    first, second = probability_of_effect(people_N), probability_of_effect(model_N)
    return first * second + (1 - first) * (1 - second)


def concordance(first_E: FloatArray, second_E: FloatArray) -> float:
    """Lin's concordance correlation of effects (CCC): 1 where all are the same.

    References
    ----------
    Lin 1989, doi:10.2307/2532051.
    """
    known = np.isfinite(first_E) & np.isfinite(second_E)
    a, b = first_E[known], second_E[known]
    if len(a) < 3:
        return NAN
    apart = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(2 * np.mean((a - a.mean()) * (b - b.mean())) / apart) if apart else NAN


def rank_agreement(first_SM: FloatArray, second_SM: FloatArray, resamples: int, seed: int) -> Estimate:
    """Spearman's correlation of two measures over models, within studies, with its interval over studies.

    Ranks are taken among the models of a study, so that studies that are hard for all say nothing; NaN: not measured.
    p is that of models exchanged within studies: three studies whose two models agree by chance, as in one of four
    cases, have an interval of no width.
    """
    kept = np.isfinite(first_SM).all(1) & np.isfinite(second_SM).all(1)
    ranks = [_centred_ranks(of[kept]) for of in (first_SM, second_SM)]
    value = _correlation(*ranks)
    n = int(kept.sum())
    if n < 3 or not math.isfinite(value):
        return Estimate(value)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(n, size=n) for _ in range(resamples)]
    redrawn = np.array([_correlation(*(of[rows] for of in ranks)) for rows in drawn])
    low, high = np.nanpercentile(redrawn, [2.5, 97.5])
    exchanged = [_correlation(ranks[0], rng.permuted(ranks[1], axis=1)) for _ in range(resamples)]
    p = (1 + sum(abs(other) >= abs(value) - _ROUNDING for other in exchanged)) / (1 + resamples)
    return Estimate(value, float(low), float(high), p, n_units=n)


def _centred_ranks(value_SM: FloatArray) -> FloatArray:
    from scipy.stats import rankdata  # here: --help would wait for it

    ranks: FloatArray = rankdata(value_SM, axis=1)
    centred: FloatArray = ranks - ranks.mean(1, keepdims=True)
    return centred


def _correlation(first: FloatArray, second: FloatArray) -> float:
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale else NAN
