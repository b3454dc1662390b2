"""Scores that survive: a session's result is on disk, checked and final, before the one after next is computed.

Each process appends to an SQLite file of its own in ``<run folder>/store``, so that writers never wait for one
another. A result is written while the next is computed: a kill at any moment loses at most these two sessions, or the
short sessions of two passes. Results are keyed by the digest of the session's text: what is known is never computed
again. ``scores.parquet`` is written from the store at the end.

A file that the disk has changed is named and set aside whole, and what was in it is scored again; the files of the
other processes are kept. Nothing is read out of it: a kill, a full disk and a power cut leave a sound file, so that
this is for rare failures of the disk itself, where trust in the rest of the file would be misplaced. Each file knows
what its results depend on, so that a damaged ``identity.json`` costs none of them, and a file of another run's, sound
as it is, is refused.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from centaurlab.data.keys import DigestSet
from centaurlab.data.transcripts import SessionKey
from centaurlab.results.record import Coverage
from centaurlab.results.table import TEMPERATURES, ResponseScores
from centaurlab.runs.integrity import damaged, read_sealed, sealed
from centaurlab.runtime.disk import disk_errors, replace_durably
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
        ("item", "<i8"),  # of older versions; the table has those of the plan
    ]
)
_FORMAT = 5  # raised with every change of _ROW, so that rows of another layout are refused and never misread
_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PROBLEM_CHARACTERS = 200
_DIGESTS = {"fingerprint": "other weights or settings", "tokenizer_fingerprint": "another tokenizer"}
_LOCK_SECONDS = 60  # to wait while another process writes to its file on a slow disk


@dataclass(frozen=True)
class SessionResult:
    """What is kept of a scored session.

    ``seconds``: of computing; ``n_computed``: tokens not from the cache; ``n_out_of_memory``: as in ``ScoredSession``.
    """

    scores: ResponseScores
    coverage: Coverage
    n_tokens: int
    n_computed: int
    seconds: float
    n_out_of_memory: int = 0


class ResultDigests:
    """A set of digests (SHA-256, hex), of which the first bytes are kept."""

    def __init__(self) -> None:
        self._digests = DigestSet()

    def add(self, digest: str) -> None:
        """Put ``digest`` in the set."""
        self._digests.add(self._kept(digest))

    def __contains__(self, digest: str) -> bool:
        return self._kept(digest) in self._digests

    def __len__(self) -> int:
        return len(self._digests)

    @staticmethod
    def _kept(digest: str) -> bytes:
        return bytes.fromhex(digest)[: SessionKey.DIGEST_BYTES]


class _DamageError(Exception):
    """A file of results is not as it was written."""


class ScoreStore:
    """Results by text digest, read from every process's file and appended to that of this one, the ``writer``.

    ``identity`` says what the results depend on beside the text (model, protocol, context window); a folder made
    with another one is refused with a ``UserError`` that names the difference. ``known`` holds the digests of the
    results that were there when the store was opened; ``damaged`` says which files were set aside, and why.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], writer: int = 0, n_writers: int = 1) -> None:
        self._folder = folder
        self.known = ResultDigests()
        self.damaged: list[str] = []
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            identity |= {"format": _FORMAT}
            self._check_identity(identity)
            own, *others = (folder / f"process-{n}.sqlite" for n in (writer, *range(n_writers)))
            paths = sorted({own, *others, *folder.glob("process-*.sqlite")})
            self._parts = {path: self._open(path, identity) for path in paths}
            self._own = self._parts[own]
            said = json.dumps(identity, sort_keys=True)
            with self._own:
                self._own.execute("INSERT OR REPLACE INTO about VALUES (0, ?, ?)", (said, zlib.crc32(said.encode())))

    def add(self, digest: str, result: SessionResult) -> None:
        """Make a result durable; returns when it is on disk. Raises ``UserError`` when the disk is full."""
        self.add_together({digest: result})

    def add_together(self, results: Mapping[str, SessionResult]) -> None:
        """Make results that became known at once durable, all or none, with one wait for the disk; else as ``add``."""
        rows = []
        for digest, result in results.items():
            blob = _to_bytes(result.scores)
            numbers = (result.n_tokens, result.n_computed, result.seconds, result.n_out_of_memory)
            about = json.dumps([asdict(result.coverage), *numbers])
            rows.append((digest, about, blob, _checksum(digest, about, blob)))
        with disk_errors(self._folder), self._own:
            self._own.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", rows)

    def find(self, digest: str) -> SessionResult | None:
        """The result for ``digest``, by whatever process and whenever it was added; None where there is none.

        Raises ``UserError`` where the disk has changed it since.
        """
        for path, part in self._parts.items():
            try:
                row = part.execute("SELECT * FROM results WHERE digest = ?", (digest,)).fetchone()
            except sqlite3.DatabaseError as error:
                raise UserError(f"{path} cannot be read ({error}); give the same command again") from error
            if row is None:
                continue
            if not _is_intact(row):
                raise UserError(f"{path} is damaged (result {digest[:12]}); give the same command again")
            coverage, *numbers = json.loads(row[1])  # older versions wrote three
            return SessionResult(_from_bytes(row[2]), Coverage(**coverage), *numbers)
        return None

    def close(self) -> None:
        """Close all files."""
        for part in self._parts.values():
            part.close()

    def _check_identity(self, identity: dict[str, Any]) -> None:
        path = self._folder / "identity.json"
        known, is_sound = self._known_identity(path)
        if known is not None and (differing := _difference(known, identity)):
            raise UserError(f"{self._folder.parent} holds scores with {differing}; give another --output_dir")
        if not is_sound:
            temporary = path.with_suffix(f".{os.getpid()}.tmp")  # each writer's own: the last to rename wins
            temporary.write_text(json.dumps(sealed(identity), indent=2, sort_keys=True))
            replace_durably(temporary, path)

    def _known_identity(self, path: Path) -> tuple[dict[str, Any] | None, bool]:
        """What the results that are there depend on, as ``path`` says, and whether that is sound; else as they do."""
        try:
            return read_sealed(path), True
        except FileNotFoundError:
            return self._identity_of_results(), False
        except ValueError as error:
            known = self._identity_of_results()
            if known is None:
                raise damaged(path, error, "give another --output_dir") from error
            self.damaged.append(f"{path} is damaged ({error}) and written anew from what the results beside it say")
            return known, False

    def _identity_of_results(self) -> dict[str, Any] | None:
        """What a file of results says of itself; None where none does, as those of older versions."""
        for path in sorted(self._folder.glob("process-*.sqlite")):
            try:
                with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as part:
                    if known := _depends_on(part):
                        return known
            except (sqlite3.DatabaseError, _DamageError):
                continue
        return None

    def _open(self, path: Path, identity: dict[str, Any]) -> sqlite3.Connection:
        """A connection to a file whose results are sound, and ``known`` from now on; a damaged one is set aside.

        Raises ``UserError`` where its results depend on something else than ``identity``.
        """
        try:
            with closing(_connect(path)) as part:
                digests = _sound_digests(part)
                known = _depends_on(part)
            if known is not None and (differing := _difference(known, identity)):
                raise UserError(
                    f"{path} is of another run: it holds scores with {differing}; take it away, or give another "
                    "--output_dir"
                )
        except (sqlite3.DatabaseError, UnicodeDecodeError, _DamageError) as error:  # SQLite quotes what is damaged
            if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode not in _DAMAGE:
                raise
            aside, digests = path.with_suffix(".damaged"), []
            path.replace(aside)
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
            problem = " ".join(str(error).split())[:_PROBLEM_CHARACTERS]
            self.damaged.append(
                f"{path} is damaged ({problem}) and set aside as {aside.name}: its sessions are scored again"
            )
        for digest in digests:
            self.known.add(digest)
        return _connect(path)


def _difference(known: dict[str, Any], asked: dict[str, Any]) -> str:
    """The first difference between what results depend on and what they should, in words; empty where there is none."""
    names = [*asked, *known.keys() - asked.keys()]
    differing = (name for name in names if known.get(name) != asked.get(name))
    return next((_difference_in(name, known.get(name), asked.get(name)) for name in differing), "")


def _difference_in(name: str, known: object, asked: object) -> str:
    """What differs between two values of what results depend on; of mappings, which of their parts."""
    if not (isinstance(known, dict) and isinstance(asked, dict)):
        return f"{name} {known!r}, not {asked!r}"
    parts = [part for part in {**known, **asked} if known.get(part) != asked.get(part)]
    named = [f"{part} {known.get(part)!r}, not {asked.get(part)!r}" for part in parts if part not in _DIGESTS]
    return f"another {name}: {'; '.join([*named, *(_DIGESTS[part] for part in parts if part in _DIGESTS)])}"


def _connect(path: Path) -> sqlite3.Connection:
    part = sqlite3.connect(path, timeout=_LOCK_SECONDS, check_same_thread=False)  # one after another, they may differ
    part.text_factory = lambda text: text.decode("utf-8", "replace")  # of damaged text; its checksum tells
    part.execute("PRAGMA synchronous = FULL")
    part.execute(
        "CREATE TABLE IF NOT EXISTS results (digest TEXT PRIMARY KEY, about TEXT, scores BLOB, checksum INTEGER)"
    )  # rows in the order of writing: by digest, three fit a page, and an insertion moves ever more pages
    part.execute("CREATE TABLE IF NOT EXISTS about (number INTEGER PRIMARY KEY, identity TEXT, checksum INTEGER)")
    return part


def _sound_digests(part: sqlite3.Connection) -> list[str]:
    """The digests of a file's results; ``_DamageError`` where its structure or the checksum of a result is wrong."""
    (problem,) = part.execute("PRAGMA integrity_check(1)").fetchone()
    if problem != "ok":
        raise _DamageError(problem)
    digests = []
    for row in part.execute("SELECT * FROM results"):
        if not _is_intact(row):
            raise _DamageError(f"result {str(row[0])[:12]!r} fails its checksum")
        digests.append(row[0])
    return digests


def _depends_on(part: sqlite3.Connection) -> dict[str, Any] | None:
    """What the results in a file depend on; None where it does not say, as those of older versions do not."""
    row = part.execute("SELECT identity, checksum FROM about").fetchone()
    if row is None:
        return None
    said, checksum = row
    if not isinstance(said, str) or checksum != zlib.crc32(said.encode()):
        raise _DamageError("what its results depend on fails its checksum")
    known: dict[str, Any] = json.loads(said)
    return known


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
        scores.item_R,
    )
    for name, column in zip(_ROW.names or (), columns, strict=True):
        rows[name] = column
    return rows.tobytes()


def _from_bytes(blob: bytes) -> ResponseScores:
    rows = np.frombuffer(blob, _ROW)
    return ResponseScores(*(np.ascontiguousarray(rows[name]) for name in _ROW.names or ()))


def _is_intact(row: Sequence[Any]) -> bool:
    """Whether a result is as it was written; a flipped bit may have taken a column from its table, too."""
    return len(row) == 4 and isinstance(row[2], bytes) and row[3] == _checksum(*row[:3])


def _checksum(digest: str, about: str, blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(f"{digest}{about}".encode()))
