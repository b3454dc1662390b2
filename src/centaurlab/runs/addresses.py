"""Where a run is found in its trackers: said at the end of its command, and linked from the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from centaurlab.runs.integrity import read_sound_json
from centaurlab.runs.lineage import IDS
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.terminal import say

_UI = "http://127.0.0.1:5000"
"""Where 'mlflow ui' shows a store that is no server."""


def addresses(folder: Path) -> dict[str, str]:
    """The page of the run in ``folder`` in each of its trackers; one that W&B wrote offline has none yet."""
    known = read_sound_json(folder / IDS)
    found = {"mlflow": _mlflow_page(known.get("mlflow")), "wandb": _wandb_page(known.get("wandb"))}
    return {tracker: page for tracker, page in found.items() if page}


def say_where(folder: Path, tracking: TrackingArguments) -> None:
    """Print the pages of a run that its command has just tracked; call it on the main process."""
    known = read_sound_json(folder / IDS)
    for tracker, page in addresses(folder).items():
        if tracker not in tracking.trackers or tracker in known.get("untracked", {}):
            continue
        store = str(known[tracker].get("address"))
        how = "" if page.startswith(store.rstrip("/")) else f" (mlflow ui --backend-store-uri {store})"
        say(f"{tracker}: {page}{how}")


def _mlflow_page(known: Any) -> str | None:
    if not isinstance(known, Mapping) or "experiment_id" not in known:
        return None
    store = str(known["address"])
    server = store.rstrip("/") if store.startswith(("http://", "https://")) else _UI
    return f"{server}/#/experiments/{known['experiment_id']}/runs/{known['run_id']}"


def _wandb_page(known: Any) -> str | None:
    page = str(known.get("address")) if isinstance(known, Mapping) else ""
    return page if page.startswith(("http://", "https://")) else None
