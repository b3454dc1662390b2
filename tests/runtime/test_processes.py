import os

import pytest
import torch

from centaurlab.runtime.processes import share_cores


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What ``torch.set_num_threads`` was asked, on a machine of eight cores."""
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for name in ("ACCELERATE_MIXED_PRECISION", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return asked


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}, [8]),
        ({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}, [4]),
        ({"LOCAL_WORLD_SIZE": "16", "OMP_NUM_THREADS": "1"}, [1]),
        ({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "3"}, []),
        ({"OMP_NUM_THREADS": "1"}, []),
    ],
)
def test_what_a_launcher_left_at_one_thread_gets_its_share(
    environment: dict[str, str], threads: list[int], set_to: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    share_cores()
    assert set_to == threads
