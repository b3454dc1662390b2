"""Intervals of what stands beside d: shares, cells, slopes, spreads, effects of behaviour, ceilings, shares of items.

The truth is that of the generator by its own formula or, where it has none, the mean over data sets of what it makes.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from centaurlab.analyses.learning import learning
from centaurlab.cognitive.ceiling import ceiling
from centaurlab.data.transcripts import SessionKey
from centaurlab.results.joined import ResponseDetails, StudyScores
from centaurlab.results.table import PERSON, STUDY
from centaurlab.stats.accuracy import accuracy
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import estimate_effects
from centaurlab.stats.estimate import Estimate, FloatArray
from centaurlab.stats.fidelity import Sessions, effect_fidelity, fidelity, sd_ratio, total_variation
from centaurlab.stats.shortcuts import ToldTwice, costs
from centaurlab.stats.standing import completeness, differences
from centaurlab.stats.sums import LONGER, ComparedPair, sum_study
from helpers.rates import Rates
from helpers.trials import choices, session_of

N_RESAMPLES = 300
SHIFT = 0.15


def two_kinds(name: str, rng: np.random.Generator, n_people: int, shift: float) -> StudyScores:
    """Ten answers of one token and ten longer ones, harder by 3 nats, of people of two experiments."""
    n = 20
    person_R, is_long_R = np.repeat(np.arange(n_people), n), np.tile(np.arange(n) >= n // 2, n_people)
    second_R = rng.normal(2, 0.5, len(person_R)) + rng.normal(0, 0.3, n_people)[person_R] + 3 * is_long_R
    change_R = shift + rng.normal(0, 0.2, n_people)[person_R] + rng.normal(0, 0.3, len(person_R))
    sessions = [SessionKey(name, "ab"[p % 2], str(p)) for p in range(n_people)]
    number_R, nothing_R = np.tile(np.arange(n), n_people), np.zeros(len(person_R), np.int64)
    details = ResponseDetails(sessions, person_R, number_R, is_long_R, nothing_R, nothing_R)
    nlls = (second_R.astype(np.float32), (second_R + change_R).astype(np.float32))
    return StudyScores(name, person_R, *nlls, details=details)


@pytest.mark.slow
@pytest.mark.parametrize(("n_studies", "n_people"), [(4, 4), (10, 8)])
def test_shares_of_responses_and_cells(n_studies: int, n_people: int) -> None:
    """P(worse) is the normal distribution's; within cells, the 3 nats between kinds are in no variance."""
    rng = np.random.default_rng([n_studies, n_people])
    of_change, between_studies = 0.2**2 + 0.3**2, 0.15**2
    within = (2 * (0.5**2 + 0.3**2) + of_change) / 2
    worse = float(stats.norm.cdf(SHIFT / (of_change + between_studies) ** 0.5))
    rates = Rates()
    for seed in range(300):
        shift_S = rng.normal(SHIFT, between_studies**0.5, n_studies)
        worse_S = stats.norm.cdf(shift_S / of_change**0.5)
        studies = [sum_study(two_kinds(f"s{i}", rng, n_people, shift)) for i, shift in enumerate(shift_S)]
        pair = ComparedPair(Contrast("first", "second"), studies)
        for effect in estimate_effects([pair], N_RESAMPLES, seed, domains=lambda _: ()):
            if effect.level == "overall":
                rates.add("overall P(worse)", effect.p_worse, worse)
                rates.add("these P(worse)", effect.p_worse_these, float(worse_S.mean()))
                rates.add("overall d within", effect.d_within, SHIFT / within**0.5)
                continue
            i = int(effect.name.partition(":")[0][1:])
            if effect.level == "study":
                rates.add("study P(worse)", effect.p_worse, float(worse_S[i]))
                rates.add("study d within", effect.d_within, shift_S[i] / within**0.5)
            elif effect.name.endswith(LONGER):
                rates.add("longer answers d", effect.d, shift_S[i] / within**0.5)
    rates.check()


@pytest.mark.slow
def test_of_studies_without_a_difference_few_tables_mark_any_by_q() -> None:
    """20 studies each without a difference: q below .05 anywhere in at most 5 % of tables; and most real ones found."""
    rng = np.random.default_rng(0)
    any_marked, found = [], []
    person_R = np.repeat(np.arange(12), 6)
    for seed in range(200):
        for shift in (0.0, 0.6):
            studies = []
            for i in range(20):
                second_R = rng.normal(2, 0.5, len(person_R))
                change_R = shift + rng.normal(0, 0.3, 12)[person_R] + rng.normal(0, 0.3, len(person_R))
                nlls = (second_R.astype(np.float32), (second_R + change_R).astype(np.float32))
                studies.append(sum_study(StudyScores(f"s{i:02}", person_R, *nlls)))
            effects = estimate_effects([ComparedPair(Contrast("a", "b"), studies)], 200, seed, domains=lambda _: ())
            q = np.array([effect.q for effect in effects if effect.level == "study"])
            (found.append((q < 0.05).mean()) if shift else any_marked.append((q < 0.05).any()))
    print(np.mean(any_marked), np.mean(found))
    assert np.mean(any_marked) <= 0.09
    assert np.mean(found) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("n_studies", "n_people"), [(4, 4), (8, 12)])
def test_slopes_and_curves_over_sessions(n_studies: int, n_people: int) -> None:
    """Slopes differ between studies and people, levels too."""
    rng = np.random.default_rng([n_studies, n_people])
    trial = np.arange(1, 17)
    rates = Rates()
    for seed in range(200):
        slope_S = rng.normal(-0.1, 0.08, n_studies)
        slope_SP = rng.normal(slope_S[:, None], 0.08, (n_studies, n_people))
        nll_SPT = rng.normal(2, 0.3, (n_studies, n_people))[..., None] + slope_SP[..., None] * np.log2(trial)
        nll_SPT += rng.normal(0, 0.4, nll_SPT.shape)
        table = pd.DataFrame(
            {
                "study": np.repeat([f"s{i}" for i in range(n_studies)], n_people * len(trial)),
                "experiment": "e",
                "participant": np.tile(np.repeat([str(p) for p in range(n_people)], len(trial)), n_studies),
                "response": np.tile(trial - 1, n_studies * n_people),
                "nll": nll_SPT.ravel(),
            }
        )
        found = learning(table, N_RESAMPLES, seed)
        rates.add("slope, studies like these", found.slopes["all studies"], -0.1)
        rates.add("slope, these studies", found.these, float(slope_S.mean()))
        for point in found.points:
            if point.first > 1:
                its = np.log2(np.arange(point.first, point.last + 1)).mean()
                rates.add("curve", point.nll, float(2 + slope_S[int(point.study[1:])] * its))
    rates.check()


@pytest.mark.slow
@pytest.mark.parametrize(("n_studies", "n_people"), [(4, 6), (8, 12)])
def test_costs_and_shares_of_shortcuts(n_studies: int, n_people: int) -> None:
    """A condition costs 0.15 nats of the 0.3 by which a model beats chance, a half; studies differ by 0.05."""
    rng = np.random.default_rng([n_studies, n_people])
    person_R = np.repeat(np.arange(n_people), 10)
    rates = Rates()
    for seed in range(200):
        cost_S = rng.normal(0.15, 0.05, n_studies)
        studies = {}
        for i, cost in enumerate(cost_S):
            told_R = np.log(2) - 0.3 + rng.normal(0, 0.1, n_people)[person_R] + rng.normal(0, 0.3, len(person_R))
            more_R = cost + rng.normal(0, 0.1, n_people)[person_R] + rng.normal(0, 0.3, len(person_R))
            studies[f"s{i}"] = ToldTwice(
                person_R, np.full(len(person_R), np.log(2)), told_R[None], (told_R + more_R)[None]
            )
        overall, *each = costs(studies, N_RESAMPLES, seed)[0]
        rates.add("cost, studies like these", overall.cost, 0.15)
        rates.add("cost, these studies", overall.cost_these, float(cost_S.mean()))
        rates.add("share, studies like these", overall.share, 0.5)
        rates.add("share, these studies", overall.share_these, 1 - float(cost_S.mean()) / 0.3)
        for one, cost in zip(each, cost_S, strict=True):
            rates.add("cost of a study", one.cost, float(cost))
            if one.share.is_defined:
                rates.add("share of a study", one.share, 1 - float(cost) / 0.3)
    rates.check()


@pytest.mark.slow
@pytest.mark.parametrize(("n_studies", "n_people"), [(4, 6), (8, 12)])
def test_how_far_a_model_is_from_rows_and_ends(n_studies: int, n_people: int) -> None:
    """A model is 0.1 nats per response above an end that is 0.4 below chance: three quarters of the way."""
    rng = np.random.default_rng([n_studies, n_people, 1])
    study_R = np.repeat(np.arange(n_studies), n_people * 8)
    person_R = np.repeat(np.arange(n_studies * n_people), 8)
    rates = Rates()
    for seed in range(150):
        distance_S = rng.normal(0.1, 0.05, n_studies)
        end_R = rng.gamma(2, 0.3, len(person_R))
        change_R = rng.normal(0, 0.1, person_R.max() + 1)[person_R] + rng.normal(0, 0.2, len(person_R))
        columns = {"model": end_R + distance_S[study_R] + change_R, "end": end_R}
        frame = pd.DataFrame({STUDY: study_R.astype(str), PERSON: person_R} | columns)
        overall, *each = differences(frame, "model", "end", EstimateArguments(resamples=N_RESAMPLES, seed=seed))
        like, these = overall.nll_difference, overall.nll_difference_these
        rates.add("distance, studies like these", like, 0.1)
        rates.add("distance, these studies", these, float(distance_S.mean()))
        rates.add("completeness, studies like these", completeness(like, 0.4), 0.75)
        rates.add("completeness, these studies", completeness(these, 0.4), 1 - float(distance_S.mean()) / 0.4)
        for effect in each:
            rates.add("distance of a study", effect.nll_difference, float(distance_S[int(effect.name)]))
    rates.check(highest=0.99)  # with the error of 150 data sets; on the wide side of four studies


@pytest.mark.parametrize("n", [8, 25, 200])
def test_shares_of_items_and_of_studies_hold_the_truth_on_average(n: int) -> None:
    """Wilson's interval, of assistant accuracy and of the studies that improved: exact, over the binomial distribution.

    Its rate goes up and down with the share; 95 % is what it has over all of them (Brown, Cai & DasGupta 2001).
    """
    intervals = [accuracy([True] * k + [False] * (n - k)) for k in range(n + 1)]
    share_G = np.linspace(0.02, 0.98, 49)
    rate_G = [
        sum(stats.binom.pmf(k, n, p) for k, one in enumerate(intervals) if one.low <= p <= one.high) for p in share_G
    ]
    assert 0.92 <= np.mean(rate_G) <= 0.98
    assert min(rate_G) > 0.82


def answers(rng: np.random.Generator, n: int, spread: float, towards: float) -> FloatArray:
    """Counts (n, 4) of two answers to two items, by people who differ in how often they give the first."""
    p_N = rng.beta(towards * spread, (1 - towards) * spread, n)
    counts = [rng.binomial(20, share) for share in (p_N, 1 - p_N)]
    return np.stack([counts[0], 20 - counts[0], counts[1], 20 - counts[1]], axis=1).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize("n_people", [12, 40])
@pytest.mark.parametrize("model", [0.4, 0.7])
def test_distances_hold_what_other_people_would_give_on_average(n_people: int, model: float) -> None:
    """As the floor is, an interval is about as many other people and sessions simulated of them, not about all."""
    rng = np.random.default_rng([n_people, int(100 * model)])
    distance = total_variation(np.array([0, 0, 1, 1]))

    def drawn() -> Sessions:
        replicates = [answers(rng, n_people, 6, model) for _ in range(2)]
        return Sessions(answers(rng, n_people, 6, 0.4), np.stack(replicates, axis=1), is_paired=True)

    truth = float(
        np.mean(
            [
                np.mean([distance(one.people_NK, one.model_NRK[:, r]) for r in range(2)])
                for one in (drawn() for _ in range(1000))
            ]
        )
    )
    rates = Rates()
    for seed in range(150):
        rates.add("distance", fidelity(drawn(), distance, 1, 100, seed).distance, truth)
    rates.check(lowest=0.91, highest=1.0)  # with the error of 150 data sets; near no difference on the wide side


@pytest.mark.slow
@pytest.mark.parametrize("n_people", [8, 40])
def test_spread_of_simulated_people(n_people: int) -> None:
    """SDs 2 and 1 of two features: the ratio is a half."""
    rng = np.random.default_rng(n_people)
    rates = Rates()
    for seed in range(400):
        people, model = rng.normal(0, 2, (n_people, 2)), rng.normal(0, 1, (n_people, 2, 2))
        rates.add("SD ratio", sd_ratio(Sessions(people, model, is_paired=True), 200, seed), 0.5)
    rates.check()


@pytest.mark.parametrize("n_people", [4, 30])
@pytest.mark.parametrize("is_paired", [True, False])
def test_effects_of_behaviour(n_people: int, is_paired: bool) -> None:
    """An effect of 0.5 in people and 0.3 in the model, whose sessions are of the same people or of others."""
    rng = np.random.default_rng([n_people, is_paired])
    rates = Rates()
    for _ in range(600):
        own = rng.normal(0, 0.3, n_people)
        people = 0.5 + own + rng.normal(0, 0.2, n_people)
        simulated = 0.3 + (own[:, None] / 2 if is_paired else 0) + rng.normal(0, 0.4, (n_people, 2 if is_paired else 1))
        found = effect_fidelity(people, simulated, is_paired)
        rates.add("people", found.people, 0.5)
        rates.add("model", found.model, 0.3)
        rates.add("difference", found.difference, -0.2)
    rates.check()


@pytest.mark.slow
@pytest.mark.parametrize("n_people", [4, 9, 20, 60])
def test_each_end_of_a_ceiling(n_people: int) -> None:
    """Ends are biased by construction: each interval is about what as many other people would give on average.

    Of fewer than ten people it may be too wide.
    """
    rng = np.random.default_rng(n_people)
    p_IO = rng.dirichlet(np.ones(3), 12)
    items = [f"item {i}" for i in range(len(p_IO))]
    found = []
    for _ in range(200):
        chosen_PI = np.stack([rng.choice(3, n_people, p=p_O) for p_O in p_IO], axis=1)
        people = [
            session_of(choices(["abc"[o] for o in row], "abc", items), f"p{p}") for p, row in enumerate(chosen_PI)
        ]
        one = ceiling("s", people)
        assert one is not None
        found.append((one.bound, one.achieved))
    rates = Rates()
    for i, name in enumerate(("bound", "achieved")):
        truth = float(np.mean([ends[i].value for ends in found]))
        for ends in found:
            rates.add(name, Estimate(ends[i].value, ends[i].low, ends[i].high), truth)
    rates.check(highest=0.98 if n_people >= 10 else 1.0)


@pytest.mark.release
@pytest.mark.parametrize("n_people", [10, 20, 60, 300])
def test_what_is_achieved_by_who_knows_the_person(n_people: int) -> None:
    """Rasch's people of an ability with SD 1.3 and eight items: what as many others would give on average."""
    rng = np.random.default_rng([n_people, 8])
    items = [f"item {j}" for j in range(8)]
    found = []
    for _ in range(200):
        p_IJ = expit(1.3 * rng.normal(size=n_people)[:, None] - np.linspace(-1.5, 1.5, 8))
        yes_IJ = rng.random(p_IJ.shape) < p_IJ
        people = [
            session_of(choices(["ab"[y] for y in row.astype(int)], "ab", items), f"p{i}")
            for i, row in enumerate(yes_IJ)
        ]
        one = ceiling("s", people)
        assert one is not None
        found.append(one.person)
    truth = float(np.mean([one.value for one in found]))
    assert truth < np.log(2)
    rates = Rates()
    for one in found:
        rates.add("person", one, truth)
    rates.check(lowest=0.9)  # with the error of 200 data sets
