"""People who follow one model or another, by its equations as they are written: without the package's likelihoods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, softmax

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.session import Session, labels_of
from centaurlab.stats.estimate import FloatArray
from helpers.simulated import Rng
from helpers.trials import session_of


@dataclass
class Person:
    """``p``: probabilities of the options at a trial; ``learn``: what follows from the place that was chosen."""

    p: Callable[[Trial], FloatArray]
    learn: Callable[[Trial, int], None] = lambda trial, place: None


People = Callable[[Rng], Person]


def learner(perseverates: bool, counterfactual: bool) -> People:
    def person(draw: Rng) -> Person:
        alpha, other = expit(draw.normal(-0.8, 0.5, 2)) * (1, counterfactual)
        beta, stay = np.exp(draw.normal(0.8, 0.3)), draw.normal(1.2, 0.4) * perseverates
        value, told, last = np.zeros(3), [], np.zeros(3)

        def learn(trial: Trial, place: int) -> None:
            points = np.array(trial.outcome["points"], float)
            told.extend(points)
            last[:] = np.arange(3) == place
            rate = np.where(last == 1, alpha, other)
            value[:] = value + rate * ((points - np.mean(told)) / np.std(told) - value)

        return Person(lambda trial: softmax(beta * value + stay * last), learn)

    return person


def chain(concentration: float = 0.5) -> People:
    """What is answered next depends on the last answer alone, otherwise in each person."""

    def person(draw: Rng) -> Person:
        rows: dict[tuple[str, str], FloatArray] = {}
        last = ["start"]

        def p(trial: Trial) -> FloatArray:
            n = len(trial.options or ())
            return rows.setdefault((trial.kind, last[0]), draw.dirichlet(np.full(n, concentration)))

        def learn(trial: Trial, place: int) -> None:
            last[0] = labels_of(trial)[place]

        return Person(p, learn)

    return person


def alike(shares: Sequence[float]) -> People:
    """Everybody chooses each option as often."""
    return lambda draw: Person(lambda trial: np.array(shares))


def two_stepper(plans: bool, has_habit: bool) -> People:
    """Daw et al. 2011: option 1 leads to state 2 in 70 %, option 2 to state 1."""

    def person(draw: Rng) -> Person:
        alpha, trace = expit(draw.normal(0.2, 0.4)), expit(draw.normal(0.5, 0.4))
        plan, habit, second = np.exp(draw.normal(1.4, 0.3, 3)) * (plans, has_habit, 1)
        q1, q2 = np.full(2, 0.5), np.full((2, 2), 0.5)
        chosen = [0]

        def state(trial: Trial) -> int:
            return 0 if trial.stimuli["state"] == "state 1" else 1

        def p(trial: Trial) -> FloatArray:
            if trial.kind == "second stage":
                return softmax(second * q2[state(trial)])
            best1, best2 = q2.max(axis=1)
            planned = np.array([0.3 * best1 + 0.7 * best2, 0.7 * best1 + 0.3 * best2])
            return softmax(plan * planned + habit * q1)

        def learn(trial: Trial, place: int) -> None:
            if trial.kind == "first stage":
                chosen[0] = place
                return
            s, reward = state(trial), float(str(trial.outcome["reward"]))
            step = reward - q2[s, place]
            q1[chosen[0]] += alpha * (q2[s, place] - q1[chosen[0]]) + alpha * trace * step
            q2[s, place] += alpha * step

        return Person(p, learn)

    return person


def points_of(trial: Trial) -> list[FloatArray]:
    of = [np.sort(np.array(one, float)) for one in trial.stimuli["points"]]  # type: ignore[union-attr]
    size = np.mean(np.abs(np.concatenate(of)))
    return [x / size for x in of]


def prospector(draw: Rng) -> Person:
    exponent, gamma, aversion = np.exp(draw.normal((-0.5, -0.5, 0.7), 0.2))
    beta = np.exp(draw.normal(1.5, 0.3))

    def weight(p: FloatArray) -> FloatArray:
        return np.array([np.exp(-((-np.log(x)) ** gamma)) if x > 0 else 0.0 for x in p])

    def value(x: FloatArray) -> float:
        n = len(x)
        up = weight((np.arange(n, 0, -1)) / n) - weight(np.arange(n - 1, -1, -1) / n)  # from the best down
        down = weight(np.arange(1, n + 1) / n) - weight(np.arange(n) / n)  # from the worst up
        felt = np.where(x >= 0, np.abs(x) ** exponent * up, -aversion * np.abs(x) ** exponent * down)
        return float(felt.sum())

    return Person(lambda trial: softmax(beta * np.array([value(x) for x in points_of(trial)])))


def judge_of_moments(draw: Rng) -> Person:
    weights = draw.normal((2.0, -1.0, 0.7), (0.6, 0.4, 0.3))

    def moments(x: FloatArray) -> FloatArray:
        return np.array([x.mean(), x.std(), np.mean(((x - x.mean()) / x.std()) ** 3)])

    return Person(lambda trial: softmax([weights @ moments(x) for x in points_of(trial)]))


def quizzed(a_J: FloatArray, b_J: FloatArray, spread: float) -> People:
    """One ability a person; a spread of 0: items alone."""

    def person(draw: Rng) -> Person:
        ability = spread * draw.normal()

        def p(trial: Trial) -> FloatArray:
            j = trial.trial - 1
            yes = expit(a_J[j] * ability - b_J[j])
            return np.array([1 - yes, yes])

        return Person(p)

    return person


def matcher(draw: Rng) -> Person:
    exponent = np.exp(draw.normal(0.3, 0.6))
    return Person(lambda trial: softmax(exponent * np.log(np.array(trial.stimuli["count"], float))))


def shopper(draw: Rng) -> Person:
    """Prices, promotions and the brands themselves; no loyalty but to what is liked."""
    price, ad, shown = draw.normal((-0.6, 1.0, 1.0), 0.3)
    brand = draw.normal(0, 1.0, 4)

    def p(trial: Trial) -> FloatArray:
        of = {name: np.array(trial.stimuli[name], float) for name in ("price", "advertised", "displayed")}
        return softmax(10 * price * of["price"] + ad * of["advertised"] + shown * of["displayed"] + brand)

    return Person(p)


def stroop(draw: Rng) -> Person:
    ink, word = np.exp(draw.normal(0.8, 0.4)), draw.normal(0.8, 0.5)
    return Person(
        lambda trial: softmax(
            [ink * (label == trial.stimuli["ink"]) + word * (label == trial.stimuli["word"]) for label in trial.roles]
        )
    )


def giver(draw: Rng) -> Person:
    """Costs 1 − m / n of each coin, others' mean of the round before, one's own, and none or all."""
    cost, others, habit, extreme = draw.normal((1.5, 6.0, 5.0, 1.0), (0.5, 1.5, 1.5, 0.5))
    before: list[float] = []

    def p(trial: Trial) -> FloatArray:
        share = np.arange(11) / 10
        utility = -cost * (1 - 1.6 / 4) * share + extreme * np.isin(share, (0, 1))
        if before:
            utility = utility - others * np.abs(share - before[0]) - habit * np.abs(share - before[1])
        return softmax(utility)

    def learn(trial: Trial, place: int) -> None:
        before[:] = np.mean([coins for _, coins in trial.outcome["others"]]) / 10, place / 10  # type: ignore[union-attr]

    return Person(p, learn)


def speller(draw: Rng) -> Person:
    """Yes by length and by how usual pairs of letters are in all words that can come up: Gaussian letters here."""
    bias, length = draw.normal((0.0, 1.0), (0.5, 0.3))

    def p(trial: Trial) -> FloatArray:
        yes = expit(bias + length * (len(str(trial.stimuli["word"])) - 9) / 2)
        return np.array([yes, 1 - yes])

    return Person(p)


def followed(design: Sequence[Trial], people: People, draw: Rng, name: str) -> Session:
    """The session of one of ``people``, who answers the trials of ``design`` in turn."""
    person, done = people(draw), []
    for trial in design:
        p_O = person.p(trial)
        place = int(draw.choice(len(p_O), p=p_O))
        person.learn(trial, place)
        done.append(replace(trial, answer=(trial.options or ())[place], role=labels_of(trial)[place]))
    return session_of(done, name)
