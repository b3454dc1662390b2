"""People who answer as a cognitive model says, trial by trial, on designs like those of the studies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from centaurlab.catalog.studies import Trial, Value
from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.models.graded_response import Items
from centaurlab.cognitive.particles import answers_of
from centaurlab.cognitive.session import Session, labels_of
from centaurlab.stats.estimate import FloatArray
from helpers.trials import session_of

Rng = np.random.Generator


def trial(number: int, options: Sequence[str], roles: Sequence[str] | None = None, **fields: object) -> Trial:
    """A trial whose answer is still to be given."""
    known: dict[str, object] = {"block": 1, "after": "", "kind": "choice"} | fields
    return Trial(
        options=tuple(options),
        roles=tuple(roles) if roles else None,
        role=None,
        answer=options[0],
        trial=number + 1,
        **known,  # type: ignore[arg-type]
    )


def bandit(draw: Rng, n: int = 60) -> list[Trial]:
    means = draw.normal(0, 1, 3)
    return [trial(t, "abc", outcome={"points": tuple(means + draw.normal(0, 1, 3))}) for t in range(n)]


def two_step(draw: Rng, n: int = 60) -> list[Trial]:
    trials = []
    for t in range(n):
        trials.append(trial(t, "ab", ("option 1", "option 2"), kind="first stage"))
        state: Mapping[str, Value] = {"state": f"state {draw.integers(1, 3)}"}
        outcome: Mapping[str, Value] = {"reward": float(draw.integers(0, 2))}
        trials.append(trial(t, "cd", kind="second stage", stimuli=state, outcome=outcome))
    return trials


def urns(draw: Rng, n: int = 40) -> list[Trial]:
    return [trial(t, "AB", ("frequent", "rare"), stimuli={"count": (7.0, 3.0)}) for t in range(n)]


def inks(draw: Rng, n: int = 60) -> list[Trial]:
    colours = ("red", "blue", "green")
    pairs = [draw.choice(3, 2) for _ in range(n)]
    return [trial(t, "lrm", colours, stimuli={"ink": colours[i], "word": colours[w]}) for t, (i, w) in enumerate(pairs)]


def trips(draw: Rng, n: int = 60) -> list[Trial]:
    def two() -> tuple[float, float]:
        return float(draw.integers(0, 3)), float(draw.integers(0, 3))

    return [
        trial(
            t,
            "AB",
            stimuli={
                "guilders": tuple(draw.uniform(20, 60, 2)),
                "minutes": tuple(draw.uniform(60, 180, 2)),
                "changes": two(),
                "comfort": tuple(("low", "medium", "high")[int(i)] for i in two()),
            },
        )
        for t in range(n)
    ]


def shopping(draw: Rng, n: int = 60) -> list[Trial]:
    brands = ("w", "x", "y", "z")
    return [
        trial(
            t,
            "JKLM",
            brands,
            stimuli={
                "price": tuple(draw.uniform(0.7, 1.3, 4)),
                "advertised": tuple(draw.integers(0, 2, 4).astype(float)),
                "displayed": tuple(draw.integers(0, 2, 4).astype(float)),
            },
        )
        for t in range(n)
    ]


def quiz(draw: Rng, n: int = 30) -> list[Trial]:
    return [trial(t, "JF", ("no", "yes"), item=f"item {t}") for t in range(n)]


def compounds(draw: Rng, n: int = 80) -> list[Trial]:
    words = ["".join(draw.choice(list("etaoinshrdlu"), draw.integers(5, 14))) for _ in range(n)]
    return [trial(t, "YN", ("word", "nonword"), stimuli={"word": word}, item=word) for t, word in enumerate(words)]


def stocks(draw: Rng, n: int = 60) -> list[Trial]:
    def two() -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(draw.gamma(draw.uniform(0.5, 5), 3, 12) - draw.uniform(0, 12)) for _ in range(2))

    return [trial(t, "AB", stimuli={"points": two()}) for t in range(n)]


def gifts(draw: Rng, n: int = 40) -> list[Trial]:
    game: Mapping[str, Value] = {"players": 4.0, "endowment": 10.0, "multiplier": 1.6}
    amounts = [str(i) for i in range(11)]
    return [
        trial(
            t,
            [f"{i} coins" for i in range(11)],
            amounts,
            kind="contribution",
            stimuli=game,
            outcome={"others": tuple((name, float(draw.integers(0, 11))) for name in "XYZ")},
        )
        for t in range(n)
    ]


def lights(draw: Rng, n: int = 80) -> list[Trial]:
    return [
        trial(
            t,
            "SBRZ",
            ("observe", "blue", "red", "sleep"),
            block=1 + t // 40,
            stimuli={"control": float(1 + 2 * (t // 40))},
            outcome={"lucky": str(draw.choice(["blue", "red"], p=[0.7, 0.3]))} if draw.random() < 0.3 else {},
        )
        for t in range(n)
    ]


DESIGNS: Mapping[str, Callable[[Rng], list[Trial]]] = {
    **dict.fromkeys(("delta-rule", "delta-rule-perseverative", "delta-rule-counterfactual"), bandit),
    "dual-systems": two_step,
    "matching": urns,
    "ink-and-word": inks,
    "trip-logit": trips,
    "brand-logit": shopping,
    **dict.fromkeys(("rasch", "graded-response"), quiz),
    "word-form": compounds,
    **dict.fromkeys(("prospect-theory", "moments"), stocks),
    "conditional-cooperation": gifts,
    "observe-or-bet": lights,
}
"""A design for every model of choices among options."""


def knowledge_of(model: CognitiveModel, sessions: Sequence[Session]) -> object:
    """What training people would have taught; of items, which are simulated, known discriminations and thresholds."""
    if DESIGNS[model.name] is quiz:
        a_J = np.ones(30) if model.name == "rasch" else np.linspace(0.5, 2, 30)
        return Items({f"item {j}": j for j in range(30)}, a_J, np.linspace(-2, 2, 30)[:, None], np.log([0.5, 0.5]))
    return model.know(sessions)


def prior_draws(n_parameters: int, n: int) -> FloatArray:
    """Standard normal values of parameters, (n, n_parameters), evenly spread."""
    z_MP: FloatArray = ndtri(np.clip(qmc.Sobol(n_parameters, seed=1).random(n), 1e-6, 1 - 1e-6))
    return z_MP


def answering(model: CognitiveModel, design: Sequence[Trial], z_P: FloatArray, draw: Rng, name: str) -> Session:
    """Somebody with the parameters at standard normal ``z_P``, each answer drawn by what was answered before."""
    knowledge = knowledge_of(model, [session_of(design)])
    theta_MP = model.theta(z_P[None])
    trials = list(design)
    for t in range(len(trials)):
        before = session_of(trials[: t + 1])
        p_O = np.exp(answers_of(model, before, knowledge).log_p(theta_MP)[0][0, t, : len(trials[t].options or ())])
        place = int(draw.choice(len(p_O), p=p_O / p_O.sum()))
        trials[t] = replace(trials[t], answer=(trials[t].options or ())[place], role=labels_of(trials[t])[place])
    return session_of(trials, name)
