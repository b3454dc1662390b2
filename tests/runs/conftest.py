"""A folder of its own for each test: trackers write where a command is given. And a server for those of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.trackers import MlflowServer


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[MlflowServer]:
    """One server, which takes half a minute to start; the last test of a module that uses it may kill it."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    running = MlflowServer(folder, f"sqlite:///{folder / 'mlflow.db'}")
    yield running
    running.kill()
