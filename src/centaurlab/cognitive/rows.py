"""The sessions of one study into what every row says of each: learned from training people, lesson by lesson.

Cognitive models speak of the studies that they are models of. Where several speak of a session, the row ``adaptive``
weighs them by how well each has predicted the person so far, which is exact Bayes with equal weights at the start;
``shared`` is the one with the best BIC on the answers of training people that all of them speak of, ``own`` the best in
hindsight. Responses that no cognitive model speaks of get, in ``adaptive`` and ``own``, what other people and the
person's own history give, weighed likewise, and in ``shared``, which knows nobody, the item marginal.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from centaurlab.cognitive.history import OWN_HISTORY
from centaurlab.cognitive.marginals import ITEM_MARGINAL, ROLE_MARGINAL, UNIFORM
from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.particles import FITTED_ON, Fitted, Told, answers_of, bic, fit
from centaurlab.cognitive.prediction import OptionLogs, Prediction
from centaurlab.cognitive.session import Session, is_predictable
from centaurlab.cognitive.training_people import lessons
from centaurlab.data.persons import Persons, Unit
from centaurlab.data.transcripts import SessionKey
from centaurlab.stats.estimate import FloatArray

TASK_FREE = (UNIFORM, ROLE_MARGINAL, ITEM_MARGINAL, OWN_HISTORY)
"""The baselines that every study gets, from knowing nothing on."""

COGNITIVE = {
    "shared": "the cognitive model of the study with one set of parameters for everybody, as published",
    "adaptive": "the cognitive model of the study, which learns who the person is from answer to answer",
    "own": "the cognitive model of the study with the parameters that fit the person best, in hindsight: a bound",
}
"""The rows of cognitive models, and what they know."""


@dataclass(frozen=True)
class ModelResult:
    """What one model says of one session: Σ NLL in nats by row, over the ``n`` responses that it speaks of."""

    model: str
    key: SessionKey
    person: Unit
    n: int
    nll_sum: Mapping[str, float]


@dataclass(frozen=True)
class StudyRows:
    """By row the prediction of each session, and model by model what cognitive models say."""

    predictions: Mapping[str, Mapping[SessionKey, Prediction]]
    models: Sequence[ModelResult]


def study_rows(
    sessions: Mapping[SessionKey, Session],
    predicted: Collection[SessionKey],
    training: Collection[SessionKey],
    persons: Persons,
    seed: int,
    models: Sequence[CognitiveModel],
) -> StudyRows:
    """What each row says of the sessions ``predicted`` of one study; ``sessions`` holds these and the training's.

    ``seed`` is that of the split, by whose order the folds are dealt. ``models`` are those of this study.
    """
    rows: dict[str, dict[SessionKey, Prediction]] = {name: {} for name in (*(b.name for b in TASK_FREE), *COGNITIVE)}
    results: list[ModelResult] = []
    starts: dict[str, FloatArray] = {}
    for lesson in lessons(predicted, training, persons, seed):
        learned_from = [sessions[key] for key in lesson.training]
        learned = {baseline.name: baseline.learn(learned_from) for baseline in TASK_FREE}
        fitted = [fit(model, learned_from, start_P=starts.get(model.name)) for model in models]
        starts |= {one.model.name: one.z_P for one in fitted}
        best: dict[tuple[str, ...], int] = {}
        for key in lesson.predicted:
            free = {name: predict(sessions[key]) for name, predict in learned.items()}
            speaking = [one for one in fitted if any(_spoken_of(one.model, sessions[key]))]
            told = {one.model.name: one.tell(sessions[key]) for one in speaking}
            results += [_result(one.model, sessions[key], told[one.model.name]) for one in speaking]
            names = tuple(told)
            if len(names) > 1 and names not in best:
                best[names] = _best(speaking, learned_from[:FITTED_ON])
            said = _cognitive(sessions[key], speaking, told, free, best.get(names, 0))
            for name, found in (free | said).items():
                rows[name][key] = found
    return StudyRows(rows, results)


def mixture(predictions: Sequence[Prediction]) -> Prediction:
    """Several predictions weighed by how well each has predicted the session so far, from equal weights on."""
    log_p_CR = np.array([one.log_p_R for one in predictions])
    known_CR = np.where(np.isfinite(log_p_CR), log_p_CR, 0.0)
    before_CR = np.cumsum(known_CR, axis=1) - known_CR
    log_weight_CR = before_CR - np.logaddexp.reduce(before_CR, axis=0)
    options: list[OptionLogs] = []
    for t in range(log_p_CR.shape[1]):
        logs = [one.options_R[t] for one in predictions]
        known = [one for one in logs if one is not None]
        options.append(
            np.logaddexp.reduce(log_weight_CR[:, t, None] + np.array(known), axis=0)
            if len(known) == len(logs)
            else None
        )
    with np.errstate(invalid="ignore"):  # NaN where no prediction is known, as of a blank response
        log_p_R = np.logaddexp.reduce(log_weight_CR + log_p_CR, axis=0)
    return Prediction(log_p_R, tuple(options))


def _cognitive(
    session: Session,
    speaking: Sequence[Fitted],
    told: Mapping[str, Mapping[str, Told]],
    free: Mapping[str, Prediction],
    best: int,
) -> dict[str, Prediction]:
    """The rows ``shared``, ``adaptive`` and ``own`` of one session; ``best`` of those speaking is ``shared``."""
    others = mixture([free[one.name] for one in (ROLE_MARGINAL, ITEM_MARGINAL, OWN_HISTORY)])
    elsewhere = {"shared": free[ITEM_MARGINAL.name], "adaptive": others, "own": others}
    if not speaking:
        return elsewhere
    said = {
        row: [_completed(session, one.model, told[one.model.name][row], elsewhere[row]) for one in speaking]
        for row in COGNITIVE
    }
    own = max(said["own"], key=lambda one: float(np.nansum(one.log_p_R)))
    return {"shared": said["shared"][best], "adaptive": mixture(said["adaptive"]), "own": own}


def _best(models: Sequence[Fitted], training: Sequence[Session]) -> int:
    """Which has the lowest BIC of the answers that all speak of; where there are none, who speaks of the most."""
    spoken_CR = np.array([[is_so for one in training for is_so in _spoken_of(of.model, one)] for of in models], bool)
    common_R = spoken_CR.all(axis=0)
    if not common_R.any():
        return int(np.argmax(spoken_CR.sum(axis=1)))
    if (spoken_CR == common_R).all():
        return int(np.argmin([of.bic for of in models]))
    bics = []
    for of in models:
        log_R = np.concatenate(
            [answers_of(of.model, one, of.knowledge).log_p(of.theta_P[None])[1][0] for one in training]
        )
        bics.append(bic(float(log_R[common_R].sum()), len(of.theta_P), int(common_R.sum())))
    return int(np.argmin(bics))


def _completed(session: Session, model: CognitiveModel, told: Told, others: Prediction) -> Prediction:
    """What a model says where it speaks, and what others do elsewhere."""
    spoken_R = np.array(list(_spoken_of(model, session)))
    options = [
        (told.log_RO[t, : len(trial.options)] if trial.options else None) if spoken_R[t] else others.options_R[t]
        for t, trial in enumerate(session.trials)
    ]
    return Prediction(np.where(spoken_R, told.log_R, others.log_p_R), tuple(options))


def _spoken_of(model: CognitiveModel, session: Session) -> Iterator[bool]:
    return (is_predictable(trial) and model.covers(trial) for trial in session.trials)


def _result(model: CognitiveModel, session: Session, told: Mapping[str, Told]) -> ModelResult:
    n = sum(_spoken_of(model, session))
    nll_sum = {row: -float(one.log_R.sum()) for row, one in told.items()}
    return ModelResult(model.name, session.key, session.person, n, nll_sum)
