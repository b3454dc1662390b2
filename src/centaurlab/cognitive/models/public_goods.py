"""Public goods: how much to give, by what it costs, what the others gave before, and habit; a quantal response.

    u(c) = −β (1 − m/n) c − γ |c − others| − π |c − own before| + focal (c = 0 or all),

amounts as shares of the endowment, m the multiplier and n the players: what one gives costs 1 − m/n of it. People
choose in proportion to exp(u) (quantal response), and those who cooperate conditionally stay near what others gave.
"""

from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax, most_options
from centaurlab.stats.estimate import FloatArray

_FEATURES = 4


def likelihood(trials: Sequence[Trial], knowledge: None) -> Likelihood:
    """θ: weight of what giving costs, of others' and one's own last amount, of extreme amounts; a first inclination."""
    n_options = most_options(trials)
    feature_ROF = np.zeros((len(trials), n_options, _FEATURES + 1))
    is_option_RO = np.zeros((len(trials), n_options), bool)
    others: float | None = None
    own: float | None = None
    for t, trial in enumerate(trials):
        n = len(trial.options or ())
        is_option_RO[t, : max(n, 1)] = True
        if not covers(trial):
            continue
        amounts = np.array([float(role) for role in trial.roles or ()])
        all_of_it = float(amounts.max()) or 1.0
        share_O = amounts / all_of_it
        gain = _number(trial, "multiplier", 1.0) / max(_number(trial, "players", 1.0), 1.0)
        feature_ROF[t, :n, 0] = -(1 - gain) * share_O
        feature_ROF[t, :n, 1] = 0.0 if others is None else -np.abs(share_O - others)
        feature_ROF[t, :n, 2] = 0.0 if own is None else -np.abs(share_O - own)
        feature_ROF[t, :n, 3] = (share_O == 0) | (share_O == 1)
        feature_ROF[t, :n, 4] = share_O if own is None else 0.0
        own = float(trial.role) / all_of_it if trial.role is not None else own
        given = trial.outcome.get("others")
        if isinstance(given, tuple) and given:
            coins = [one[1] for one in given if isinstance(one, tuple) and isinstance(one[1], float)]
            others = float(np.mean(coins)) / all_of_it if coins else others

    def log_p(theta_MP: FloatArray) -> FloatArray:
        return log_softmax(np.where(is_option_RO, np.einsum("mp,rop->mro", theta_MP, feature_ROF), -np.inf))

    return log_p


def _number(trial: Trial, name: str, default: float) -> float:
    value = trial.stimuli.get(name, default)
    return float(value) if isinstance(value, int | float) else default


def covers(trial: Trial) -> bool:
    """Whether an amount is to be given."""
    return trial.kind == "contribution" and bool(trial.options)


MODELS = (
    CognitiveModel(
        "conditional-cooperation",
        "giving costs, follows what others gave and what one gave before: a quantal response",
        "McKelvey & Palfrey 1995, doi:10.1006/game.1995.1023; Fischbacher, Gächter & Fehr 2001, "
        "doi:10.1016/S0165-1765(01)00394-9",
        ("alsobay2025publicGoodsGame",),
        (
            *(Prior("cost", 1, 2), Prior("others", 2, 3), Prior("habit", 4, 4)),
            *(Prior("extremes", 1, 1.5), Prior("first inclination", 1, 2)),
        ),
        likelihood,
        covers,
    ),
)
