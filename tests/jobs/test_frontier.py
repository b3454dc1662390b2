"""Models on a frontier have names."""

import pytest

from centaurlab.jobs.frontier import named_models
from centaurlab.runtime.errors import UserError


def test_models_have_names_of_their_own() -> None:
    assert [(m.name, m.model) for m in named_models(["sft=runs/a", "runs/b"])] == [
        ("sft", "runs/a"),
        ("runs/b", "runs/b"),
    ]
    with pytest.raises(UserError, match="twice"):
        named_models(["a=x", "a=y"])
    with pytest.raises(UserError, match="NAME=MODEL"):
        named_models(["a="])
