"""Conditional logit: the utility of a trip or a brand is a weighted sum of what is told of it (McFadden 1974).

With a population of weights (the row ``adaptive``) this is the mixed logit. Groceries have brands, and the loyalty of
Guadagni & Little (1983): a moving average of the household's earlier purchases.
"""

from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.model import CognitiveModel, Likelihood, Prior, log_softmax, numbers
from centaurlab.cognitive.session import Session, labels_of
from centaurlab.stats.estimate import FloatArray

_KEPT = 0.8
_COMFORT = {"low": 2.0, "medium": 1.0, "high": 0.0}


def trip_features(trials: Sequence[Trial]) -> FloatArray:
    """(R, O, 5): 10 guilders, hours, changes, steps below the best comfort, whether it is named first."""
    rows = [
        [
            [guilders / 10, minutes / 60, changes, _COMFORT.get(str(comfort), 1.0), float(place == 0)]
            for place, (guilders, minutes, changes, comfort) in enumerate(
                zip(*(_of(trial, name) for name in ("guilders", "minutes", "changes", "comfort")), strict=True)
            )
        ]
        for trial in trials
    ]
    return np.array(rows, float)


def _of(trial: Trial, name: str) -> tuple[float, ...]:
    value = trial.stimuli[name]
    assert isinstance(value, tuple)
    return value  # type: ignore[return-value]


def brands_of(training: Sequence[Session]) -> tuple[tuple[str, ...], float]:
    """The brands but the last, and a typical price, which is the unit of prices."""
    trials = [trial for session in training for trial in session.trials]
    brands = sorted({label for trial in trials for label in labels_of(trial)})
    prices = [price for trial in trials for price in numbers(trial.stimuli.get("price"))]
    return tuple(brands[:-1]), float(np.mean(prices)) if prices else 1.0


def brand_features(trials: Sequence[Trial], known: tuple[tuple[str, ...], float]) -> FloatArray:
    """(R, O, 7): price in tenths of a typical one, advertised, displayed, loyalty, and which brand it is."""
    brands, unit = known
    loyalty: dict[str, float] = {}
    rows = []
    for trial in trials:
        labels = labels_of(trial)
        offers = zip(labels, *(_of(trial, name) for name in ("price", "advertised", "displayed")), strict=True)
        rows.append(
            [
                [10 * price / unit, ad, shown, loyalty.get(label, 1 / len(labels))]
                + [float(i < len(brands) and label == brands[i]) for i in range(3)]
                for label, price, ad, shown in offers
            ]
        )
        if trial.role is not None:
            loyalty = {
                label: _KEPT * loyalty.get(label, 1 / len(labels)) + (1 - _KEPT) * (label == trial.role)
                for label in labels
            }
    return np.array(rows, float)


def logit(features_ROP: FloatArray) -> Likelihood:
    """The likelihood with these features; θ are their weights."""

    def log_p(theta_MP: FloatArray) -> FloatArray:
        return log_softmax(np.einsum("mp,rop->mro", theta_MP, features_ROP))

    return log_p


MODELS = (
    CognitiveModel(
        "trip-logit",
        "a trip is worth less the dearer, slower and less comfortable it is",
        "McFadden 1974; Ben-Akiva, Bolduc & Bradley 1993",
        ("benakiva1993trains",),
        tuple(
            Prior(name, 0, sd)
            for name, sd in (("price", 2), ("hours", 2), ("changes", 1), ("comfort", 1), ("first", 0.5))
        ),
        lambda trials, knowledge: logit(trip_features(trials)),
    ),
    CognitiveModel(
        "brand-logit",
        "brands, prices and promotions, and loyalty to what was bought before",
        "Guadagni & Little 1983, doi:10.1287/mksc.2.3.203",
        ("jain1994crackers", "jain1994ketchup", "jain1994yogurt"),
        (
            *(Prior("price", -0.5, 0.7), Prior("advertised", 0, 1), Prior("displayed", 0, 1), Prior("loyalty", 3, 3)),
            *(Prior(f"brand {i}", 0, 1.5) for i in (1, 2, 3)),
        ),
        lambda trials, known: logit(brand_features(trials, known)),
        know=brands_of,
    ),
)
