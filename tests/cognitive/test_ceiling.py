"""The bracket against known truth: people whose probabilities at each item are known."""

import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import entropy

from centaurlab.analyses.ceiling import find_ceiling
from centaurlab.cognitive.ceiling import ceiling
from centaurlab.cognitive.session import Session
from centaurlab.runtime.errors import UserError
from helpers.trials import choices, session_of

OPTIONS = "abc"


def study(seed: int, n_people: int, n_items: int, options: str = OPTIONS) -> tuple[list[Session], float]:
    """People who answer each item with the same known probabilities, and the entropy of these."""
    draw = np.random.default_rng(seed)
    p_IO = draw.dirichlet(np.ones(len(options)), n_items)
    items = [f"item {i}" for i in range(n_items)]
    people = [
        session_of(choices([draw.choice(list(options), p=p_O) for p_O in p_IO], options, items), f"p{person}")
        for person in range(n_people)
    ]
    return people, float(entropy(p_IO, axis=1).mean())


def test_the_bracket_holds_the_entropy_of_nineteen_studies_in_twenty() -> None:
    held = 0
    for seed in range(100):
        people, truth = study(seed, n_people=int(5 + seed % 40), n_items=20)
        found = ceiling("s", people)
        assert found is not None
        held += found.bound.low <= truth <= found.achieved.high
    assert held >= 95


def test_the_ends_meet_as_people_per_item_grow() -> None:
    widths = []
    for n_people in (6, 30, 300):
        people, truth = study(1, n_people, n_items=12)
        found = ceiling("s", people)
        assert found is not None
        widths.append(found.achieved.value - found.bound.value)
    assert widths == sorted(widths, reverse=True)
    assert found.bound.value == pytest.approx(truth, abs=0.03)
    assert found.achieved.value == pytest.approx(truth, abs=0.03)
    assert found.chao_shen == pytest.approx(truth, abs=0.03)
    assert not found.is_wide


def test_few_people_per_item_are_said_to_be_few() -> None:
    found = ceiling("s", study(0, n_people=4, n_items=20)[0])
    assert found is not None
    assert found.is_wide


@pytest.mark.parametrize("n_people", [3, 6])
def test_where_people_are_too_few_for_an_interval_it_says_so(n_people: int) -> None:
    found = ceiling("s", study(0, n_people, n_items=20, options="ab")[0])
    assert found is not None
    finding = find_ceiling([found], [], {})
    (row,) = finding.shown[0].rows
    of = {title: cell.text for title, cell in zip(finding.shown[0].columns, row, strict=True)}
    after = [row[i + 1].text for i, title in enumerate(finding.shown[0].columns) if title in ("bound", "achieved")]
    assert [text == "too few people" for text in after] == [n_people < 4] * 2
    assert of["person"] != "–"
    assert row[finding.shown[0].columns.index("person") + 1].text == "too few people"
    (said,) = finding.record["notes"]
    assert said.count("too few people for an interval") == (3 if n_people < 4 else 1)
    assert "too few people per item" in said
    assert "–" not in said


def test_completeness_is_zero_at_chance_and_one_at_the_ends() -> None:
    found = ceiling("s", study(0, n_people=50, n_items=10)[0])
    assert found is not None
    assert found.chance == pytest.approx(np.log(3))
    assert found.completeness(found.chance) == pytest.approx((0, 0))
    assert found.completeness(found.bound.value)[0] == pytest.approx(1)
    assert found.completeness(found.achieved.value)[1] == pytest.approx(1)


def test_nobody_is_predicted_by_his_own_answers_at_an_item() -> None:
    """Each of two people always answers alike, and otherwise than the other: nothing is achieved but chance."""
    people = [session_of(choices(answer * 6, "ab", ["one"] * 6), answer) for answer in "ab"]
    found = ceiling("s", people)
    assert found is not None
    assert found.achieved.value >= np.log(2) - 1e-9


@pytest.mark.parametrize("n_items", [1, 30])
def test_where_everybody_guesses_nobody_is_predicted_below_chance(n_items: int) -> None:
    """One question, or options that no other question has: how often an answer is given must not know the own one."""
    draw = np.random.default_rng(0)
    options = [[f"{letter}{item}" for letter in "abcd"] for item in range(n_items)]
    achieved = []
    for _ in range(40 if n_items == 1 else 4):
        people = []
        for person in range(8):
            trials = [choices([draw.choice(of)], of, [f"item {item}"])[0] for item, of in enumerate(options)]
            people.append(session_of(trials, f"p{person}"))
        found = ceiling("s", people)
        assert found is not None
        achieved.append(found.achieved.value)
    assert np.mean(achieved) >= np.log(4) - 0.005


def test_a_study_without_items_has_no_ceiling() -> None:
    assert ceiling("s", [session_of(choices("abab", "ab"), name) for name in ("p1", "p2")]) is None
    assert ceiling("s", [session_of(choices("a", "ab", ["one"]))]) is None
    with pytest.raises(UserError, match="no ceiling, as no item with options is met by two people: s"):
        find_ceiling([], ["s"], {})


def test_who_knows_the_person_predicts_better_where_people_differ_by_one_trait() -> None:
    """Rasch's people: the NLL against the posterior of ability given all other answers, with the true items."""
    draw = np.random.default_rng(2)
    n_people, easiness = 200, np.linspace(-1.5, 1.5, 12)
    ability = 1.5 * draw.normal(size=n_people)
    yes_IJ = draw.random((n_people, 12)) < expit(ability[:, None] + easiness)
    items = [f"item {j}" for j in range(12)]
    people = [
        session_of(choices(["ab"[int(y)] for y in yes_J], "ab", items), f"p{i}") for i, yes_J in enumerate(yes_IJ)
    ]
    found = ceiling("s", people)
    assert found is not None
    node_Q = np.linspace(-8, 8, 401)
    log_prior_Q = -(node_Q**2) / 2 / 1.5**2
    log_QJ = np.log(expit(node_Q[:, None] + easiness)), np.log(expit(-node_Q[:, None] - easiness))
    expected = []
    for yes_J in yes_IJ:
        of_answers_QJ = np.where(yes_J, *log_QJ)
        for j in range(12):
            others_Q = log_prior_Q + of_answers_QJ.sum(axis=1) - of_answers_QJ[:, j]
            expected.append(logsumexp(others_Q) - logsumexp(others_Q + of_answers_QJ[:, j]))
    assert -0.01 < found.person.value - np.mean(expected) < 0.04  # items are learned of 150 people
    assert found.person.value < found.achieved.value - 0.05


def test_no_person_is_known_where_answers_are_no_scale() -> None:
    found = ceiling("s", study(0, n_people=10, n_items=5)[0])
    assert found is not None
    assert not found.person.is_defined
