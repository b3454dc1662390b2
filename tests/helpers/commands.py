"""Commands as a user gives them: in this process, which has the slow imports behind it, or in one of their own."""

import io
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from centaurlab.cli import main as cli
from helpers.paths import EVAL

UNTRACKED = ("--report_to", "none")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
"""Of processes that tests start: one thread, no network, no GPU."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one sentence that says why it ended in exit code 2."""
        assert self.returncode == 2, self.stderr
        return error_in(self.stderr)


def error_in(printed: str) -> str:
    """The one line of what was printed that says what is wrong; there is no traceback."""
    assert "Traceback" not in printed, printed
    (sentence,) = (line for line in printed.splitlines() if line.startswith("error: "))
    return sentence


def run_script(script: Path, *arguments: object, cwd: Path | None = None) -> Done:
    """Run a script in this process.

    ``cwd``: a folder that it runs in and that has the cache as well.
    """
    return _run_here(lambda: runpy.run_path(str(script), run_name="__main__"), (script, *arguments), cwd)


def evaluate(script: str, *arguments: object, cwd: Path | None = None) -> Done:
    """Run a script of ``eval/`` in this process, tracked nowhere; see ``run_script``."""
    return run_script(EVAL / script, *arguments, *UNTRACKED, cwd=cwd)


def centaurlab(*arguments: object, cwd: Path | None = None) -> Done:
    """Run ``centaurlab ARGUMENTS`` in this process; see ``run_script``."""
    return _run_here(cli.main, ("centaurlab", *arguments), cwd)


def _run_here(main: Callable[[], object], words: tuple[object, ...], cwd: Path | None) -> Done:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("sys.argv", [*map(str, words)])
        patch.setattr("platform.libc_ver", lambda *_: ("", ""))  # or malloc would keep memory in all later tests
        if cwd is not None:
            patch.setenv("CENTAURLAB_CACHE", str(cwd / "cache"))
            patch.chdir(cwd)
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def run_process(*words: object, cwd: Path | None = None, timeout: float = 900, **environment: str) -> Done:
    """Run a program in a process of its own to its end, at most ``timeout`` seconds."""
    done = subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env=os.environ | ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def run_python(*words: object, cwd: Path | None = None, timeout: float = 900, **environment: str) -> Done:
    """Run a script with its arguments, or ``-c`` and a program, in a process of its own; see ``run_process``."""
    return run_process(sys.executable, *words, cwd=cwd, timeout=timeout, **environment)


def installed(program: str) -> str:
    """The path of a program that stands beside this Python, such as ``torchrun``."""
    return str(Path(sys.executable).parent / program)
