"""What a process of ``accelerate launch`` or ``torchrun`` owes its launcher: its share of the cores, and its end.

They set ``OMP_NUM_THREADS=1`` where nothing is set, which is right beside GPUs, and halves the speed of two cores. And
where the launcher of several is killed, nobody ends them: they would hold the run's folder, or wait for one another.
"""

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def share_cores() -> None:
    """Divide the cores that this process may use among the processes that a launcher started on this machine.

    More threads than a container's quota of CPU time allows wait for one another, and each gets many times slower; so
    without a launcher there are as many as the quota has cores, where it has fewer than the machine. What somebody set
    (``OMP_NUM_THREADS``; of a launcher's process a number above one) stays.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "LOCAL_WORLD_SIZE" in os.environ
    threads = os.environ.get("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = min(cores, _quota(Path("/sys/fs/cgroup")) or cores)
    if (launched and threads == "1") or (threads is None and allowed < cores):
        import torch

        torch.set_num_threads(max(1, allowed // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _quota(cgroup: Path) -> int | None:
    """Cores' worth of CPU time that the container of this process may use, at least one; None: no limit."""
    try:
        if (cgroup / "cpu.max").exists():  # version 2: "200000 100000", "max 100000"
            time, period = (cgroup / "cpu.max").read_text().split()
        else:
            time, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return max(1, int(time) // int(period)) if int(time) > 0 else None
    except (OSError, ValueError):
        return None


def leave_group() -> None:
    """Leave the group of a launcher's processes, whose threads can otherwise abort one that ends before the others."""
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def end_with_launcher() -> None:
    """Let the kernel kill this process when its launcher dies; without one, or outside Linux, do nothing.

    ``accelerate launch`` of one process is a launcher, too: stopped alone, it left its process, which held the run's
    folder. What is scored is durable: nothing is lost, and the same command can continue at once.
    """
    if platform.system() == "Linux" and ("TORCHELASTIC_RUN_ID" in os.environ or _is_launched_alone()):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _is_launched_alone() -> bool:
    """Whether the parent is 'accelerate launch', of whose variables transformers sets some without it."""
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"launch" in words and any(Path(os.fsdecode(word)).name == "accelerate" for word in words)


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8  # malloc.h
_TOP_PAD_BYTES = 256 << 20
_MANY = 1 << 16  # glibc's own limit of mapped blocks
VARYING_BLOCK_BYTES = 32 << 20


def keep_freed_memory(largest_block_bytes: int | None = None) -> None:
    """Let glibc serve large blocks from a heap that it does not shrink; does nothing on other C libraries.

    With ``largest_block_bytes``, blocks above go back to the kernel. Where each batch's logits have another size, no
    freed block fits the next: the heap of a post-training run grew by 150 MiB a step, and to return these few large
    blocks (``VARYING_BLOCK_BYTES``) cost it 6 % of its time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, _MANY if largest_block_bytes else 0)
    if largest_block_bytes:
        mallopt(_M_MMAP_THRESHOLD, largest_block_bytes)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)
    mallopt(_M_ARENA_MAX, 1)
