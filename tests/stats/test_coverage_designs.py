"""Intervals in the designs that real studies have: unequal counts, crossed items, shared bases, few studies and people.

The truth is that of the generator, by its own formula; nothing of the package computes it. Rates of 95 ± 3 % are
nominal, but for what is said beside a test.
"""

import numpy as np
import numpy.typing as npt
import pytest

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.joined import ResponseDetails, StudyScores
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import Effect, estimate_effects
from centaurlab.stats.estimate import Estimate
from centaurlab.stats.sums import ComparedPair, sum_study
from helpers.rates import Rates

pytestmark = pytest.mark.slow

FloatArray = npt.NDArray[np.float64]
N_RESAMPLES = 300
SHIFT = 0.1
SPIKY = (400,) * 5 + (20,) * 20
SKEWNESS = (14, 20, 36, 45, 60, 60, 72, 90, 90, 96, 100, 108, 120, 120, 120, 132, 140, 144, 150, 160, 168, 180)


def held(estimate: Estimate, truth: float) -> bool:
    return bool(estimate.low <= truth <= estimate.high)


def scores(
    name: str, person_R: npt.NDArray[np.int64], second_R: FloatArray, first_R: FloatArray, item_R: object = None
) -> StudyScores:
    n = len(person_R)
    nlls = (second_R.astype(np.float32), first_R.astype(np.float32))
    if item_R is None:
        return StudyScores(name, person_R, *nlls)
    sessions = [SessionKey(name, "e", str(p)) for p in range(int(person_R.max()) + 1)]
    number_R, items = np.arange(n), np.asarray(item_R, np.int64)
    details = ResponseDetails(sessions, person_R, number_R, np.zeros(n, bool), np.zeros(n, np.int64), items)
    return StudyScores(name, person_R, *nlls, details=details)


def effects(*studies: StudyScores, seed: int = 0) -> dict[str, Effect]:
    pair = ComparedPair(Contrast("first", "second"), [sum_study(one) for one in studies])
    return {e.name: e for e in estimate_effects([pair], N_RESAMPLES, seed, domains=lambda _: ())}


@pytest.mark.parametrize(("counts", "lowest", "highest"), [(SKEWNESS, 0.92, 0.98), (SPIKY, 0.92, 0.995)])
def test_people_who_answer_unequally_often(counts: tuple[int, ...], lowest: float, highest: float) -> None:
    """People differ in the difference; the mean weighs them by their responses. Few who have most: conservative."""
    rng = np.random.default_rng(len(counts))
    rates = []
    for seed in range(500):
        n_P = rng.permutation(np.array(counts))[:15]
        person_R = np.repeat(np.arange(len(n_P)), n_P)
        second = rng.normal(2, 0.5, len(person_R)) + rng.normal(0, 0.3, len(n_P))[person_R]
        change = SHIFT + rng.normal(0, 0.3, len(n_P))[person_R] + rng.normal(0, 0.4, len(person_R))
        found = effects(scores("s", person_R, second, second + change), seed=seed)["s"]
        rates.append(held(found.nll_difference, SHIFT))
    print(np.mean(rates))
    assert lowest <= np.mean(rates) <= highest


@pytest.mark.parametrize(("n_people", "n_items"), [(10, 20), (24, 55), (60, 55)])
def test_new_people_and_new_items(n_people: int, n_items: int) -> None:
    """Everybody meets every item; the interval over people alone is far too narrow for other items."""
    rng = np.random.default_rng([n_people, n_items])
    over_items, over_people, of_d = [], [], []
    person_R, item_R = np.repeat(np.arange(n_people), n_items), np.tile(np.arange(1, n_items + 1), n_people)
    # variance of a model's NLL over people, items and responses: of the second 0.5² + 0.3²; of the first more
    of_second, of_change = 0.5**2 + 0.3**2, 0.3**2 + 0.4**2 + 0.4**2
    true_d = SHIFT / np.sqrt((of_second + of_second + of_change) / 2)
    for seed in range(400):
        second = rng.normal(2, 0.5, len(person_R)) + rng.normal(0, 0.3, n_people)[person_R]
        change = SHIFT + rng.normal(0, 0.3, n_people)[person_R] + rng.normal(0, 0.4, n_items + 1)[item_R]
        change += rng.normal(0, 0.4, len(person_R))
        found = effects(scores("s", person_R, second, second + change, item_R), seed=seed)["s"]
        assert found.item_share == 1
        over_items.append(held(found.nll_difference_items, SHIFT))
        over_people.append(held(found.nll_difference, SHIFT))
        of_d.append(held(found.d_items, float(true_d)))
    print(np.mean(over_items), np.mean(of_d), np.mean(over_people))
    assert 0.92 <= np.mean(over_items) <= 0.98
    assert 0.92 <= np.mean(of_d) <= 0.98
    assert np.mean(over_people) < 0.92


@pytest.mark.parametrize(("n_studies", "n_pairs"), [(12, 6), (16, 8)])
def test_models_like_these_where_pairs_share_a_base(n_studies: int, n_pairs: int) -> None:
    """Two pairs of each base; studies and bases are drawn. Few bases: conservative. These models alone: too narrow."""
    rng = np.random.default_rng([n_studies, n_pairs])
    like, like_d, these = [], [], []
    person_R = np.repeat(np.arange(6), 10)
    true_d = SHIFT / np.sqrt(0.5**2 + 0.3**2 / 2)
    for seed in range(200):
        of_study, of_base = rng.normal(0, 0.15, n_studies), rng.normal(0, 0.15, n_pairs // 2)
        pairs = []
        for m in range(n_pairs):
            studies = []
            for s in range(n_studies):
                second = rng.normal(2, 0.5, len(person_R))
                change = SHIFT + of_study[s] + of_base[m // 2] + rng.normal(0, 0.3, len(person_R))
                studies.append(sum_study(scores(f"s{s:02}", person_R, second, second + change)))
            pairs.append(ComparedPair(Contrast(f"p{m}", "b"), studies, base=f"b{m // 2}"))
        overall = estimate_effects(pairs, N_RESAMPLES, seed, domains=lambda _: ())[0]
        like.append(held(overall.nll_difference_models, SHIFT))
        like_d.append(held(overall.d_models, float(true_d)))
        these.append(held(overall.nll_difference, SHIFT))
    print(np.mean(like), np.mean(like_d), np.mean(these))
    assert 0.92 <= np.mean(like) <= 0.99
    assert 0.92 <= np.mean(like_d) <= 0.99
    assert np.mean(these) < 0.92


@pytest.mark.parametrize("n_studies", [2, 8])
@pytest.mark.parametrize("n_people", [3, 4, 5])
def test_few_studies_of_few_people(n_studies: int, n_people: int) -> None:
    """As of ``--split study`` with two novel studies: studies are drawn anew, and in each of them people.

    Of these studies Satterthwaite's degrees of freedom err on the wide side.
    """
    rng = np.random.default_rng([n_studies, n_people])
    like, these = Rates(), Rates()
    person_R = np.repeat(np.arange(n_people), 12)
    # variance of a model's NLL over people and responses: of the second 0.5² + 0.3²; of the first more
    deviation = np.sqrt((2 * (0.5**2 + 0.3**2) + 0.2**2 + 0.3**2) / 2)
    for seed in range(500):
        of_study, studies = rng.normal(SHIFT, 0.3, n_studies), []
        for s in range(n_studies):
            second = rng.normal(2, 0.5, len(person_R)) + rng.normal(0, 0.3, n_people)[person_R]
            change = of_study[s] + rng.normal(0, 0.2, n_people)[person_R] + rng.normal(0, 0.3, len(person_R))
            studies.append(scores(f"s{s}", person_R, second, second + change))
        found = effects(*studies, seed=seed)["all studies"]
        like.add("difference", found.nll_difference, SHIFT)
        like.add("d", found.d, SHIFT / deviation)
        these.add("difference", found.nll_difference_these, float(of_study.mean()))
        these.add("d", found.d_these, float(of_study.mean() / deviation))
    like.check()
    these.check(highest=0.985)
