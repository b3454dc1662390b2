import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from centaurlab.runtime import processes
from centaurlab.runtime.processes import share_cores


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What ``torch.set_num_threads`` was asked, on a machine of eight cores."""
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(processes, "_quota", lambda cgroup: None)
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


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, [3]),
        ({"OMP_NUM_THREADS": "8"}, []),
        ({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}, [1]),
    ],
)
def test_a_container_gets_no_more_threads_than_its_quota(
    environment: dict[str, str], threads: list[int], set_to: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_quota", lambda cgroup: 3)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    share_cores()
    assert set_to == threads


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "350000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_both_versions_of_cgroups_is_read(
    files: dict[str, str], cores: int | None, tmp_path: Path
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert processes._quota(tmp_path) == cores


@pytest.mark.parametrize(("launcher", "ends"), [("accelerate", True), ("shell", False)])
@pytest.mark.skipif(sys.platform != "linux", reason="by its kernel")
def test_a_process_that_accelerate_launched_alone_ends_with_it(launcher: str, ends: bool, tmp_path: Path) -> None:
    """A stand-in of the launcher, which starts one process and waits; killed, it can end nobody."""
    child = (
        "import os, time; from centaurlab.runtime.processes import end_with_launcher; end_with_launcher(); "
        "print(os.getpid(), flush=True); time.sleep(20)"
    )
    script = tmp_path / launcher
    script.write_text(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    parent = subprocess.Popen([sys.executable, script, "launch"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    time.sleep(0.3)
    state = Path(f"/proc/{pid}/status")
    is_gone = not state.exists() or "State:\tZ" in state.read_text()
    if not is_gone:
        os.kill(pid, 9)
    parent.stdout.close()
    assert is_gone == ends
