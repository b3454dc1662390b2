"""The cognitive models that come with the package, and those of a user's own file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from centaurlab.cognitive.model import CognitiveModel
from centaurlab.cognitive.models import (
    delta_rule,
    function_learning,
    graded_response,
    logit,
    matching,
    observe_or_bet,
    public_goods,
    recall,
    risk,
    stroop,
    two_step,
    word_form,
)
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.own_file import load_own

MODELS: tuple[CognitiveModel, ...] = (
    *delta_rule.MODELS,
    *two_step.MODELS,
    *matching.MODELS,
    *stroop.MODELS,
    *logit.MODELS,
    *graded_response.MODELS,
    *word_form.MODELS,
    *risk.MODELS,
    *recall.MODELS,
    *function_learning.MODELS,
    *public_goods.MODELS,
    *observe_or_bet.MODELS,
)


def models_of(study: str, own: Sequence[CognitiveModel] = ()) -> list[CognitiveModel]:
    """The models of a study: the package's and the user's own."""
    return [model for model in (*MODELS, *own) if study in model.studies]


def load_models(path: Path) -> tuple[CognitiveModel, ...]:
    """The models of a user's own file. The file is Python and is run: use your own only.

    It defines ``MODELS``, a tuple of ``CognitiveModel``, as the files of this package do. Raises ``UserError`` for a
    file that cannot be read or run, that defines something else, or a name that is taken.
    """
    models = load_own(path, "MODELS", CognitiveModel, "file of models")
    names = [model.name for model in (*MODELS, *models)]
    if taken := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{path}: the model name {taken[0]!r} is taken; give the model another")
    return tuple(replace(model, file=str(path)) for model in models)
