"""Give a process its share of a CPU's cores: ``accelerate launch`` and ``torchrun`` leave one thread to each.

They set ``OMP_NUM_THREADS=1`` where nothing is set, which is right beside GPUs, and halves the speed of two cores.
"""

import os


def share_cores() -> None:
    """Divide the cores that this process may use among the processes that a launcher started on this machine.

    A number of threads above one was set by somebody, and stays; so does that of a process without a launcher.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "LOCAL_WORLD_SIZE" in os.environ
    if launched and os.environ.get("OMP_NUM_THREADS") == "1":
        import torch

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
