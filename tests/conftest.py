"""Fixtures of every test: a tiny Llama, a tiny Gemma 3 (``helpers.tiny_models``), and no network."""

import os
from pathlib import Path

import pytest

from helpers.tiny_models import save_tiny_gemma, save_tiny_llama

# Tests log nowhere but where they say, whatever the shell that starts them does.
for _variable in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
    del os.environ[_variable]
os.environ["WANDB_MODE"] = "offline"


@pytest.fixture(scope="session")
def tiny_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Llama; read only."""
    return save_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def tiny_gemma_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Gemma 3 with a sliding window; read only."""
    return save_tiny_gemma(tmp_path_factory.mktemp("tiny-gemma"))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts run without the hub, on one thread, with a cache of the test's own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CENTAURLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
