"""However a user ends a command, it ends in one sentence or none, and never in a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from centaurlab.runtime.errors import DISK_FULL
from helpers.commands import ENVIRONMENT, centaurlab
from helpers.score_runs import options
from helpers.transcripts import write_bandits

pytestmark = pytest.mark.usefixtures("offline")

COMMAND = (sys.executable, "-m", "centaurlab")
SENTENCE = "interrupted: the same command goes on from what is saved\n"


def _heed_ctrl_c() -> None:
    """Programs that a shell starts in the background, as the tests may be, do not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupted(model: Path, data: Path, folder: Path, moments: list[float]) -> list[tuple[int, str]]:
    """Exit codes and last words of so many scorings, each of which meets Ctrl-C so many seconds after its start."""
    started = [
        subprocess.Popen(
            [*COMMAND, "score", *options(model, data, folder / str(number))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_ctrl_c,
        )
        for number in range(len(moments))
    ]
    begun, ends = time.monotonic(), []
    for moment, process in zip(moments, started, strict=True):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        process.send_signal(signal.SIGINT)
    for process in started:
        _, said = process.communicate(timeout=120)
        ends.append((process.returncode, said))
    return ends


def test_ctrl_c_is_one_sentence(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 200, n_trials=40)
    ends = interrupted(tiny_llama_dir, data, tmp_path, [1.5, 4.0])
    assert ends == [(130, SENTENCE)] * 2


@pytest.mark.slow
def test_ctrl_c_is_one_sentence_at_any_moment(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 200, n_trials=40)
    for first in (0.5, 0.8, 1.1, 1.4):
        ends = interrupted(tiny_llama_dir, data, tmp_path, [first + 1.3 * n for n in range(4)])
        assert [end for end in ends if end != (130, SENTENCE)] == []


def test_ctrl_c_while_a_string_is_executed_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from centaurlab.runtime.errors import exit_on_user_error\n"
        "exit_on_user_error(lambda: exec('raise KeyboardInterrupt'))\n"
    )
    command = [sys.executable, "-m", "program"]
    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ | ENVIRONMENT)
    assert (done.returncode, done.stderr) == (130, SENTENCE)


@pytest.mark.parametrize(("seconds", "said"), [(10.0, "imported\n"), (0.0, "")], ids=["waits", "but not for ever"])
def test_ctrl_c_waits_for_an_import_to_end(tmp_path: Path, seconds: float, said: str) -> None:
    (tmp_path / "native.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nprint('imported')\n")
    (tmp_path / "program.py").write_text(
        "import time\nfrom centaurlab.runtime import errors\n"
        f"errors._LONGEST_IMPORT_SECONDS = {seconds}\n"
        "def main():\n    import native\n    time.sleep(60)\n"
        "errors.exit_on_user_error(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "program"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
        preexec_fn=_heed_ctrl_c,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, said, SENTENCE)


@pytest.mark.parametrize("words", [("--help",), ("models",), ("score", "--help")])
def test_where_nobody_reads_the_output_nothing_is_said(words: tuple[str, ...]) -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    environment = os.environ | ENVIRONMENT
    done = subprocess.run([*COMMAND, *words], stdout=sender, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(sender)
    assert done.stderr == ""
    assert done.returncode in (0, 128 + signal.SIGPIPE)  # argparse passes over it


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", ["--help", "models"])
def test_where_the_output_goes_to_a_full_disk_it_is_a_sentence(words: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, words], stdout=full, stderr=subprocess.PIPE, text=True)
    said = f"error: {DISK_FULL}; free space, then give the same command again: what is done is saved\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_where_there_is_no_output_nothing_is_said() -> None:
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *COMMAND, "--help"], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("score", "--modle", "x"), "error: unknown option '--modle'; did you mean '--model'?"),
        (("score", "--dada=x", "--model", "x"), "error: unknown option '--dada'; did you mean '--data'?"),
        (
            ("score", "--model", "x", "--data", "starter", "--output_dir", ""),
            "error: --output_dir is empty; name a folder",
        ),
        (
            ("misalignment", "--base", "a", "--post", "b", "--output_dir= "),
            "error: --output_dir is empty; name a folder",
        ),
        (("train", "--output_dir", ""), "error: --output_dir is empty; name a folder"),
    ],
)
def test_what_was_mistyped_is_named(words: tuple[str, ...], sentence: str) -> None:
    assert centaurlab(*words).error == sentence
