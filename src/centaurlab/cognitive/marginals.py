"""Baselines that know no person: chance, how often people choose each option, how often they do at this item."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from centaurlab.catalog.studies import Trial
from centaurlab.cognitive.prediction import Baseline, OptionLogs, Predict, Prediction, of_options
from centaurlab.cognitive.session import Cell, Session, cell_of, is_predictable, labels_of, symbol_of
from centaurlab.cognitive.words import Words
from centaurlab.stats.estimate import FloatArray

_WEIGHTS = tuple(2.0**power for power in range(-3, 9))
"""What the item marginal may choose from: how many answers at an item weigh as much as all those at other items."""


def vocabularies(training: Sequence[Session]) -> dict[str, Words]:
    """What was said to each kind of question that has no options."""
    said: dict[str, list[str]] = defaultdict(list)
    for session in training:
        for trial in session.trials:
            if trial.options is None and is_predictable(trial):
                said[trial.kind].append(trial.answer)
    return {kind: Words(answers) for kind, answers in said.items()}


def learn_uniform(training: Sequence[Session]) -> Predict:
    """Every option alike; of open answers, every different one that was ever said."""
    words, nothing = vocabularies(training), Words([])

    def predict(session: Session) -> Prediction:
        logs = [
            None if t.options is None else np.full(len(t.options), -math.log(len(t.options))) for t in session.trials
        ]
        said = [0.0 if t.options else words.get(t.kind, nothing).log_chance(t.answer) for t in session.trials]
        return of_options(session, logs, said)

    return predict


class RoleMarginal:
    """How often training people gave each answer to a kind of question: (count + 1/2) / (n + options / 2)."""

    def __init__(self, training: Sequence[Session]) -> None:
        self._counts: dict[Cell, Counter[str]] = defaultdict(Counter)
        self._known: dict[tuple[str, tuple[str, ...]], FloatArray] = {}  # by kind and labels: few of many trials differ
        self._words, self._nothing = vocabularies(training), Words([])
        for session in training:
            for trial in session.trials:
                if trial.options is not None and is_predictable(trial):
                    self._counts[cell_of(trial)][symbol_of(trial)] += 1

    def of_options(self, trial: Trial) -> FloatArray:
        """(O,) probability of each option."""
        labels = labels_of(trial)
        if (trial.kind, labels) not in self._known:
            counts = self._counts.get(cell_of(trial), Counter())
            count_O = np.array([counts[label] for label in labels], float)
            self._known[trial.kind, labels] = (count_O + 0.5) / (count_O.sum() + 0.5 * len(labels))
        return self._known[trial.kind, labels]

    def of_others(self, trial: Trial, own: Counter[str]) -> float:
        """Probability of the answer by the training people but for ``own``, what one of them answered to its kind."""
        counts, symbol = self._counts[cell_of(trial)], symbol_of(trial)
        n_options = len(labels_of(trial))
        return (counts[symbol] - own[symbol] + 0.5) / (counts.total() - own.total() + 0.5 * n_options)

    def log_p_open(self, trial: Trial) -> float:
        """Log-probability of an open answer."""
        return self._words.get(trial.kind, self._nothing).log_p(trial.answer)

    def predict(self, session: Session) -> Prediction:
        """The same at every trial of a kind."""
        logs = [None if t.options is None else np.log(self.of_options(t)) for t in session.trials]
        return of_options(session, logs, [0.0 if t.options else self.log_p_open(t) for t in session.trials])


def learn_role_marginal(training: Sequence[Session]) -> Predict:
    """How often training people gave each answer to this kind of question."""
    return RoleMarginal(training).predict


_Item = tuple[Cell, str | None]


def learn_item_marginal(training: Sequence[Session]) -> Predict:
    """How often they did at this very item, drawn towards the role marginal as far as that predicts people better.

        p(answer) = (count at the item + m · role marginal) / (n at the item + m),

    with m by leaving out one training person at a time. Where nothing recurs over people it is the role marginal.
    """
    roles = RoleMarginal(training)
    counts: dict[_Item, Counter[str]] = defaultdict(Counter)
    own: dict[tuple[object, _Item], Counter[str]] = defaultdict(Counter)
    seen: list[tuple[object, _Item, str, float]] = []
    for session in training:
        for trial in session.trials:
            if trial.item is not None and is_predictable(trial):
                item, symbol = (cell_of(trial), trial.item), symbol_of(trial)
                counts[item][symbol] += 1
                own[session.person, item][symbol] += 1
                seen.append((session.person, item, symbol, prior_of(roles, trial)))
    weight = best_weight(counts, own, seen)

    def logs_of(trial: Trial) -> OptionLogs:
        if trial.options is None:
            return None
        prior_O = roles.of_options(trial)
        at_item = counts.get((cell_of(trial), trial.item), Counter()) if trial.item is not None else Counter()
        count_O = np.array([at_item[label] for label in labels_of(trial)], float)
        log_O: FloatArray = np.log((count_O + weight * prior_O) / (count_O.sum() + weight))
        return log_O

    def log_p_open(trial: Trial) -> float:
        at_item = counts.get((cell_of(trial), trial.item), Counter()) if trial.item is not None else Counter()
        log_prior = math.log(weight) + roles.log_p_open(trial)
        count = at_item[trial.answer]
        log_sum = log_prior if not count else float(np.logaddexp(math.log(count), log_prior))
        return log_sum - math.log(at_item.total() + weight)

    def predict(session: Session) -> Prediction:
        said = [0.0 if trial.options else log_p_open(trial) for trial in session.trials]
        return of_options(session, [logs_of(trial) for trial in session.trials], said)

    return predict


def prior_of(roles: RoleMarginal, trial: Trial) -> float:
    """Probability of the answer by how often it is given to this kind of question."""
    if trial.options is None:
        return math.exp(roles.log_p_open(trial))
    return float(roles.of_options(trial)[labels_of(trial).index(symbol_of(trial))])


def best_weight(
    counts: dict[_Item, Counter[str]],
    own: dict[tuple[object, _Item], Counter[str]],
    seen: Sequence[tuple[object, _Item, str, float]],
) -> float:
    """The m under which the training people, each left out of the counts in turn, are predicted best."""
    if not seen:
        return 1.0
    same_R = np.array([counts[item][symbol] - own[person, item][symbol] for person, item, symbol, _ in seen], float)
    totals = {item: found.total() for item, found in counts.items()}
    own_totals = {key: found.total() for key, found in own.items()}
    n_R = np.array([totals[item] - own_totals[person, item] for person, item, _, _ in seen], float)
    prior_R = np.array([max(prior, 1e-300) for *_, prior in seen])
    log_p = [float(np.log((same_R + m * prior_R) / (n_R + m)).mean()) for m in _WEIGHTS]
    return _WEIGHTS[int(np.argmax(log_p))]


UNIFORM = Baseline("uniform", "chance: every option alike", "log of the number of options", learn_uniform)
ROLE_MARGINAL = Baseline(
    "role-marginal",
    "how often people give each answer",
    "Krichevsky & Trofimov 1981, doi:10.1109/TIT.1981.1056331",
    learn_role_marginal,
)
ITEM_MARGINAL = Baseline(
    "item-marginal",
    "how often people give each answer at this item",
    "the other people's answers, m by leave-one-out",
    learn_item_marginal,
)
