"""Simulated sessions that survive a kill: a line each, written as soon as the session has ended.

Each line says what it depends on, so that one of another simulation is refused, and a damaged ``identity.json`` costs
none.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from centaurlab.runs.integrity import damaged, read_sealed, sealed
from centaurlab.runtime.disk import disk_errors, replace_durably
from centaurlab.runtime.errors import UserError
from centaurlab.simulation.answers import Answer
from centaurlab.simulation.player import Simulated

_OF = "of"
"""Where a line says what it depends on beside what its digest is of."""


class SimulationStore:
    """Simulated sessions by the digest of what they depend on; each process appends to its own file, and reads all.

    ``identity`` says what all of them depend on (model, seed, temperature, window); a folder that was made with another
    one is refused with a ``UserError`` that names the difference, and so is a file from such a folder. A line that a
    kill has torn, or that a disk has changed, is passed over: its session is simulated again, with the same answers.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], writer: int = 0) -> None:
        self._folder = folder
        self._own = folder / f"process-{writer}.jsonl"
        self._of = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._check_identity(json.loads(json.dumps(identity)))

    def read(self) -> dict[str, Simulated]:
        """All that any process has written, by digest; ``UserError`` where a line is of another simulation."""
        found: dict[str, Simulated] = {}
        for path, about in self._lines():
            if about.pop(_OF, self._of) != self._of:
                raise UserError(
                    f"{path} is of another simulation (its model, seed or settings differ); take it away, or give "
                    "another --output_dir"
                )
            try:
                answers = tuple(Answer(**answer) for answer in about.pop("answers"))
                digest = about.pop("digest")
                found[digest] = Simulated(answers=answers, **about)
            except (KeyError, TypeError) as error:
                reason = f"a line of it is no simulated session: {error}"
                raise damaged(path, reason, "give another --output_dir") from error
        return found

    def add(self, digest: str, session: Simulated) -> None:
        """Make a session durable; returns when it is on disk. Raises ``UserError`` when the disk is full."""
        content = json.dumps({"digest": digest, _OF: self._of} | asdict(session)).encode()
        with disk_errors(self._folder), self._own.open("ab") as file:
            torn = file.tell() > 0 and not _ends_with_newline(self._own)
            file.write(b"\n" * torn + f"{zlib.crc32(content)} ".encode() + content + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The whole lines of all files."""
        with disk_errors(self._folder):
            for path in sorted(self._folder.glob("process-*.jsonl")):
                with path.open("rb") as file:
                    for line in file:
                        try:
                            checksum, _, content = line.rstrip(b"\n").partition(b" ")
                            if int(checksum) == zlib.crc32(content) and isinstance(about := json.loads(content), dict):
                                yield path, about
                        except (ValueError, RecursionError):
                            continue

    def _check_identity(self, identity: Mapping[str, Any]) -> None:
        path = self._folder / "identity.json"
        try:
            known = read_sealed(path)
        except FileNotFoundError:
            known = None
        except ValueError as error:
            if not all(_OF in about for _, about in self._lines()):
                raise damaged(path, error, "give another --output_dir") from error
            known = None
        if known is None:
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(sealed(identity), indent=2, sort_keys=True))
            replace_durably(temporary, path)
            return
        for name in {**known, **identity}:
            before, now = known.get(name), identity.get(name)
            if before != now:
                unknown = f"{before!r}" if name in known else "none, or by a version that did not note it"
                raise UserError(
                    f"{self._folder.parent} holds sessions simulated with {name} {unknown}, not {now!r}; give another "
                    "--output_dir"
                )


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
