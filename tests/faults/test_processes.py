"""Processes killed with signal 9, two runs into one folder: nothing is lost or mixed, and the next command goes on."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from centaurlab.scoring.store import ScoreStore, SessionResult
from helpers.commands import installed
from helpers.json_files import run_json
from helpers.score_runs import command, ended, n_stored, start, start_group, table_bytes
from helpers.servers import free_port
from helpers.transcripts import write_bandits
from helpers.waiting import wait_until

pytestmark = pytest.mark.usefixtures("offline")


def die_after(n_sessions: int) -> None:
    """Kill this process at the moment at which it has stored so many sessions."""
    add = ScoreStore.add
    stored: list[str] = []

    def add_and_die(store: ScoreStore, digest: str, result: SessionResult) -> None:
        add(store, digest, result)
        stored.append(digest)
        if len(stored) == n_sessions:
            os.kill(os.getpid(), signal.SIGKILL)

    ScoreStore.add = add_and_die  # type: ignore[method-assign]


@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_of_two_processes_is_killed_the_other_says_so_and_the_next_run_completes(
    tmp_path: Path, tiny_gemma_dir: Path, killed: int
) -> None:
    data, run = write_bandits(tmp_path / "data.jsonl", 12), tmp_path / "run"
    assert ended(start(command(tiny_gemma_dir, data, tmp_path / "whole"))) == 0

    both = start_group(command(tiny_gemma_dir, data, run), tmp_path, 2, {killed: lambda: die_after(2)})
    codes = [ended(child) for child in both]
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == 2
    log = (tmp_path / f"rank-{1 - killed}").read_text()
    assert "error: another process of this run has died" in log
    assert "Traceback" not in log
    assert not (run / "scores.parquet").exists()
    assert n_stored(run, killed) == 2

    kept = n_stored(run, 0) + n_stored(run, 1)
    assert ended(start(command(tiny_gemma_dir, data, run))) == 0
    assert table_bytes(run) == table_bytes(tmp_path / "whole")
    assert n_stored(run, 0) + n_stored(run, 1) == 12 > kept


def test_a_run_into_the_folder_of_another_is_refused_and_one_of_a_dead_process_continued(
    tmp_path: Path, tiny_llama_dir: Path
) -> None:
    data, run = write_bandits(tmp_path / "data.jsonl", 8), tmp_path / "run"
    assert ended(start(command(tiny_llama_dir, data, tmp_path / "whole"))) == 0

    def stop_after_three() -> None:
        add = ScoreStore.add

        def add_and_wait(store: ScoreStore, digest: str, result: SessionResult) -> None:
            add(store, digest, result)
            if n_stored(run) == 3:
                signal.pause()

        ScoreStore.add = add_and_wait  # type: ignore[method-assign]

    first = start(command(tiny_llama_dir, data, run), prepare=stop_after_three)
    wait_until(lambda: n_stored(run) == 3 or not first.is_alive(), every=0.02)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for argv in (command(tiny_llama_dir, data, run), command(tiny_llama_dir, data, run, "--protocol", "paper")):
        assert ended(start(argv, tmp_path / "second")) == 2
        (sentence,) = (tmp_path / "second").read_text().splitlines()
        assert sentence.startswith(f"error: another run is writing to {run}")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    first.kill()
    assert ended(first) == -signal.SIGKILL
    assert (run / ".lock").exists(), "the dead process left its lock"
    assert ended(start(command(tiny_llama_dir, data, run))) == 0
    assert table_bytes(run) == table_bytes(tmp_path / "whole")


LAUNCHERS = {
    "torchrun": ("torchrun", "--nproc_per_node", "2", "--master_port"),
    "accelerate": ("accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--main_process_port"),
}


def launch(launcher: str, argv: list[str], log: Path) -> "tuple[subprocess.Popen[bytes], list[psutil.Process]]":
    """A launcher, and its two processes once both have stored a session."""
    program, *options = LAUNCHERS[launcher]
    folder = Path(argv[argv.index("--output_dir") + 1])
    with log.open("wb") as output:
        command_line = [installed(program), *options, str(free_port()), *argv]
        parent = subprocess.Popen(command_line, stdout=output, stderr=output)

    def both_have_begun() -> bool:
        assert parent.poll() is None, log.read_text()
        return n_stored(folder, 0) > 0 and n_stored(folder, 1) > 0

    wait_until(both_have_begun, seconds=240)
    return parent, [c for c in psutil.Process(parent.pid).children() if "RANK" in c.environ()]


@pytest.mark.parametrize(
    ("launcher", "victim"),
    [
        pytest.param("torchrun", "process", marks=pytest.mark.slow),
        pytest.param("accelerate", "launcher", marks=pytest.mark.slow),
        pytest.param("torchrun", "launcher", marks=pytest.mark.release),
    ],
)
def test_after_a_kill_launcher_and_processes_end_and_the_same_command_completes(
    tmp_path: Path, tiny_gemma_dir: Path, launcher: str, victim: str
) -> None:
    data, run, log = write_bandits(tmp_path / "data.jsonl", 120, n_trials=40), tmp_path / "run", tmp_path / "log"
    assert ended(start(command(tiny_gemma_dir, data, tmp_path / "whole"))) == 0

    parent, children = launch(launcher, command(tiny_gemma_dir, data, run), log)
    assert len(children) == 2
    (parent if victim == "launcher" else children[1]).kill()
    code = parent.wait(60)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    if victim == "launcher":
        assert code == -signal.SIGKILL
    else:
        assert code == 1
        assert f"Signal 9 (SIGKILL) received by PID {children[1].pid}" in log.read_text()
    kept = n_stored(run, 0) + n_stored(run, 1)
    assert 0 < kept < 120
    assert not (run / "scores.parquet").exists()

    assert ended(start(command(tiny_gemma_dir, data, run))) == 0
    assert table_bytes(run) == table_bytes(tmp_path / "whole")
    assert run_json(run)["speed"]["processes"] == 1
