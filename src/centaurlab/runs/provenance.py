"""Where a run comes from: versions, command, commit, machine."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from centaurlab import __version__
from centaurlab.runtime.secrets import masked_command

_LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "trl", "accelerate", "bitsandbytes", "datasets", "numpy")
_SCRIPTS = ("eval", "recipes", "sweeps")


def provenance() -> dict[str, Any]:
    """Versions, command, commit and machine of this process, for ``run.json``; secrets are masked."""
    return {
        "centaurlab": __version__,
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in _LIBRARIES},
        "command": masked_command(sys.argv),
        "git": _git(),
        "hardware": _hardware(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def as_typed(command: Sequence[str]) -> str:
    """What was typed in a shell: ``centaurlab``, or in a checkout a script of it; no folder of a machine."""
    script, *arguments = map(str, command or ["?"])
    path = Path(script)
    if path.name in ("centaurlab", "__main__.py"):
        return shlex.join(["centaurlab", *arguments])
    if path.parent.name in _SCRIPTS:
        script = f"{path.parent.name}/{path.name}"
    return shlex.join(["python", script, *arguments])


def _git() -> dict[str, Any] | None:
    """Commit of the checkout that centaurlab runs from, or None outside one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:  # a package installed below somebody's own checkout is not part of it
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(dirty.strip())}


def _hardware() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else []
    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus,
    }


def peak_memory() -> dict[str, int]:
    """Largest memory of this process so far in bytes, resident and on its GPU.

    On Linux the first is at least what the process that started this one had had by then.
    """
    peak = {"peak_memory_bytes": _peak_resident()}
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        peak["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    return peak


def _peak_resident() -> int:
    try:
        import resource  # which Windows lacks
    except ImportError:
        memory: Any = psutil.Process().memory_info()  # with a peak, there
        return int(memory.peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
