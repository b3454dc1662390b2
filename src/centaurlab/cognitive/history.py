"""A baseline that knows nothing but the person's own earlier answers: a Bayesian mixture of Markov chains.

A chain of order o counts what this person answered after the same last o answers; each estimate is that of
Krichevsky & Trofimov, (count + 1/2) / (n + options / 2), and for open answers (count + q(answer)) / (n + 1) with the
words q of the training people. The orders 0 to 3 begin alike and are weighed by how well each has predicted the
person so far, which is exact Bayes; any claim that a model understands a task has to clear what this gives.

Shapes: O options, C chains.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.marginals import vocabularies
from centaurlab.cognitive.prediction import Baseline, OptionLogs, Predict, Prediction, of_options
from centaurlab.cognitive.session import Cell, Session, cell_of, is_predictable, labels_of, symbol_of
from centaurlab.cognitive.words import Words
from centaurlab.stats.estimate import FloatArray

ORDERS = (0, 1, 2, 3)

_Context = tuple[Cell, tuple[str, ...]]


class _Chains:
    """One person's counts under every order."""

    def __init__(self) -> None:
        self._counts: list[dict[_Context, Counter[str]]] = [defaultdict(Counter) for _ in ORDERS]
        self._said: list[str] = []
        self.log_weight_C: FloatArray = np.full(len(ORDERS), -math.log(len(ORDERS)))

    def counts(self, trial: Trial) -> list[Counter[str]]:
        """What followed the same last answers, by order."""
        cell = cell_of(trial)
        return [counts[cell, self._last(order)] for order, counts in zip(ORDERS, self._counts, strict=True)]

    def add(self, trial: Trial, log_p_C: FloatArray | None) -> None:
        """The answer is known; ``log_p_C``: what each chain had given it, None where it is not predicted."""
        if log_p_C is not None:
            self.log_weight_C = self.log_weight_C + log_p_C
            self.log_weight_C -= np.logaddexp.reduce(self.log_weight_C)
            for counts in self.counts(trial):
                counts[symbol_of(trial)] += 1
        self._said.append(symbol_of(trial))

    def _last(self, order: int) -> tuple[str, ...]:
        return tuple(self._said[len(self._said) - order :]) if len(self._said) >= order else ("start", *self._said)


def learn_own_history(training: Sequence[Session]) -> Predict:
    """Nothing is learned of the training people but the words of open answers."""
    words, nothing = vocabularies(training), Words([])

    def predict(session: Session) -> Prediction:
        chains = _Chains()
        logs: list[OptionLogs] = []
        said: list[float] = []
        for trial in session.trials:
            if not is_predictable(trial):
                chains.add(trial, None)
                logs.append(
                    None if trial.options is None else np.full(len(trial.options), -math.log(len(trial.options)))
                )
                said.append(math.nan)
                continue
            counts = chains.counts(trial)
            if trial.options is None:
                log_base = words.get(trial.kind, nothing).log_p(trial.answer)
                log_p_C = np.array([_log_open(found, trial.answer, log_base) for found in counts])
                logs.append(None)
            else:
                labels = labels_of(trial)
                count_CO = np.array([[found[label] for label in labels] for found in counts], float)
                log_CO = np.log((count_CO + 0.5) / (count_CO.sum(axis=1, keepdims=True) + 0.5 * len(labels)))
                log_p_C = log_CO[:, trial.options.index(trial.answer)]
                logs.append(np.logaddexp.reduce(chains.log_weight_C[:, None] + log_CO, axis=0))
            said.append(float(np.logaddexp.reduce(chains.log_weight_C + log_p_C)))
            chains.add(trial, log_p_C)
        return of_options(session, logs, said)

    return predict


def _log_open(counts: Counter[str], answer: str, log_base: float) -> float:
    count = counts[answer]
    log_sum = log_base if not count else float(np.logaddexp(math.log(count), log_base))
    return log_sum - math.log(counts.total() + 1)


OWN_HISTORY = Baseline(
    "own-history",
    "the person's own earlier answers, and nothing of the task",
    "Willems, Shtarkov & Tjalkens 1995, doi:10.1109/18.382012 (mixture of orders)",
    learn_own_history,
)
