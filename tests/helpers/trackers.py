"""An MLflow server and its stores, and what an offline W&B run holds."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from centaurlab.runs.mlflow_store import connect
from helpers.servers import free_port
from helpers.waiting import wait_until


def write_empty_store(path: Path) -> str:
    """Make the tables of an MLflow database, which takes seconds; return its address."""
    connect(f"sqlite:///{path}").search_experiments()
    return f"sqlite:///{path}"


class MlflowServer:
    """A server that keeps its runs in ``store`` and their files below ``folder``, from its making to ``kill``."""

    def __init__(self, folder: Path, store: str) -> None:
        self.store = store
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", store, "--artifacts-destination", str(folder / "served")]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_until(self.answers, every=0.2)

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=1):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """End it and what it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def read_offline(folder: Path) -> list[Any]:
    """The records of the one W&B offline run below ``folder``: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.rglob("*.wandb")
    size = -1
    while path.stat().st_size > size:  # W&B's own process still writes
        size = path.stat().st_size
        time.sleep(1.5)
    content, at, parts, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            records.append(Record.FromString(parts))
            parts = b""
    return records


def logged_offline(records: list[Any]) -> dict[str, Any]:
    """The last value of each metric in the records of an offline run, and its tables."""
    items = (item for record in records for item in record.history.item)
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
