"""Adapters in MLflow: logged as models that can be registered, and found again by an address such as models:/centaur/1.

A logged model holds one state of the weights for ever: a run that goes on training logs another.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from centaurlab.runs.found import BASE_WEIGHTS, MADE_OF, base_weights
from centaurlab.runs.mlflow_store import connect, store_address
from centaurlab.runtime.errors import UserError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEME = "models:/"
_ADAPTER = {"adapter_config.json", "adapter_model.safetensors"}
_DIGEST = "centaurlab.sha256"
_ILLEGAL = re.compile(r"[/:.%\"']+")


def is_adapter(files: Sequence[Path]) -> bool:
    """Whether these files of a folder are those of a PEFT adapter."""
    return {path.name for path in files} >= _ADAPTER


def log_adapter(client: "MlflowClient", run_id: str, experiment_id: str, name: str, files: Sequence[Path]) -> str:
    """The id of the logged model of these files: the run's own where it has them already, else a new one."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    digest = _digest_of(files)
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else ():
        known = client.get_logged_model(output.model_id)
        if known.tags.get(_DIGEST) == digest and known.status == LoggedModelStatus.READY:
            return str(known.model_id)
    config = json.loads(next(path for path in files if path.name == "adapter_config.json").read_text())
    params = {key: str(config[key]) for key in ("base_model_name_or_path", "peft_type", "r") if key in config}
    legal = _ILLEGAL.sub("-", name) or "adapter"
    model = client.create_logged_model(experiment_id, legal, run_id, {_DIGEST: digest}, params, "adapter")
    model_id = str(model.model_id)
    with tempfile.TemporaryDirectory() as scratch:
        described = Path(scratch) / "MLmodel"
        about = {"flavors": {"peft": params}, "model_id": model_id, "run_id": run_id}
        described.write_text(json.dumps(about, indent=2))  # JSON is YAML, as MLflow reads it
        made_of = {BASE_WEIGHTS: weights} if (weights := base_weights(files[0].parent)) else {}
        (Path(scratch) / MADE_OF).write_text(json.dumps(made_of))
        for path in [described, Path(scratch) / MADE_OF, *files]:
            client.log_model_artifact(model_id, str(path))
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    return model_id


def model_folder(address: str, cache: Path) -> Path:
    """The files of ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or ``models:/m-ID`` of the store.

    Of a store whose files are on this machine, where they are; else copied into ``cache`` once. ``UserError`` where
    the store has no such model, or cannot be reached.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    store = store_address()
    try:
        client = connect(store)
        model_id = _model_id(client, address.removeprefix(SCHEME))
        location = client.get_logged_model(model_id).artifact_location
        folder = cache / f"mlflow-{model_id}"
        if location.startswith("file:") or folder.is_dir():
            return folder if folder.is_dir() else Path(download_artifacts(artifact_uri=location, tracking_uri=store))
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{folder.name}.lock"):
            if not folder.is_dir():
                begun = cache / f".{folder.name}.partial"
                shutil.rmtree(begun, ignore_errors=True)
                begun.mkdir()
                download_artifacts(artifact_uri=location, dst_path=str(begun), tracking_uri=store)
                found = next(begun.rglob("adapter_config.json"), None)
                if not found:
                    raise UserError(f"{address} of the store {store} is no adapter of centaurlab's")
                found.parent.rename(folder)
        return folder
    except (MlflowException, OSError) as error:
        raise UserError(
            f"model {address!r} was not found in the store {store} ({one_line(error, 120)}); MLFLOW_TRACKING_URI names "
            "another store, and its page lists the registered models"
        ) from error


def _model_id(client: "MlflowClient", name: str) -> str:
    """The logged model behind a registered one."""
    registered, has_version, version = name.rpartition("/")
    aliased, has_alias, alias = name.rpartition("@")
    if has_version:
        found = client.get_model_version(registered, version)
    elif has_alias:
        found = client.get_model_version_by_alias(aliased, alias)
    else:
        return name
    source = str(found.model_id or found.source).removeprefix(SCHEME)
    return source


def _digest_of(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.name}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
