"""Scores that survive: a session's result is on disk, checked and final, as soon as it is computed.

Each process appends to an SQLite file of its own in ``<run folder>/store``, so that writers never wait for one
another and a kill at any moment loses at most the session in flight. Results are keyed by the digest of the
session's text: what is known is never computed again. ``scores.parquet`` is written from the store at the end.
"""

import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from centaurlab.prompts.encoding import Coverage
from centaurlab.results.table import TEMPERATURES, ResponseScores, _disk_errors, _replace_durably
from centaurlab.runtime.disk_index import DiskIndex
from centaurlab.runtime.errors import UserError

_ROW = np.dtype(
    [
        ("response", "<i4"),
        ("n_tokens", "<i4"),
        ("nll", "<f4"),
        ("greedy_correct", "i1"),
        ("entropy", "<f4"),
        ("nll_t", "<f4", (len(TEMPERATURES),)),
        ("n_options", "<i4"),
        ("option_nll", "<f4"),
        ("option_nll_t", "<f4", (len(TEMPERATURES),)),
    ]
)
_FORMAT = 3  # raised with every change of _ROW, so that rows of another layout are refused and never misread
_INSERT = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)"
_SELECT_DIGESTS = "SELECT digest FROM results"
_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PREFIXES = [f"{number:03x}" for number in range(16**3)]
"""Of digests: a damaged file is read in so many pieces, each on its own, to lose little beside the damage."""
_PROBLEM_CHARACTERS = 200


@dataclass(frozen=True)
class SessionResult:
    """What is kept of a scored session. ``seconds``: of computing; ``n_computed``: tokens not from the cache."""

    scores: ResponseScores
    coverage: Coverage
    n_tokens: int
    n_computed: int
    seconds: float


_LOCK_SECONDS = 60  # to wait while another process writes to its file on a slow disk


class ScoreStore:
    """Results by text digest, read from every process's file and appended to this one's.

    ``identity`` says what the results depend on beside the text (model, protocol, context window); a folder made
    with another one is refused with a ``UserError`` that names the difference.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], writer: int = 0) -> None:
        self._folder = folder
        self.damaged: list[str] = []
        with _disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._check_identity(identity | {"format": _FORMAT})
            own = folder / f"process-{writer}.sqlite"
            self._parts = {path: self._open(path) for path in sorted({own, *folder.glob("process-*.sqlite")})}
            self._own = self._parts[own]
            self._part_of = DiskIndex()
            for number, part in enumerate(self._parts.values()):
                for (digest,) in part.execute(_SELECT_DIGESTS):
                    self._part_of.add(digest.encode(), number)

    def __contains__(self, digest: str) -> bool:
        return digest.encode() in self._part_of

    def add(self, digest: str, result: SessionResult) -> None:
        """Make a result durable; returns when it is on disk. Raises ``UserError`` when the disk is full."""
        blob = _to_bytes(result.scores)
        about = json.dumps([asdict(result.coverage), result.n_tokens, result.n_computed, result.seconds])
        with _disk_errors(self._folder), self._own:
            self._own.execute(_INSERT, (digest, about, blob, _checksum(digest, about, blob)))

    def get(self, digest: str) -> SessionResult:
        """The result stored for ``digest`` when the store was opened; ``KeyError`` when there is none."""
        number = self._part_of.number(digest.encode())
        if number is None:
            raise KeyError(digest)
        part = list(self._parts.values())[number]
        about, blob = part.execute("SELECT about, scores FROM results WHERE digest = ?", (digest,)).fetchone()
        coverage, n_tokens, n_computed, seconds = json.loads(about)
        return SessionResult(_from_bytes(blob), Coverage(**coverage), n_tokens, n_computed, seconds)

    def close(self) -> None:
        """Close all files."""
        for part in self._parts.values():
            part.close()

    def _check_identity(self, identity: dict[str, Any]) -> None:
        path = self._folder / "identity.json"
        if path.exists():
            try:
                known = json.loads(path.read_text())
            except ValueError as error:
                raise UserError(f"{path} is damaged ({error}); give another --output_dir") from error
            for name in [*identity, *known.keys() - identity.keys()]:
                if known.get(name) != identity.get(name):
                    raise UserError(
                        f"{self._folder.parent} holds scores with {name} {known.get(name)!r}, not "
                        f"{identity.get(name)!r}; give another --output_dir"
                    )
        else:
            temporary = path.with_suffix(f".{os.getpid()}.tmp")  # each writer's own: the last to rename wins
            temporary.write_text(json.dumps(identity, indent=2, sort_keys=True))
            _replace_durably(temporary, path)

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            with closing(_connect(path)) as part:
                problem = _problem(part)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in _DAMAGE:
                raise
            problem = str(error)
        if problem:
            self._rebuild(path, problem)
        return _connect(path)

    def _rebuild(self, path: Path, problem: str) -> None:
        """Put another file with the intact results of a damaged one in its place, which a kill leaves as it was."""
        aside, rebuilt = path.with_suffix(".damaged"), path.with_suffix(".rebuilt")
        shutil.copyfile(path, aside)
        rebuilt.unlink(missing_ok=True)
        with closing(sqlite3.connect(aside)) as old, closing(_connect(rebuilt)) as new, new:
            old.text_factory = new.text_factory
            old.execute("PRAGMA writable_schema = ON")  # or SQLite reads nothing of a file that has lost its end
            for prefix in _PREFIXES:
                new.executemany(_INSERT, _intact_rows(old, prefix))
            (n_kept,) = new.execute("SELECT count(*) FROM results").fetchone()
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        rebuilt.replace(path)
        self.damaged.append(
            f"{path} is damaged ({problem}) and kept as {aside.name}: {n_kept:,} of its results are intact, what is "
            "lost is scored again"
        )


def _intact_rows(part: sqlite3.Connection, prefix: str) -> Iterator[tuple[str, str, bytes, int]]:
    """The results with a right checksum among the digests that begin so, up to where the file cannot be read."""
    with suppress(sqlite3.DatabaseError):
        rows = part.execute("SELECT * FROM results WHERE digest BETWEEN ? AND ?", (prefix, f"{prefix}~"))
        yield from (row for row in rows if _is_intact(*row))


def _connect(path: Path) -> sqlite3.Connection:
    part = sqlite3.connect(path, timeout=_LOCK_SECONDS)
    part.text_factory = lambda text: text.decode("utf-8", "replace")  # of damaged text; its checksum tells
    part.execute("PRAGMA synchronous = FULL")
    part.execute(
        "CREATE TABLE IF NOT EXISTS results "
        "(digest TEXT PRIMARY KEY, about TEXT, scores BLOB, checksum INTEGER) WITHOUT ROWID"
    )
    return part


def _problem(part: sqlite3.Connection) -> str | None:
    """What is wrong with a file, in words: its structure, or results that fail their checksum."""
    (problem,) = part.execute("PRAGMA integrity_check").fetchone()
    if problem != "ok":
        return " ".join(problem.split())[:_PROBLEM_CHARACTERS]
    bad = [str(row[0])[:12] for row in part.execute("SELECT * FROM results") if not _is_intact(*row)]
    if bad:
        return f"result {bad[0]!r}{f' and {len(bad) - 1} more fail' if len(bad) > 1 else ' fails'} the checksum"
    return None


def _to_bytes(scores: ResponseScores) -> bytes:
    rows = np.empty(len(scores.response_R), _ROW)
    columns = (
        scores.response_R,
        scores.n_tokens_R,
        scores.nll_R,
        scores.greedy_correct_R,
        scores.entropy_R,
        scores.nll_RK,
        scores.n_options_R,
        scores.option_nll_R,
        scores.option_nll_RK,
    )
    for name, column in zip(_ROW.names or (), columns, strict=True):
        rows[name] = column
    return rows.tobytes()


def _from_bytes(blob: bytes) -> ResponseScores:
    rows = np.frombuffer(blob, _ROW)
    return ResponseScores(*(np.ascontiguousarray(rows[name]) for name in _ROW.names or ()))


def _is_intact(digest: str, about: str, blob: bytes, checksum: int) -> bool:
    return isinstance(blob, bytes) and checksum == _checksum(digest, about, blob)


def _checksum(digest: str, about: str, blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(f"{digest}{about}".encode()))
