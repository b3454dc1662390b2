"""How much worse one model predicts people than another: effect sizes per study and overall, with intervals.

d per study = (mean_first - mean_second) / sqrt((s_first² + s_second²) / 2), means and sample SDs (ddof 1) over the
study's responses: Cohen's d with the average variance of the two conditions (Cohen 1988, Statistical Power
Analysis, p. 44, eq. 2.3.2; "d_av" in Lakens 2013, doi:10.3389/fpsyg.2013.00863). Positive: the first model is
worse. Averages are over studies, then over pairs of models. Responses are not independent, people and studies
are: intervals come from a cluster bootstrap (the case for clustering: Miller 2024, arXiv 2411.00640) that draws a
study's participants and, for means over studies, the studies (``bootstrap.py``); all pairs get the same draws, as all
were scored on the same people. The pairs themselves are not drawn: ``d`` of an average is about the pairs that it
names; ``d_models`` draws the base models, too (``two_way.py``).

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

from centaurlab.catalog.tables import domains_of
from centaurlab.stats import bootstrap
from centaurlab.stats.bootstrap import Draws, Spread, draw_people, draw_studies, mean, over_these
from centaurlab.stats.contrast import POST_TRAINING, Contrast
from centaurlab.stats.estimate import NAN, UNKNOWN, Estimate, FloatArray, IntArray
from centaurlab.stats.multiplicity import q_values
from centaurlab.stats.paired import bias_correction, paired_estimate
from centaurlab.stats.scale import SHARE
from centaurlab.stats.sums import (
    D_PAIRED,
    D_WITHIN,
    DIFFERENCE,
    KINDS,
    RECURRING,
    STATISTICS,
    WORSE,
    ComparedPair,
    D,
    StudySums,
    empty_study,
    statistics_of,
)
from centaurlab.stats.two_way import crossed_variance, models_like_these, summed


@dataclass(frozen=True)
class Effect:
    """A row of ``effects.csv``; NLLs in nats per response.

    ``d``, ``d_paired`` and ``nll_difference`` are those of ``contrast``, first − second. ``group`` says which pairs of
    models: one ``pair``, which ``group_name`` names, or the average over those of one ``post_training`` or ``family``,
    or over ``all``. ``level`` says which studies: ``overall``, a ``domain`` or one ``study``, which ``name`` names; or
    ``answers``, those of one kind in a study that has both kinds.

    ``n_studies_d`` and ``n_studies_paired`` of ``n_studies`` have a defined d and d_paired. ``n_responses`` and
    ``n_participants`` are those that at least one pair compares; ``unmatched_first`` and ``unmatched_second``
    count the responses that only one side of a pair scored, which are in no other number, summed over pairs.

    ``d_these`` and ``nll_difference_these`` are the same values with the interval over people alone, the studies being
    these. ``d_paired`` is corrected for bias, ``d_paired_raw`` is not. ``q``: of the studies of the group, NaN for
    what is none. ``p_worse``: share of responses that the first side predicts worse. ``d_within``: d with the variance
    within experiments and kinds of answers. ``chance``: the NLL where all options are equally likely, over responses
    that have options. ``top_share``: of the difference, what the 1 % of each study's responses that lost most (gained,
    where the first side is better) hold.
    ``d_models`` and ``nll_difference_models``: averages over models with the interval of models like these, whose base
    models are drawn as well. ``d_items`` and ``nll_difference_items``: of one study, with the interval of
    new people and new items, where at least a fifth of the items recur (``item_share``). ``tail_first``,
    ``tail_second``: of a study's NLL, what the 5 % with the highest hold, the largest over studies.
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
    nll_difference_q: float = NAN
    p_worse: Estimate = UNKNOWN
    p_worse_these: Estimate = UNKNOWN
    d_within: Estimate = UNKNOWN
    chance: float = NAN
    top_share: float = NAN
    tail_first: float = NAN
    tail_second: float = NAN
    d_models: Estimate = UNKNOWN
    nll_difference_models: Estimate = UNKNOWN
    d_items: Estimate = UNKNOWN
    nll_difference_items: Estimate = UNKNOWN
    item_share: float = NAN


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
        Group by group, averages before pairs; within a group overall, the domains and the studies, by name, and the
        kinds of answers of studies that have both.

    References
    ----------
    Cohen 1988, Statistical Power Analysis, eq. 2.3.2; Miller 2024, arXiv:2411.00640 (clusters of responses).
    """
    names = sorted({sums.study for pair in pairs for sums in pair.studies})
    found = {name: [_of_pair(name, pair) for pair in pairs] for name in names}
    studies = [_draw_study(name, of_pairs, n_resamples, seed) for name, of_pairs in found.items()]
    answers = [
        _draw_study(f"{name}: {kind}", [s.by_kind.get(kind) or empty_study(name) for s in of_pairs], n_resamples, seed)
        for name, of_pairs in found.items()
        for kind in KINDS
        if any(kind in sums.by_kind for sums in of_pairs)
    ]
    by_domain: dict[str, list[_Study]] = {}
    for study in studies:
        for domain in domains(study.name):
            by_domain.setdefault(domain, []).append(study)
    levels = [
        _over_studies("overall", "all studies", studies, seed),
        *(_over_studies("domain", domain, by_domain[domain], seed) for domain in sorted(by_domain)),
        *(_Level("study", study.name, [study], study.draws) for study in studies),
        *(_Level("answers", study.name, [study], study.draws) for study in answers),
    ]
    bases = [pair.base or pair.name or pair.contrast.second for pair in pairs]
    return [
        effect
        for group in _groups(pairs)
        for effect in _with_q([_effect(*group, [bases[m] for m in group[-1]], level) for level in levels])
    ]


def cut_alike(pairs: Sequence[ComparedPair], n_resamples: int = 2000, seed: int = 0) -> Effect | None:
    """The first effect of ``estimate_effects`` where sessions of a study end before any response that one side lacks.

    What one side lacks are mostly late responses, cut by the shorter of two context windows. Without these of some
    sessions, a study's d may be of another mixture of early and late ones. None where nothing is lacking.
    """
    if not any(sums.cut_alike for pair in pairs for sums in pair.studies):
        return None
    cut = [replace(pair, studies=[sums.cut_alike or sums for sums in pair.studies]) for pair in pairs]
    return estimate_effects(cut, n_resamples, seed, domains=lambda _: ())[0]


def joint_draws(pairs: Sequence[ComparedPair], n_resamples: int = 2000, seed: int = 0) -> FloatArray:
    """(M, B) the mean d over studies of every pair in the same resamples: of studies or, where there is one, people."""
    names = sorted({sums.study for pair in pairs for sums in pair.studies})
    studies = [_draw_study(name, [_of_pair(name, pair) for pair in pairs], n_resamples, seed) for name in names]
    if len(studies) == 1:
        draws, n = studies[0].draws, len(studies[0].n_MP[0])
    else:
        draws, n = _over_studies("overall", "all studies", studies, seed).draws, len(studies)
    value_M, replicate_MB = draws.value_QM[D], draws.replicate_QMB[D]
    wider = (n / max(n - 1, 1)) ** 0.5
    return np.asarray(value_M[:, None] + wider * (replicate_MB - value_M[:, None]), np.float64)


def _with_q(effects: Sequence[Effect]) -> Iterator[Effect]:
    """The effects of a group, its studies with their q of d and of the difference in nats."""
    of_d_S, of_nats_S = (
        q_values([getattr(effect, name) if effect.level == "study" else UNKNOWN for effect in effects])
        for name in ("d", "nll_difference")
    )
    return (replace(e, q=q, nll_difference_q=nats) for e, q, nats in zip(effects, of_d_S, of_nats_S, strict=True))


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
    sums_M: Sequence[StudySums]


@dataclass(frozen=True)
class _Level:
    """The draws of a study, or those over the studies of a level."""

    level: str
    name: str
    studies: Sequence[_Study]
    draws: Draws


def _of_pair(name: str, pair: ComparedPair) -> StudySums:
    return next((sums for sums in pair.studies if sums.study == name), None) or empty_study(name)


def _draw_study(name: str, found: Sequence[StudySums], n_resamples: int, seed: int) -> _Study:
    """Draw the participants of all pairs together: each pair's sums stand beside those of the others."""
    participant_P = np.unique(np.concatenate([sums.participant_P for sums in found]))
    n_participants, n_pairs, n_sums = len(participant_P), len(found), found[0].sums_PK.shape[1]
    sums_PMK = np.zeros((n_participants, n_pairs, n_sums))
    for m, sums in enumerate(found):
        sums_PMK[np.searchsorted(participant_P, sums.participant_P), m] = sums.sums_PK
    n_PM = sums_PMK[:, :, 0]
    weight_PQM = np.repeat(n_PM[:, None], STATISTICS, axis=1)
    weight_PQM[:, D_PAIRED] = n_PM > 0
    study = bootstrap.Study(
        sums_PMK.reshape(n_participants, n_pairs * n_sums),
        lambda totals_BK: statistics_of(found, totals_BK.reshape(-1, n_pairs, n_sums)),
        weight_PQM,
    )
    without_one_PMK = sums_PMK.sum(axis=0, keepdims=True) - sums_PMK
    draws = draw_people(study, n_resamples, bootstrap.generator(seed, "study", name))
    raw_M = draws.value_QM[D_PAIRED].copy()
    draws.value_QM[D_PAIRED] *= bias_correction((n_PM > 0).sum(axis=0) - 1)
    return _Study(
        name,
        n_MP=n_PM.T,
        draws=draws,
        paired_raw_M=raw_M,
        paired_without_one_MP=statistics_of(found, without_one_PMK)[D_PAIRED],
        sums_M=found,
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


def _effect(
    group: str, group_name: str, contrast: Contrast, members: Sequence[int], bases: Sequence[str], level: _Level
) -> Effect:
    of_studies = [study.draws for study in level.studies]
    is_defined_SQ = np.array([np.isfinite(draws.value_QM[:, members]).any(axis=1) for draws in of_studies])
    n_by_participant = [study.n_MP[members].max(axis=0) for study in level.studies]
    sums_SM = [[study.sums_M[m] for m in members] for study in level.studies]
    nll_first, nll_second = mean(mean(np.array([[[s.mean_first, s.mean_second] for s in of] for of in sums_SM])))
    chance = mean(mean(np.array([[s.chance for s in of_study] for of_study in sums_SM])))
    every = [sums for of_study in sums_SM for sums in of_study]
    d_items, difference_items, item_share = UNKNOWN, UNKNOWN, NAN
    if len(level.studies) == 1:
        d_items, difference_items, item_share = _of_items(every, of_studies[0].value_QM[:, members])
    return Effect(
        group,
        group_name,
        contrast,
        level.level,
        level.name,
        d=level.draws.estimate(D, members),
        d_paired=_paired(level, members),
        nll_difference=level.draws.estimate(DIFFERENCE, members),
        nll_first=float(nll_first),
        nll_second=float(nll_second),
        n_pairs=len(members),
        n_responses=int(sum(n_P.sum() for n_P in n_by_participant)),
        n_participants=sum(int((n_P > 0).sum()) for n_P in n_by_participant),
        n_studies=len(level.studies),
        n_studies_d=int(is_defined_SQ[:, D].sum()),
        n_studies_paired=int(is_defined_SQ[:, D_PAIRED].sum()),
        unmatched_first=sum(sums.unmatched_first for sums in every),
        unmatched_second=sum(sums.unmatched_second for sums in every),
        d_these=over_these(of_studies, D, members).estimate(),
        nll_difference_these=over_these(of_studies, DIFFERENCE, members).estimate(),
        d_paired_raw=float(mean(mean(np.stack([study.paired_raw_M[members] for study in level.studies])))),
        p_worse=level.draws.estimate(WORSE, members, SHARE),
        p_worse_these=over_these(of_studies, WORSE, members).estimate(SHARE),
        d_within=level.draws.estimate(D_WITHIN, members),
        chance=float(chance) if np.isfinite(chance) else NAN,
        top_share=_top_share(every),
        d_items=d_items,
        nll_difference_items=difference_items,
        item_share=item_share,
        d_models=models_like_these(of_studies, D, members, bases).estimate(),
        nll_difference_models=models_like_these(of_studies, DIFFERENCE, members, bases).estimate(),
        tail_first=max((s.tail_first for s in every if np.isfinite(s.tail_first)), default=NAN),
        tail_second=max((s.tail_second for s in every if np.isfinite(s.tail_second)), default=NAN),
    )


def _of_items(found: Sequence[StudySums], values: FloatArray) -> tuple[Estimate, Estimate, float]:
    """d and the difference of pairs in one study, for new people and new items, where enough of these recur.

    An average over pairs has the averages of what people and items contribute. The variance by both at once, which is
    subtracted, is taken as if the pairs were independent in what is left of each response: rather too wide.
    """
    known = [(sums, sums.items) for sums in found if len(sums.participant_P)]
    items = [its for _, its in known if its is not None]
    if not items or len(items) < len(known):
        return UNKNOWN, UNKNOWN, NAN
    share = min(its.share for its in items)
    if share < RECURRING:
        return UNKNOWN, UNKNOWN, share
    of_person_P2 = _summed([sums.participant_P for sums, _ in known], [its.of_person_P2 for its in items])
    of_item_I2 = _summed([its.item_I for its in items], [its.of_item_I2 for its in items])
    n, freedom = len(items), min(its.freedom for its in items)
    both_2 = np.sum([its.both_2 for its in items], axis=0)
    d, difference = (
        Spread(float(mean(values[statistic])), crossed_variance(one_P, other_I, both) ** 0.5 / n, freedom).estimate()
        for statistic, one_P, other_I, both in zip((D, DIFFERENCE), of_person_P2.T, of_item_I2.T, both_2, strict=True)
    )
    return d, difference, share


def _summed(number: Sequence[IntArray], of: Sequence[FloatArray]) -> FloatArray:
    """Sums of the rows that have the same number."""
    place = np.unique(np.concatenate(number), return_inverse=True)[1].astype(np.int64)
    return np.stack([summed(column, place) for column in np.concatenate(of).T], axis=1)


def _top_share(every: Sequence[StudySums]) -> float:
    """Each study's mean difference counts the same, and so does what few of its responses have of it."""
    n = [float(sums.sums_PK[:, 0].sum()) for sums in every]
    top = sum(sums.top_difference / of for sums, of in zip(every, n, strict=True) if of)
    total = sum(sums.mean_first - sums.mean_second for sums, of in zip(every, n, strict=True) if of)
    return float(top / total) if total else NAN


def _paired(level: _Level, members: Sequence[int]) -> Estimate:
    """d_paired over studies; of a study, what resamples of few people make of it is no guide, the jackknife is."""
    if level.level not in ("study", "answers"):
        return level.draws.estimate(D_PAIRED, members)
    (study,) = level.studies
    has_value = [m for m in members if np.isfinite(study.draws.value_QM[D_PAIRED, m])]
    if not has_value:
        return UNKNOWN
    n_units = int((study.n_MP[has_value] > 0).any(axis=0).sum())
    value = float(study.draws.value_QM[D_PAIRED, has_value].mean())
    return paired_estimate(value, study.paired_without_one_MP[has_value].mean(axis=0), n_units)


def names_of_groups(effects: Sequence[Effect]) -> list[str]:
    """``group_name`` of each effect, with the base of a pair where another pair has the same post-trained model."""
    bases: dict[str, set[str]] = {}
    for effect in effects:
        if effect.group == "pair":
            bases.setdefault(effect.group_name, set()).add(effect.contrast.second)
    return [
        str(effect.contrast) if effect.group == "pair" and len(bases[effect.group_name]) > 1 else effect.group_name
        for effect in effects
    ]
