"""Dual systems in the two-step task (Daw et al. 2011): habit by reward, and planning by the known transitions.

The first choice weighs what each option was worth when it was chosen (model-free) and what the states that it leads
to are worth (model-based, transitions of 70 %); the second follows the values of the state.
"""

from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax
from centaurlab.cognitive.session import answer_index
from centaurlab.stats.estimate import FloatArray

_COMMON = 0.7


def _first(trial: Trial) -> bool:
    return trial.kind == "first stage"


def likelihood(trials: Sequence[Trial], knowledge: None) -> Likelihood:
    """θ: α, β of planning, β of habit, β of the second stage, λ, perseveration at the first and the second stage."""
    chosen = [answer_index(trial) for trial in trials]
    state = [int(str(trial.stimuli.get("state", "state 1"))[-1]) - 1 for trial in trials]
    reward = [trial.outcome.get("reward") for trial in trials]

    def log_p(theta_MP: FloatArray) -> FloatArray:
        alpha_M, plan_M, habit_M, second_M, trace_M, stay_M, stay2_M = theta_MP.T
        n = len(theta_MP)
        utility_MRO = np.zeros((n, len(trials), 2))
        first_M2, second_M22 = np.full((n, 2), 0.5), np.full((n, 2, 2), 0.5)  # by option; by state and option
        before: int | None = None
        before2: tuple[int, int] | None = None
        choice: int | None = None
        for t, trial in enumerate(trials):
            if _first(trial):
                best_M2 = second_M22.max(axis=2)
                planned_M2 = np.stack(  # option 1 leads to the second state as a rule, option 2 to the first
                    [
                        _COMMON * best_M2[:, 1] + (1 - _COMMON) * best_M2[:, 0],
                        _COMMON * best_M2[:, 0] + (1 - _COMMON) * best_M2[:, 1],
                    ],
                    axis=1,
                )
                utility_M2 = plan_M[:, None] * planned_M2 + habit_M[:, None] * first_M2
                if before is not None:
                    utility_M2[:, before] += stay_M
                utility_MRO[:, t] = utility_M2
                choice = before = chosen[t]
                continue
            s, second = state[t], chosen[t]
            utility_M2 = second_M[:, None] * second_M22[:, s]
            if before2 is not None and before2[0] == s:
                utility_M2[:, before2[1]] += stay2_M
            utility_MRO[:, t] = utility_M2
            got = reward[t]
            if second is None or not isinstance(got, float):
                continue
            if choice is not None:
                first_M2[:, choice] += alpha_M * (second_M22[:, s, second] - first_M2[:, choice])
                first_M2[:, choice] += alpha_M * trace_M * (got - second_M22[:, s, second])
            second_M22[:, s, second] += alpha_M * (got - second_M22[:, s, second])
            before2 = (s, second)
        return log_softmax(utility_MRO)

    return log_p


MODELS = (
    CognitiveModel(
        "dual-systems",
        "habit by reward and planning by transitions, with perseveration",
        "Daw et al. 2011, doi:10.1016/j.neuron.2011.02.027",
        ("shahar2019twosteptask", "hbayesdm2017twostep"),
        (
            Prior("learning rate", 0, 1.5, "unit"),
            Prior("planning", 0.5, 1.2, "positive"),
            Prior("habit", 0.5, 1.2, "positive"),
            Prior("second-stage inverse temperature", 0.8, 1, "positive"),
            Prior("eligibility trace", 0, 1.5, "unit"),
            Prior("perseveration", 0, 1),
            Prior("second-stage perseveration", 0, 1),
        ),
        likelihood,
    ),
)
