"""No file breaks the package: hundreds of inputs of each kind here, thousands in the slow part, 10^6 for a release."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.inputs import PIECES, SEEDS
from fuzz.targets import TARGETS, check_transcript
from helpers.paths import TESTS

INPUTS, INPUTS_OF_A_RELEASE = 20_000, 170_000
each_target = pytest.mark.parametrize("name", TARGETS)


@each_target
def test_the_seeds_are_accepted_and_their_halves_do_no_harm(name: str, tmp_path: Path) -> None:
    accepted = [TARGETS[name](seed, tmp_path) for seed in SEEDS[name]]
    assert sum(accepted) >= len(accepted) - 1
    for seed in SEEDS[name]:
        for end in range(0, len(seed), 5):
            TARGETS[name](seed[:end], tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all examples; beside nothing that looks for a ``run.json`` above it."""
    return tmp_path_factory.mktemp("fuzz") / "run"


@each_target
@settings(max_examples=200, deadline=None)
@given(kind=st.integers(0, 255), content=st.binary(max_size=60))
def test_no_bytes_do_harm(name: str, kind: int, content: bytes, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    TARGETS[name](bytes([kind]) + content, folder)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_any_text_comes_back_from_its_spans(text: str) -> None:
    check_transcript(text)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """What ``fuzz`` gives for the slow part."""
    return fuzz(tmp_path_factory.mktemp("fuzz"), INPUTS)


def fuzz(folder: Path, inputs: int) -> dict[str, tuple[int, str]]:
    """Exit code and output of a fuzzer for each target; they run side by side."""
    pytest.importorskip("atheris", reason="has no wheel for this system")
    running = {}
    for name in TARGETS:
        runs = inputs_of(name, inputs)
        command = [sys.executable, str(TESTS / "fuzz" / "fuzz.py"), name, f"-runs={runs}", "-seed=1"]
        with (folder / f"{name}.txt").open("w") as output:
            running[name] = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    return {
        name: (process.wait(), (folder / f"{name}.txt").read_text(errors="replace"))
        for name, process in running.items()
    }


@pytest.mark.slow
@each_target
def test_thousands_of_inputs_do_no_harm(name: str, fuzzed: dict[str, tuple[int, str]]) -> None:
    check_harmless(*fuzzed[name], inputs_of(name, INPUTS))


@pytest.mark.release
def test_a_million_inputs_do_no_harm(tmp_path: Path) -> None:
    for name, (code, output) in fuzz(tmp_path, INPUTS_OF_A_RELEASE).items():
        check_harmless(code, output, inputs_of(name, INPUTS_OF_A_RELEASE))
    assert sum(inputs_of(name, INPUTS_OF_A_RELEASE) for name in TARGETS) > 10**6


def inputs_of(name: str, inputs: int) -> int:
    """How many a target gets: to write and read tables, or to export one, takes longer than anything else."""
    return inputs // {"scores": 100, "run": 10}.get(name, 1)


def check_harmless(code: int, output: str, inputs: int) -> None:
    """All inputs were read, and enough of them go all the way."""
    assert code == 0, output[-4000:]
    accepted, seen = map(int, re.findall(r"(\d+) of (\d+) inputs accepted", output)[-1])
    assert seen >= inputs
    assert accepted >= inputs // 50
