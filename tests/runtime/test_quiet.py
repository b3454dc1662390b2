"""What a library says of itself is kept from a user's terminal, and nothing else is."""

import warnings
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model
from centaurlab.runtime.quiet import ignore_renamed_checkpointing
from centaurlab.training.arguments import CentaurConfig


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, True), ({"gradient_checkpointing": False}, False), ({"activation_checkpointing": False}, False)],
)
def test_checkpointing_by_either_name_without_a_warning(given: dict[str, bool], expected: bool, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        config = CentaurConfig(str(tmp_path), bf16=False, report_to="none", **given)
    assert (config.activation_checkpointing, config.gradient_checkpointing) == (expected, expected)


def test_only_the_old_names_are_passed_over(tiny_llama_dir: Path) -> None:
    model = load_model(ModelArguments(str(tiny_llama_dir)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FutureWarning, match="is_gradient_checkpointing"):
            _ = model.is_gradient_checkpointing
        ignore_renamed_checkpointing()
        assert not model.is_gradient_checkpointing
        model.gradient_checkpointing_enable()
        model.gradient_checkpointing_disable()
        with pytest.raises(FutureWarning, match="another"):
            warnings.warn_explicit("another is deprecated", FutureWarning, PreTrainedModel.__module__, 1)
