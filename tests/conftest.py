"""Fixtures of every test: a tiny Llama, a tiny Gemma 3 (``helpers.tiny_models``), and no network."""

import os
import shutil
from pathlib import Path

import pytest

# Side by side ('make test'), each process has one thread: threads of several wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

from helpers.report_pages import Page
from helpers.tiny_models import CHAT_TEMPLATE, save_tiny_gemma, save_tiny_llama

# Tests log nowhere but where they say, whatever the shell that starts them does.
for _variable in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
    del os.environ[_variable]
os.environ["WANDB_MODE"] = "offline"
os.environ["MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"] = "false"


@pytest.fixture(scope="session")
def tiny_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Llama; read only."""
    return save_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def tiny_gemma_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Gemma 3 with a sliding window; read only."""
    return save_tiny_gemma(tmp_path_factory.mktemp("tiny-gemma"))


@pytest.fixture
def chat_model(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    """The tiny Llama with a chat template."""
    folder = Path(shutil.copytree(tiny_llama_dir, tmp_path / "chat"))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of converted models and digests, empty and of the test's own."""
    monkeypatch.setenv("CENTAURLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts run without the hub, on one thread, with a cache of the test's own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs of several jobs; read only."""
    from helpers.finished_runs import several_runs

    return several_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def page(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report on them."""
    from centaurlab.reporting import write_report

    output = tmp_path_factory.mktemp("report") / "report.html"
    write_report(list(runs.values()), output, "html")
    return Page(output)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: creating its tables takes seconds, copying it none."""
    from helpers.trackers import write_empty_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    write_empty_store(path)
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    """The address of the store that runs in the test's folder are logged to."""
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
