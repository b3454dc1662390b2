"""What is found where nothing is to be found, and where something is: a Q-learner, and halves of the same people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel, wasserstein_distance

from centaurlab.analyses.behaviour import Behaviour, behaviours
from centaurlab.analyses.fidelity_study import StudyFidelity, compare_study
from centaurlab.analyses.parameters import parameters
from centaurlab.catalog.studies import Ask, Study, Trial
from centaurlab.data.options import shared_labels
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import SessionKey, Transcript
from centaurlab.display.figures.behaviour import spread_figure, stay_figure
from centaurlab.stats.arguments import EstimateArguments
from helpers.paths import PSYCH_201

N_PEOPLE, N_TRIALS = 30, 60
FEW = EstimateArguments(resamples=2)
NOTHING = {"not told apart", "cannot be told", "none in people", "reproduced"}


def learner(rate: float, name: str, rng: np.random.Generator) -> Behaviour:
    """A Q-learner's session at two arms that change places in the middle, counted as sessions are."""
    q, choices, rewards = np.zeros(2), [], []
    for trial in range(N_TRIALS):
        choice = int(rng.random() < 1 / (1 + np.exp(-5 * (q[1] - q[0]))))
        reward = float(rng.random() < (0.8 if choice == (trial < N_TRIALS // 2) else 0.2))
        q[choice] += rate * (reward - q[choice])
        choices.append(choice)
        rewards.append(reward)
    marginal = Counter((f"part {trial * 8 // N_TRIALS}", str(choice)) for trial, choice in enumerate(choices))
    dynamics, stays = Counter(marginal), Counter()
    for (before, reward), (after, _) in pairwise(zip(choices, rewards, strict=True)):
        dynamics[f"after {before}", str(after)] += 1
        dynamics[f"reward {reward}", str(before == after)] += 1
        stays[reward, before == after] += 1
    features = {"right": float(np.mean(choices))} | {
        f"stay {reward}": stays[reward, True] / max(1, stays[reward, True] + stays[reward, False])
        for reward in (0.0, 1.0)
    }
    effect = features["stay 1.0"] - features["stay 0.0"]
    return Behaviour(SessionKey("s", "e", name), marginal, dynamics, features, {"stay by reward": effect})


def group(rate: float, prefix: str, rng: np.random.Generator, n_people: int = N_PEOPLE) -> list[Behaviour]:
    return [learner(rate, f"{prefix}{n}", rng) for n in range(n_people)]


def finds(found: StudyFidelity) -> bool:
    return any(row["verdict"] not in NOTHING for row in (*found.distances, *found.effects))


@pytest.mark.slow
def test_a_learner_is_as_far_from_itself_as_people_are_and_farther_with_half_its_rate() -> None:
    rng = np.random.default_rng(0)
    n_sets = 110
    p_values = np.array(
        [
            [row["p"] for row in compare_study(group(0.4, "p", rng), group(0.4, "m", rng), 59, FEW).distances]
            for _ in range(n_sets)
        ]
    )
    inside = (p_values >= 0.05).mean(0)
    assert ((inside > 0.91) & (inside < 0.99)).all(), inside  # 95 ± 3 %, and the error of so many sets
    for _ in range(4):
        found = compare_study(group(0.4, "p", rng, 120), group(0.2, "m", rng, 120), 99, FEW)
        assert {row["axis"]: row["verdict"] for row in found.distances}["dynamics"] == "differs"


def share_without_finding(
    people: list[Behaviour], labels: Mapping[str, tuple[str, ...]], n_splits: int, seed: int = 0
) -> float:
    """Of splits of a study's people into halves, on every axis: fitted once, for a session is fitted alone."""
    rng = np.random.default_rng(seed)
    nothing = 0
    transcripts = [transcript for session in people for transcript in session.transcripts]
    fitted_NP = parameters(transcripts, labels)
    known = {} if fitted_NP is None else {one.key: row_P for one, row_P in zip(transcripts, fitted_NP, strict=True)}

    def fit(sessions: Sequence[Transcript]) -> np.ndarray | None:
        return np.array([known[session.key] for session in sessions]) if known else None

    for split in range(n_splits):
        order = rng.permutation(len(people))
        halves = [[people[n] for n in part] for part in np.array_split(order, 2)]
        nothing += not finds(compare_study(*halves, 99, EstimateArguments(resamples=2, seed=split), fit))
    return nothing / n_splits


def shares_without_finding(data: DataArguments, n_splits: int) -> dict[str, float]:
    people = list(open_source(data))
    labels = shared_labels(people)
    return {
        study: share_without_finding(sessions, labels, n_splits)
        for study, sessions in behaviours(people, labels).items()
    }


@pytest.mark.slow
def test_halves_of_the_same_people_are_not_told_apart() -> None:
    shares = shares_without_finding(DataArguments("starter", max_participants=12), 20)
    assert len(shares) == 8
    assert np.mean(list(shares.values())) >= 0.95, shares
    assert min(shares.values()) >= 0.8, shares  # of 20 splits; were it 95 %, one study in 400 would be below that


@pytest.mark.release
@pytest.mark.skipif(not PSYCH_201.exists(), reason="needs Psych-201 sessions beside the repository")
def test_halves_of_people_of_published_studies_are_not_told_apart() -> None:
    shares: dict[str, float] = {}
    for path in sorted(PSYCH_201.glob("*.jsonl.gz")):
        shares |= shares_without_finding(DataArguments(str(path)), 20)
    assert np.mean(list(shares.values())) >= 0.95, shares
    assert min(shares.values()) >= 0.8, shares


def test_where_no_two_people_met_the_same_items_nothing_can_be_told() -> None:
    """The model never answers as people do, and yet each exchange of a person with it is as far apart."""
    people, model = (
        [
            Behaviour(SessionKey("s", "e", f"p{n}{end}"), Counter({(f"item {n}", answer): 1}), Counter(), {}, {})
            for n in range(8)
        ]
        for end, answer in (("", "a"), ("#r1", "b"))
    )
    marginal = compare_study(people, model, 19, FEW).distances[0]
    assert (marginal["distance"], marginal["p"], marginal["verdict"]) == (1.0, 1.0, "cannot be told")


def test_choices_after_rewards_are_counted_by_transition() -> None:
    opening = "Two second-stage states: O or Z.\nA choice between two options: P and E.\n"
    trial = (
        "You are presented with first-stage options S and H. You choose <<{}>>. This leads to state {}. In state {}, "
    )
    trial += "you choose <<P>>. You receive {} reward.\n"
    told = [("S", "Z", "a"), ("S", "O", "a"), ("H", "O", "no"), ("H", "Z", "no")]  # S leads to Z, as a rule
    text = opening + "".join(trial.format(first, state, state, reward) for first, state, reward in told)
    study = "shahar2019twosteptask"
    (found,) = behaviours([Transcript(text, study, "e", "p")], {})[study]
    stays = {item: (answer, n) for (item, answer), n in found.dynamics.items() if "reward" in item and n}
    assert stays == {
        "first stage after a reward, common": ("the same again", 1),
        "first stage after a reward, rare": ("another", 1),
        "first stage after no reward, common": ("the same again", 1),
    }
    cells = compare_study([found] * 4, [found] * 4, 19, FEW).cells
    drawn = stay_figure(pd.DataFrame(cells).assign(system="m", study=study))
    assert drawn is not None
    ticks = [label.get_text() for label in drawn.axes[0].get_xticklabels()]
    assert ticks == ["a reward\ncommon", "a reward\nrare", "no reward\ncommon"]


def test_a_replicate_that_failed_leaves_people_with_their_own_simulated_sessions() -> None:
    rng = np.random.default_rng(3)
    people_N, model_NR = rng.normal(0.1, 0.2, 8), rng.normal(0.2, 0.2, (8, 4))

    def acted(name: str, value: float) -> Behaviour:
        return Behaviour(SessionKey("s", "e", name), Counter({("item", "a"): 1}), Counter(), {}, {"effect": value})

    people = [acted(str(n), value) for n, value in enumerate(people_N)]
    model = [acted(f"{n}#r{r}", model_NR[n, r]) for n in range(8) for r in range(4)]
    found = compare_study(people, model[:-1], 19, FEW)
    own = ttest_rel(model_NR[:, :3].mean(1), people_N).confidence_interval()
    (effect,) = found.effects
    assert (effect["difference_low"], effect["difference_high"]) == pytest.approx(own)
    without_one = compare_study(people, model[:28], 19, FEW)  # nobody simulated the last person
    for of, n_people, n_sessions in ((found, 8, 24), (without_one, 7, 28)):
        row = of.distances[0]
        assert (row["people"], row["sessions"], row["paired"]) == (n_people, n_sessions, True)


def test_a_spread_that_collapsed_completely_is_drawn_at_zero() -> None:
    row = {"system": "m", "axis": "individuals", "sd_ratio_low": np.nan, "sd_ratio_high": np.nan}
    drawn = spread_figure(pd.DataFrame([row | {"study": str(n), "sd_ratio": n} for n in (0.0, 1.0)]))
    assert drawn is not None
    (points,) = drawn.axes[0].containers
    at = drawn.axes[0].transData.transform([(value, 0) for value in points.lines[0].get_xdata()])[:, 0]
    left, right = drawn.axes[0].get_window_extent().intervalx
    assert left < at[0] < at[1] < right


def test_what_a_session_cannot_have_is_no_share_of_zero() -> None:
    """People and model choose alike where they were asked to; a second question, with other rewards, came to half."""

    def ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
        return Ask(options=("J", "F"), kind="choice" if "press" in segment else "guess")

    own = Study("own2026", ask, first_trial="You")

    def acted(name: str, choices: str, guesses: str = "") -> Behaviour:
        told = [f"You {verb} <<{key}>>. " for verb, keys in (("press", choices), ("guess", guesses)) for key in keys]
        (found,) = behaviours([Transcript("".join(told), "own2026", "e", name)], {}, {"own2026": own})["own2026"]
        return found

    chosen = ["JJF", "JJJ", "JFF", "FFF"]
    people = [acted(f"p{n}", keys, "JF" if n < 2 else "") for n, keys in enumerate(chosen)]
    model = [acted(f"m{n}", keys) for n, keys in enumerate(chosen)]
    assert compare_study(people, model, 19, FEW).distances[2]["distance"] == 0  # of guesses the model has nothing
    model[2:] = [acted(f"m{n}", "J") for n in (2, 3)]  # one answer is not repeated, and is no F
    shares, repeated = np.array([2 / 3, 1, 1 / 3, 0]), np.array([1 / 2, 1, 1 / 2, 1])
    apart = [np.abs(np.sort(shares) - np.sort([2 / 3, 1, 1, 1])).mean() / shares.std(ddof=1)] * 2  # of J, and of F
    apart.append(wasserstein_distance(repeated, repeated[:2]) / repeated.std(ddof=1))
    assert compare_study(people, model, 19, FEW).distances[2]["distance"] == pytest.approx(np.mean(apart))


def test_shares_of_simbench_are_of_what_was_offered() -> None:
    """Everybody presses J first; then 7 to 3 people and 8 to 2 simulated: 100 (1 − (0 + 0.1) / (0.5 + 0.2))."""

    def ask(segment: str, past: Sequence[Trial], opening: str) -> Ask:
        return Ask(options=("J", "F"), roles=("left", "right"), item=str(len(past)))

    def group_of(n_left: int) -> list[Behaviour]:
        texts = [f"You press <<J>>. You press <<{'JF'[n >= n_left]}>>." for n in range(10)]
        own = {"own2026": Study("own2026", ask, first_trial="You")}
        return behaviours((Transcript(of, "own2026", "e", str(n)) for n, of in enumerate(texts)), {}, own)["own2026"]

    found = compare_study(group_of(7), group_of(8), 19, FEW)
    assert found.distances[0]["simbench"] == pytest.approx(100 * (1 - 0.1 / 0.7))
    assert found.distances[0]["distance"] == pytest.approx(0.05)
    text = "You press <<J>>.\nYou press <<{}>>."
    labelled = [
        behaviours([Transcript(text.format(key), "s", "e", str(n)) for n, key in enumerate(keys)], {"s": ("F", "J")})
        for keys in ("JJJJJJJFFF", "JJJJJJJJFF")
    ]
    of_labels = compare_study(labelled[0]["s"], labelled[1]["s"], 19, FEW)
    assert of_labels.distances[0]["simbench"] == pytest.approx(100 * (1 - 0.1 / 0.7))


def test_replicates_of_somebody_else_are_no_people() -> None:
    """As many as there are: of each the first stands for it, and what is left out is counted."""
    rng = np.random.default_rng(4)
    people = group(0.4, "h", rng, 8)
    model = [learner(0.2, f"z{n}#r{r}", rng) for n in range(8) for r in range(5)]
    many, one = (compare_study(people, of, 19, FEW) for of in (model, model[::5]))
    for row, alone in zip(many.distances, one.distances, strict=True):
        assert (row["sessions"], row["left_out"], row["paired"]) == (8, 32, False)
        assert (row["distance"], row["p"]) == (alone["distance"], alone["p"])
    assert many.effects == one.effects
    also = [*model, *(replace(of, key=replace(of.key, participant=f"h{n}#r1")) for n, of in enumerate(model[:8]))]
    (row, *_) = compare_study(people, also, 19, FEW).distances  # half of them are these people
    assert (row["people"], row["sessions"], row["left_out"], row["paired"]) == (8, 8, 40, True)


def test_people_of_experiments_that_a_model_was_never_in_are_left_out() -> None:
    rng = np.random.default_rng(5)
    one, other = group(0.4, "h", rng, 8), group(0.1, "g", rng, 8)
    elsewhere = [replace(of, key=replace(of.key, experiment="other")) for of in other]
    model = group(0.4, "z", rng, 8)
    both, alone = (compare_study(people, model, 19, FEW).distances for people in ([*elsewhere, *one], one))
    for row, of_one in zip(both, alone, strict=True):
        assert (row["people"], row["people_left_out"], of_one["people_left_out"]) == (8, 8, 0)
        assert (row["distance"], row["floor"]) == pytest.approx((of_one["distance"], of_one["floor"]))
    (row, *_) = compare_study(elsewhere, model, 19, FEW).distances  # named otherwise by somebody else
    assert (row["people"], row["people_left_out"]) == (8, 0)


def test_what_others_say_of_an_effect_does_not_grow_with_replicates() -> None:
    """Of each person's mean over 16 replicates, an effect of a third of an SD would be one of more than an SD."""
    rng = np.random.default_rng(6)

    def acted(name: str) -> Behaviour:
        effect = {"effect": float(rng.normal(0.3, 1))}
        return Behaviour(SessionKey("s", "e", name), Counter({("item", "a"): 1}), Counter(), {}, effect)

    people = [acted(str(n)) for n in range(30)]
    (effect,) = compare_study(people, [acted(f"{n}#r{r}") for n in range(30) for r in range(16)], 19, FEW).effects
    assert 0.15 < effect["model_g"] < 0.45
    assert 0.01 < effect["model_p"] < 0.5


def test_what_is_none_of_the_labels_is_an_answer_too() -> None:
    text = {"J": "You press <<J>>. ", "F": "You press <<F>>. ", "?": "You press <<I would rather not say>>. "}
    people, model = (
        [Transcript("".join(text[key] for key in keys), "own2026", "e", f"{side}{n}") for n in range(8)]
        for side, keys in (("p", "JFJFJFJF"), ("m", "J???J???"))
    )
    labels = shared_labels(people)
    sides = [behaviours(of, labels)["own2026"] for of in (people, model)]
    (marginal, *_) = compare_study(*sides, 19, FEW).distances
    assert marginal["distance"] == pytest.approx(0.75)
    blank = Transcript(people[0].text.replace("<<J>>", "<<>>") + "You write <<>>.", "own2026", "e", "blank")
    (found,) = behaviours([blank], labels)["own2026"]
    assert {answer for _, answer in found.marginal} == {"F"}


def test_parameters_of_a_person_are_the_mean_of_the_sessions_that_have_them() -> None:
    def of(name: str, day: int) -> Behaviour:
        transcript = Transcript("", "s", f"day {day}", name)
        return Behaviour(transcript.key, Counter(), Counter(), {}, {}, (transcript,), person=("s", name))

    def fitted(transcripts: Sequence[Transcript], days: set[str]) -> np.ndarray:
        return np.array([[float(ord(t.participant[-1])) if t.experiment in days else np.nan] for t in transcripts])

    people, model = ([of(f"{side}{n}", day) for n in range(6) for day in (1, 2)] for side in "pm")
    found = []
    for days in ({"day 1", "day 2"}, {"day 1"}):
        rows = compare_study(people, model, 19, FEW, lambda of, days=days: fitted(of, days)).distances
        found.append(next(row["floor"] for row in rows if row["axis"] == "parameters"))
    assert found[0] > 0
    assert found[1] == found[0]


@pytest.mark.parametrize("mark", ["#r1", " of a model"])
def test_sessions_of_a_person_are_no_people(mark: str) -> None:
    """A person's same session once more, or simulated once more, says nothing more of people."""
    rng = np.random.default_rng(6)
    sides = [[learner(rate, f"{n}{end}", rng) for n in range(8)] for rate, end in ((0.4, ""), (0.2, mark))]

    def found(n_days: int) -> StudyFidelity:
        people, model = (
            [
                replace(one, key=replace(one.key, experiment=f"day {day}"), person=("s", one.key.participant))
                for one in side
                for day in range(n_days)
            ]
            for side in sides
        )
        return compare_study(people, model, 19, EstimateArguments(resamples=20))

    once, thrice = found(1), found(3)
    for name in ("people_low", "model_high", "difference_low", "difference_high", "p", "pas"):
        assert thrice.effects[0][name] == pytest.approx(once.effects[0][name]), name
    for one, more in zip(once.distances, thrice.distances, strict=True):
        assert (one["people"], more["people"], more["sessions"]) == (8, 8, 24)
        assert more["paired"] == (mark == "#r1")
        for name in ("distance", "distance_low", "distance_high", "floor", "p"):
            assert more[name] == pytest.approx(one[name]), name
