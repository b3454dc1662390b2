"""What a process of ``accelerate launch`` or ``torchrun`` owes its launcher: its share of the cores, and its end.

They set ``OMP_NUM_THREADS=1`` where nothing is set, which is right beside GPUs, and halves the speed of two cores. And
where the launcher of several is killed, nobody ends them: they would hold the run's folder, or wait for one another.
"""

import ctypes
import os
import platform
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def share_cores() -> None:
    """Divide the cores that this process may use among the processes that a launcher started on this machine.

    A number of threads above one was set by somebody, and stays; so does that of a process without a launcher.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "LOCAL_WORLD_SIZE" in os.environ
    if launched and os.environ.get("OMP_NUM_THREADS") == "1":
        import torch

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def end_with_launcher() -> None:
    """Let the kernel kill this process when the launcher of its group dies; outside such groups, or Linux, do nothing.

    What is scored is durable: nothing is lost, and the same command can continue at once.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and platform.system() == "Linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
