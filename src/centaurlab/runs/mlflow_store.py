"""The MLflow store: SQLite in the working directory unless ``MLFLOW_TRACKING_URI`` says otherwise.

A database comes into being whole, under a lock: MLflow builds it in some forty migrations, and two processes that meet
an empty one, or one that is killed within, would leave it broken for every later run.
"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from centaurlab.runtime.errors import UserError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "centaurlab"
RESUMED = "resumed."
"""What the tag of a parameter's later value begins with."""

_SQLITE = "sqlite:///"
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # commands say it themselves
}


def store_address() -> str:
    """``MLFLOW_TRACKING_URI``, or ``mlflow.db`` in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{Path('mlflow.db').resolve()}"


def experiment_name() -> str:
    """``MLFLOW_EXPERIMENT_NAME``, or 'centaurlab'."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def settings_of(run: "Run") -> dict[str, str]:
    """What a run was asked the last time: MLflow changes no parameter, so that another value is a tag."""
    resumed = {name.removeprefix(RESUMED): value for name, value in run.data.tags.items() if name.startswith(RESUMED)}
    return dict(run.data.params) | resumed


def database_of(address: str) -> Path | None:
    """The file of a store in SQLite; None for a server, another database or a folder."""
    path = address.removeprefix(_SQLITE).partition("?")[0]
    return Path(path).resolve() if address.startswith(_SQLITE) and path else None


def check_writable(address: str) -> None:
    """Raise ``UserError`` at once where runs cannot be written to a SQLite store; MLflow tries for two minutes."""
    path = database_of(address)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock_of(path).open("ab"):  # SQLite needs a journal beside the database
            pass
    except OSError as error:
        raise UserError(
            f"cannot write to the store {path}: {error.strerror}; let MLFLOW_TRACKING_URI name another"
        ) from None
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise UserError(f"cannot write to the store {path}; let MLFLOW_TRACKING_URI name another")


def connect(address: str) -> "MlflowClient":
    """A client that gives up on a silent server within a minute, where the environment sets no other limits.

    A SQLite store that is not there yet is made; ``UserError`` names one that is broken, and what to do.
    """
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    # It announces every new store, and prints the traceback of errors that it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    path = database_of(address)
    if path is None:
        return MlflowClient(tracking_uri=address)
    if path.exists() and not os.access(path.parent, os.W_OK):  # somebody else's, to be read
        return _opened(address, path)
    with FileLock(_lock_of(path)):
        if not path.exists():
            begun = path.with_name(f".{path.name}.new")
            begun.unlink(missing_ok=True)
            MlflowClient(tracking_uri=f"{_SQLITE}{begun}").search_experiments()
            begun.replace(path)
        return _opened(address, path)


def _opened(address: str, path: Path) -> "MlflowClient":
    """A client that has read from the store."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri=address)
        client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        reason = one_line(error, 120)
        if "out-of-date database schema" in reason:
            raise UserError(
                f"the store {path} is of another release of MLflow; keep a copy, and give: mlflow db upgrade {address}"
            ) from error
        raise UserError(
            f"the store {path} is broken ({reason}); move it away, mv {path} {path}.broken, and the next command makes "
            "a new one"
        ) from error
    return client


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
