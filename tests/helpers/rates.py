"""How often intervals held a truth that other code knows."""

import numpy as np

from centaurlab.stats.estimate import Estimate


class Rates:
    """How often an interval held the truth, by name."""

    def __init__(self) -> None:
        self.held: dict[str, list[bool]] = {}

    def add(self, name: str, estimate: Estimate, truth: float) -> None:
        """One data set more."""
        self.held.setdefault(name, []).append(bool(estimate.low <= truth <= estimate.high))

    def __getitem__(self, name: str) -> float:
        return float(np.mean(self.held[name]))

    def check(self, lowest: float = 0.92, highest: float = 0.98) -> None:
        """Every rate lies within these; by default 95 ± 3 %."""
        rates = {name: round(self[name], 3) for name in self.held}
        print(rates)
        assert all(lowest <= rate <= highest for rate in rates.values()), rates
