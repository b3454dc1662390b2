"""How much worse one model predicts people than another: effect sizes per study and overall, with intervals.

d per study = (mean_first - mean_second) / sqrt((s_first² + s_second²) / 2), means and sample SDs (ddof 1) over the
study's responses: Cohen's d with the average variance of the two conditions (Cohen 1988, Statistical Power
Analysis, p. 44, eq. 2.3.2; "d_av" in Lakens 2013, doi:10.3389/fpsyg.2013.00863). Positive: the first model is
worse. Averages are over studies, then over pairs of models. Responses are not independent, people and studies
are: intervals come from a cluster bootstrap (the case for clustering: Miller 2024, arXiv 2411.00640) that draws a
study's participants and, for means over studies, the studies (``bootstrap.py``); all pairs get the same draws, as all
were scored on the same people. The pairs themselves are not drawn: an average is about the pairs that it names.

A mean over studies has two intervals: of studies like these (``d``), and of these studies and new people (``d_these``);
of one study both are over its people. ``q`` says in which of a table's studies d differs from zero with at most 5 %
false ones among them (Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x).

``d_paired`` uses that both models scored the same responses: how consistent the difference is from person to person
(``paired.py``).

What is not defined is NaN and never zero: d of a study with one response or without any variation; d_paired and
any interval of a study with one participant; any interval over a single study. Studies whose d is not defined
are left out of the mean, and the counts say so; one with a single participant stays in it with its d as it is, and
what its d is off by shows in the spread of the studies, from which the interval comes.

Shapes: R responses, P participants, K sums, B resamples, S studies, M pairs of models, Q statistics.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from centaurlab.catalog.tables import domains_of
from centaurlab.results.joined import StudyScores, join_scores
from centaurlab.results.run import ScoreRun, check_same
from centaurlab.stats import bootstrap
from centaurlab.stats.bootstrap import Draws, divide, draw_people, draw_studies, mean, over_these
from centaurlab.stats.contrast import POST_TRAINING, Contrast
from centaurlab.stats.estimate import NAN, UNKNOWN, Estimate, FloatArray, IntArray
from centaurlab.stats.multiplicity import q_values
from centaurlab.stats.paired import bias_correction, paired_estimate

_ROUNDING = 1e-12  # relative; what remains of equal numbers after float64 sums
_STATISTICS = 3  # d, d_paired, nll_difference: the order along Q
_D, _D_PAIRED, _DIFFERENCE = range(_STATISTICS)


@dataclass(frozen=True)
class Effect:
    """A row of ``effects.csv``; NLLs in nats per response.

    ``d``, ``d_paired`` and ``nll_difference`` are those of ``contrast``, first − second. ``group`` says which pairs of
    models: one ``pair``, which ``group_name`` names, or the average over those of one ``post_training`` or ``family``,
    or over ``all``. ``level`` says which studies: ``overall``, a ``domain`` or one ``study``, which ``name`` names.

    ``n_studies_d`` and ``n_studies_paired`` of ``n_studies`` have a defined d and d_paired. ``n_responses`` and
    ``n_participants`` are those that at least one pair compares; ``unmatched_first`` and ``unmatched_second``
    count the responses that only one side of a pair scored, which are in no other number, summed over pairs.

    ``d_these`` and ``nll_difference_these`` are the same values with the interval over people alone, the studies being
    these. ``d_paired`` is corrected for bias, ``d_paired_raw`` is not. ``q``: of the studies of the group, NaN for
    what is none.
    """

    group: str
    group_name: str
    contrast: Contrast
    level: str
    name: str
    d: Estimate
    d_paired: Estimate
    nll_difference: Estimate
    nll_first: float
    nll_second: float
    n_pairs: int
    n_responses: int
    n_participants: int
    n_studies: int
    n_studies_d: int
    n_studies_paired: int
    unmatched_first: int
    unmatched_second: int
    d_these: Estimate = UNKNOWN
    nll_difference_these: Estimate = UNKNOWN
    d_paired_raw: float = NAN
    q: float = NAN


@dataclass(frozen=True)
class StudySums:
    """What the effects of a study need to know of each of its P participants, whatever the number of responses.

    ``sums_PK``: number of responses, Σ second, Σ second², Σ first, Σ first², 1, difference of the means, its square;
    all measured from the study's means, which keeps the precision of the variances and moves none of them.
    """

    study: str
    participant_P: IntArray
    sums_PK: FloatArray
    mean_first: float
    mean_second: float
    mean_difference: float
    unmatched_first: int
    unmatched_second: int


@dataclass(frozen=True)
class ComparedPair:
    """Two sides compared on the same responses; ``post_training`` and ``family`` group pairs, '' in no group.

    ``name`` tells a pair from others, where the name of its first side does not ('').
    """

    contrast: Contrast
    studies: Sequence[StudySums]
    post_training: str = ""
    family: str = ""
    name: str = ""


def sum_study(scores: StudyScores) -> StudySums:
    """Reduce a study's responses to sums per participant; the second side is what ``StudyScores`` calls the base."""
    participant_P, participant_R = np.unique(scores.participant_R, return_inverse=True)
    n_P = np.bincount(participant_R).astype(np.float64)
    mean_second, second_P, second2_P = _centred_sums(participant_R, scores.nll_base_R)
    mean_first, first_P, first2_P = _centred_sums(participant_R, scores.nll_post_R)
    difference_P = (first_P - second_P) / n_P
    offset = float(difference_P.mean()) if len(n_P) else NAN
    difference_P -= offset
    difference_P[np.abs(difference_P) <= _ROUNDING * (abs(mean_second) + abs(mean_first))] = 0
    columns = [n_P, second_P, second2_P, first_P, first2_P, np.ones_like(n_P), difference_P, difference_P**2]
    return StudySums(
        study=scores.study,
        participant_P=participant_P,
        sums_PK=np.stack(columns, axis=1),
        mean_first=mean_first,
        mean_second=mean_second,
        mean_difference=offset + mean_first - mean_second,
        unmatched_first=scores.unmatched_post,
        unmatched_second=scores.unmatched_base,
    )


def compare(first: ScoreRun, second: ScoreRun, post_training: str = "", family: str = "") -> ComparedPair:
    """Two score runs as a pair, whose effects are first − second.

    Raises
    ------
    UserError
        Where they cannot be compared (``check_same``, ``join_scores``).
    """
    check_same([second, first])
    studies = [sum_study(scores) for scores in join_scores(second.folder, first.folder)]
    return ComparedPair(Contrast(first.model, second.model), studies, post_training, family)


def leave_one_out(sums: StudySums) -> tuple[float, FloatArray]:
    """d of a study, and d (P,) without each of its participants in turn; NaN where not defined."""
    total_1K = sums.sums_PK.sum(axis=0, keepdims=True)
    d_B = _statistics([sums], np.concatenate([total_1K, total_1K - sums.sums_PK])[:, None])[_D, 0]
    return float(d_B[0]), d_B[1:]


def estimate_effects(
    pairs: Sequence[ComparedPair],
    n_resamples: int = 2000,
    seed: int = 0,
    domains: Callable[[str], tuple[str, ...]] = domains_of,
) -> list[Effect]:
    """Effects of every pair and, where there are several, of their averages, on every level.

    Parameters
    ----------
    pairs : sequence of ComparedPair
        At least one.
    n_resamples : int
        Resamples behind each 95 % interval.
    seed : int
        Of the resamples; a study's depend on its own responses and ``seed`` alone.
    domains : callable
        Gives a study's domains.

    Returns
    -------
    list of Effect
        Group by group, averages before pairs; within a group overall, the domains and the studies, by name.

    References
    ----------
    Cohen 1988, Statistical Power Analysis, eq. 2.3.2; Miller 2024, arXiv:2411.00640 (clusters of responses).
    """
    names = sorted({sums.study for pair in pairs for sums in pair.studies})
    studies = [_draw_study(name, pairs, n_resamples, seed) for name in names]
    by_domain: dict[str, list[_Study]] = {}
    for study in studies:
        for domain in domains(study.name):
            by_domain.setdefault(domain, []).append(study)
    levels = [
        _over_studies("overall", "all studies", studies, seed),
        *(_over_studies("domain", domain, by_domain[domain], seed) for domain in sorted(by_domain)),
        *(_Level("study", study.name, [study], study.draws) for study in studies),
    ]
    return [effect for group in _groups(pairs) for effect in _with_q([_effect(*group, level) for level in levels])]


def _with_q(effects: Sequence[Effect]) -> Iterator[Effect]:
    """The effects of a group, its studies with their q."""
    q_S = q_values([effect.d if effect.level == "study" else UNKNOWN for effect in effects])
    return (replace(effect, q=q) for effect, q in zip(effects, q_S, strict=True))


@dataclass(frozen=True)
class _Study:
    """A study as all M pairs, the columns of ``draws``, see it. ``n_MP``: responses of each participant.

    ``paired_without_one_MP``: d_paired without each participant in turn, which like ``paired_raw_M`` is not corrected.
    """

    name: str
    n_MP: FloatArray
    draws: Draws
    paired_raw_M: FloatArray
    paired_without_one_MP: FloatArray
    nll_M2: FloatArray
    unmatched_M2: IntArray


@dataclass(frozen=True)
class _Level:
    """The draws of a study, or those over the studies of a level."""

    level: str
    name: str
    studies: Sequence[_Study]
    draws: Draws


def _draw_study(name: str, pairs: Sequence[ComparedPair], n_resamples: int, seed: int) -> _Study:
    """Draw the participants of all pairs together: each pair's sums stand beside those of the others."""
    found = [next((sums for sums in pair.studies if sums.study == name), _empty(name)) for pair in pairs]
    participant_P = np.unique(np.concatenate([sums.participant_P for sums in found]))
    n_participants, n_pairs, n_sums = len(participant_P), len(pairs), found[0].sums_PK.shape[1]
    sums_PMK = np.zeros((n_participants, n_pairs, n_sums))
    for m, sums in enumerate(found):
        sums_PMK[np.searchsorted(participant_P, sums.participant_P), m] = sums.sums_PK
    n_PM = sums_PMK[:, :, 0]
    weight_PQM = np.repeat(n_PM[:, None], _STATISTICS, axis=1)
    weight_PQM[:, _D_PAIRED] = n_PM > 0
    study = bootstrap.Study(
        sums_PMK.reshape(n_participants, n_pairs * n_sums),
        lambda totals_BK: _statistics(found, totals_BK.reshape(-1, n_pairs, n_sums)),
        weight_PQM,
    )
    without_one_PMK = sums_PMK.sum(axis=0, keepdims=True) - sums_PMK
    draws = draw_people(study, n_resamples, bootstrap.generator(seed, "study", name))
    raw_M = draws.value_QM[_D_PAIRED].copy()
    draws.value_QM[_D_PAIRED] *= bias_correction((n_PM > 0).sum(axis=0) - 1)
    return _Study(
        name,
        n_MP=n_PM.T,
        draws=draws,
        paired_raw_M=raw_M,
        paired_without_one_MP=_statistics(found, without_one_PMK)[_D_PAIRED],
        nll_M2=np.array([[sums.mean_first, sums.mean_second] for sums in found]),
        unmatched_M2=np.array([[sums.unmatched_first, sums.unmatched_second] for sums in found]),
    )


def _over_studies(level: str, name: str, studies: Sequence[_Study], seed: int) -> _Level:
    """Means over studies, whose draws are of studies."""
    draws = draw_studies([study.draws for study in studies], lambda: bootstrap.generator(seed, level, name))
    return _Level(level, name, studies, draws)


def _groups(pairs: Sequence[ComparedPair]) -> Iterator[tuple[str, str, Contrast, list[int]]]:
    """Group, its name, contrast and the indices of its pairs: averages first, then every pair."""
    if len(pairs) > 1:
        contrasts = {pair.contrast for pair in pairs}
        shared = contrasts.pop() if len(contrasts) == 1 else POST_TRAINING
        yield "all", "all pairs", shared, list(range(len(pairs)))
        post_trainings, families = [pair.post_training for pair in pairs], [pair.family for pair in pairs]
        for group, of_pair in (("post_training", post_trainings), ("family", families)):
            for name in sorted(set(of_pair) - {""}):
                yield group, name, shared, [m for m, its in enumerate(of_pair) if its == name]
    for m, pair in enumerate(pairs):
        yield "pair", pair.name or pair.contrast.first, pair.contrast, [m]


def _effect(group: str, group_name: str, contrast: Contrast, members: Sequence[int], level: _Level) -> Effect:
    of_studies = [study.draws for study in level.studies]
    is_defined_SQ = np.array([np.isfinite(draws.value_QM[:, members]).any(axis=1) for draws in of_studies])
    n_by_participant = [study.n_MP[members].max(axis=0) for study in level.studies]
    nll_first, nll_second = mean(mean(np.stack([study.nll_M2[members] for study in level.studies])))
    unmatched_first, unmatched_second = sum(study.unmatched_M2[members].sum(axis=0) for study in level.studies)
    return Effect(
        group,
        group_name,
        contrast,
        level.level,
        level.name,
        d=level.draws.estimate(_D, members),
        d_paired=_paired(level, members),
        nll_difference=level.draws.estimate(_DIFFERENCE, members),
        nll_first=float(nll_first),
        nll_second=float(nll_second),
        n_pairs=len(members),
        n_responses=int(sum(n_P.sum() for n_P in n_by_participant)),
        n_participants=sum(int((n_P > 0).sum()) for n_P in n_by_participant),
        n_studies=len(level.studies),
        n_studies_d=int(is_defined_SQ[:, _D].sum()),
        n_studies_paired=int(is_defined_SQ[:, _D_PAIRED].sum()),
        unmatched_first=int(unmatched_first),
        unmatched_second=int(unmatched_second),
        d_these=over_these(of_studies, _D, members).estimate(),
        nll_difference_these=over_these(of_studies, _DIFFERENCE, members).estimate(),
        d_paired_raw=float(mean(mean(np.stack([study.paired_raw_M[members] for study in level.studies])))),
    )


def _paired(level: _Level, members: Sequence[int]) -> Estimate:
    """d_paired over studies; of a study, what resamples of few people make of it is no guide, the jackknife is."""
    if level.level != "study":
        return level.draws.estimate(_D_PAIRED, members)
    (study,) = level.studies
    has_value = [m for m in members if np.isfinite(study.draws.value_QM[_D_PAIRED, m])]
    if not has_value:
        return UNKNOWN
    n_units = int((study.n_MP[has_value] > 0).any(axis=0).sum())
    value = float(study.draws.value_QM[_D_PAIRED, has_value].mean())
    return paired_estimate(value, study.paired_without_one_MP[has_value].mean(axis=0), n_units)


def _statistics(found: Sequence[StudySums], totals_BMK: FloatArray) -> FloatArray:
    """d, d_paired and the difference of NLLs (Q, M, B) of each pair, from the totals of B resamples."""
    values = np.empty((_STATISTICS, len(found), len(totals_BMK)))
    for m, sums in enumerate(found):
        n_B, second_B, second2_B, first_B, first2_B, people_B, difference_B, difference2_B = totals_BMK[:, m].T
        variance_B = (_variance(n_B, second_B, second2_B) + _variance(n_B, first_B, first2_B)) / 2
        values[_DIFFERENCE, m] = divide(first_B - second_B, n_B) + sums.mean_first - sums.mean_second
        values[_D, m] = divide(values[_DIFFERENCE, m], np.sqrt(variance_B))
        paired_B = divide(difference_B, people_B) + sums.mean_difference
        values[_D_PAIRED, m] = divide(paired_B, np.sqrt(_variance(people_B, difference_B, difference2_B)))
    return values


def _empty(study: str) -> StudySums:
    nothing = np.empty(0, np.float32)
    return sum_study(StudyScores(study, np.empty(0, np.int64), nothing, nothing))


def _centred_sums(
    participant_R: npt.NDArray[np.intp], nll_R: npt.NDArray[np.float32]
) -> tuple[float, FloatArray, FloatArray]:
    """Mean of a study's NLLs; per participant, the sum of their deviations from it and of the squares of these."""
    mean = float(np.mean(nll_R, dtype=np.float64)) if len(nll_R) else NAN
    centred_R = nll_R.astype(np.float64) - mean
    sum_P, squares_P = (np.bincount(participant_R, weights_R) for weights_R in (centred_R, centred_R**2))
    return mean, sum_P.astype(np.float64), squares_P.astype(np.float64)


def _variance(n_B: FloatArray, total_B: FloatArray, squares_B: FloatArray) -> FloatArray:
    """Sample variance (ddof 1) of n numbers from their sum and sum of squares; NaN for fewer than two."""
    deviance_B = squares_B - divide(total_B**2, n_B)
    deviance_B[deviance_B <= _ROUNDING * squares_B] = 0
    return np.divide(deviance_B, n_B - 1, out=np.full_like(n_B, NAN), where=n_B > 1)
