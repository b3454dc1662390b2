"""The sessions of one study into what every baseline says of each: learned from training people, lesson by lesson."""

from collections.abc import Collection, Mapping, Sequence

from centaurlab.cognitive.history import OWN_HISTORY
from centaurlab.cognitive.marginals import ITEM_MARGINAL, ROLE_MARGINAL, UNIFORM
from centaurlab.cognitive.prediction import Baseline, Prediction
from centaurlab.cognitive.session import Session
from centaurlab.cognitive.training_people import lessons
from centaurlab.data.persons import Persons
from centaurlab.data.transcripts import SessionKey

TASK_FREE = (UNIFORM, ROLE_MARGINAL, ITEM_MARGINAL, OWN_HISTORY)
"""The baselines that every study gets, from knowing nothing on."""

Predictions = Mapping[str, Mapping[SessionKey, Prediction]]
"""By row, the prediction of each session."""


def task_free_rows(
    sessions: Mapping[SessionKey, Session],
    predicted: Collection[SessionKey],
    training: Collection[SessionKey],
    persons: Persons,
    seed: int,
    baselines: Sequence[Baseline] = TASK_FREE,
) -> Predictions:
    """What each baseline says of the sessions ``predicted`` of one study; ``sessions`` holds these and the training's.

    ``seed`` is that of the split, by whose order the folds are dealt.
    """
    rows: dict[str, dict[SessionKey, Prediction]] = {baseline.name: {} for baseline in baselines}
    for lesson in lessons(predicted, training, persons, seed):
        learned_from = [sessions[key] for key in lesson.training]
        for baseline in baselines:
            predict = baseline.learn(learned_from)
            rows[baseline.name] |= {key: predict(sessions[key]) for key in lesson.predicted}
    return rows
