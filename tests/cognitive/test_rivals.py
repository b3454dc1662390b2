"""Who made the choices, among models of different families: a confusion matrix of simulated groups per task.

Rivals are the rows as a user gets them: each learns from training people, and predicts everybody else answer by answer;
what is predicted adds up to the evidence. A group of 24 people is won by the rival with the highest evidence over its
people, or by whom most of them follow by group Bayesian model selection. A rival that holds the true one as a special
case learns that from the training people, and then says the same: of it, no more is asked.

``pytest -m release -s tests/cognitive/test_rivals.py`` prints the matrices that docs/baselines.md sums up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.history import OWN_HISTORY
from centaurlab.cognitive.marginals import ITEM_MARGINAL, ROLE_MARGINAL
from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.particles import fit
from centaurlab.cognitive.prediction import Baseline
from centaurlab.cognitive.session import Session
from centaurlab.stats.selection import select
from helpers.followers import (
    People,
    alike,
    chain,
    followed,
    giver,
    judge_of_moments,
    learner,
    matcher,
    prospector,
    quizzed,
    shopper,
    speller,
    stroop,
    two_stepper,
)
from helpers.nested import DUAL, HABIT, PLANNING, model
from helpers.simulated import DESIGNS, Rng

OTHERS, GROUPS, PEOPLE = 240, 200, 24
SAME = 0.01  # nats per response: what a rival loses at most that holds the true one as a special case


def urns(draw: Rng) -> list[Trial]:
    """The frequent colour is more or less frequent."""
    trials = DESIGNS["matching"](draw)
    return [replace(one, stimuli={"count": (n := float(draw.integers(5, 10)), 10 - n)}) for one in trials]


EASE = np.random.default_rng(0).permutation(np.linspace(-1.5, 1.5, 30))
SHARP = np.random.default_rng(1).permutation(np.linspace(0.3, 2.5, 30))
WORDS = DESIGNS["word-form"](np.random.default_rng(2))

Rival = CognitiveModel | Baseline


@dataclass(frozen=True)
class Task:
    """``made_by``: people by the rival that they follow; rivals learn from ``training`` others. ``within``: of a rival,
    those that hold it as a special case.
    """

    design: Callable[[Rng], Sequence[Trial]]
    made_by: Mapping[Rival, People]
    within: Mapping[str, Sequence[str]] = field(default_factory=dict)
    training: int = 40


TASKS = {
    "bandit": Task(
        DESIGNS["delta-rule"],
        {
            model("delta-rule"): learner(perseverates=False, counterfactual=False),
            model("delta-rule-perseverative"): learner(perseverates=True, counterfactual=False),
            model("delta-rule-counterfactual"): learner(perseverates=True, counterfactual=True),
            OWN_HISTORY: chain(),
            ROLE_MARGINAL: alike((0.5, 0.3, 0.2)),
        },
        {
            "delta-rule": ("delta-rule-perseverative", "delta-rule-counterfactual"),
            "delta-rule-perseverative": ("delta-rule-counterfactual",),
        },
    ),
    "two-step": Task(
        DESIGNS["dual-systems"],
        {
            DUAL: two_stepper(plans=True, has_habit=True),
            HABIT: two_stepper(plans=False, has_habit=True),
            PLANNING: two_stepper(plans=True, has_habit=False),
            OWN_HISTORY: chain(),
        },
        {"model-free": ("dual-systems",), "model-based": ("dual-systems",)},
    ),
    "gambles": Task(
        DESIGNS["prospect-theory"],
        {
            model("prospect-theory"): prospector,
            model("moments"): judge_of_moments,
            OWN_HISTORY: chain(),
            ROLE_MARGINAL: alike((0.6, 0.4)),
        },
    ),
    "questionnaire": Task(
        DESIGNS["graded-response"],
        {
            model("rasch"): quizzed(np.full(30, 1.3), EASE, 1.0),
            model("graded-response"): quizzed(SHARP, EASE, 1.0),
            ITEM_MARGINAL: quizzed(np.ones(30), EASE, 0.0),
            OWN_HISTORY: chain(),
        },
        {"rasch": ("graded-response",), "item-marginal": ("rasch", "graded-response")},
        training=200,
    ),
    "urn": Task(
        urns,
        {model("matching"): matcher, OWN_HISTORY: chain(), ROLE_MARGINAL: alike((0.7, 0.3))},
    ),
    "groceries": Task(
        DESIGNS["brand-logit"],
        {model("brand-logit"): shopper, OWN_HISTORY: chain(), ROLE_MARGINAL: alike((0.4, 0.3, 0.2, 0.1))},
        {"role-marginal": ("brand-logit",)},
    ),
    "stroop": Task(
        DESIGNS["ink-and-word"],
        {model("ink-and-word"): stroop, OWN_HISTORY: chain(), ROLE_MARGINAL: alike((0.5, 0.3, 0.2))},
    ),
    "public goods": Task(
        DESIGNS["conditional-cooperation"],
        {
            model("conditional-cooperation"): giver,
            OWN_HISTORY: chain(),
            ROLE_MARGINAL: alike(np.random.default_rng(4).dirichlet(np.ones(11))),
        },
    ),
    "words": Task(
        lambda draw: WORDS,
        {
            model("word-form"): speller,
            ITEM_MARGINAL: quizzed(np.ones(80), np.random.default_rng(3).normal(0, 1.5, 80), 0.0),
            OWN_HISTORY: chain(),
            ROLE_MARGINAL: alike((0.6, 0.4)),
        },
        {"role-marginal": ("word-form", "item-marginal")},
    ),
}


def evidence(rival: Rival, training: Sequence[Session], people: Sequence[Session]) -> list[float]:
    """What a rival, told the training people, predicts of each of the others: Σ log p in nats."""
    if isinstance(rival, CognitiveModel):
        fitted = fit(rival, training)
        return [float(fitted.tell(person)["adaptive"].log_R.sum()) for person in people]
    predict = rival.learn(training)
    return [float(predict(person).log_p_R.sum()) for person in people]


@pytest.mark.release
@pytest.mark.parametrize("name", TASKS)
def test_of_rivals_of_different_families_the_one_that_made_the_choices_wins(name: str) -> None:
    task, rivals = TASKS[name], list(TASKS[name].made_by)
    names, low = [rival.name for rival in rivals], []
    for truth, people in enumerate(task.made_by.values()):
        draw = np.random.default_rng([truth, len(name)])
        sessions = [followed(task.design(draw), people, draw, f"p{i}") for i in range(task.training + OTHERS)]
        told, others = sessions[: task.training], sessions[task.training :]
        log_IK = np.array([evidence(rival, told, others) for rival in rivals]).T
        worse_K = (log_IK[:, [truth]] - log_IK).mean(axis=0) / len(sessions[0].trials)
        is_same_K = np.array([one == names[truth] or one in task.within.get(names[truth], ()) for one in names])
        groups_GI = np.array([draw.choice(OTHERS, PEOPLE, replace=False) for _ in range(GROUPS)])
        best = {
            "evidence": log_IK[groups_GI].sum(axis=1).argmax(axis=1),
            "frequency": np.array([select(names, log_IK[group]).frequency_K.argmax() for group in groups_GI]),
        }
        won_KW = np.array([[np.mean(best_G == k) for best_G in best.values()] for k in range(len(names))])
        print(f"{name} | {names[truth]}", *(f"{100 * w:.0f} ({100 * f:.0f})" for w, f in won_KW), sep=" | ", end=" | ")
        print(np.round(worse_K, 4), flush=True)
        if won_KW[is_same_K].sum(axis=0).min() < 0.95 or worse_K[is_same_K].max() > SAME:
            low.append(f"{names[truth]}: {won_KW.tolist()}, {worse_K.tolist()}")
    assert not low
