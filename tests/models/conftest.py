"""A model to be changed, an adapter, and sessions of bytes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from centaurlab.prompts.encoding import Encoding
from helpers.adapters import save_adapter
from helpers.feeding import encoded_sessions
from helpers.tiny_models import logits


@pytest.fixture
def copy_of(tiny_llama_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the tiny Llama under a name, to be changed."""
    return lambda name: shutil.copytree(tiny_llama_dir, tmp_path / name)


@pytest.fixture(scope="session")
def adapter(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A LoRA adapter on the tiny Llama, read only; what both give in float32."""
    folder = tmp_path_factory.mktemp("adapter")
    return folder, logits(save_adapter(tiny_llama_dir, folder, target_modules="all-linear", lora_dropout=0.5))


@pytest.fixture(scope="session")
def sessions() -> list[Encoding]:
    """A long one, and three of one beginning, in tokens of bytes."""
    return encoded_sessions()
