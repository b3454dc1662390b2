"""Transcripts from files: JSON lines (plain, gzip, zip), parquet, and folders of these.

Everything is read as a stream: nothing is unpacked to disk and no file is held in memory. A folder may be a
plain folder of transcripts, a hub snapshot (``data/train-00000-of-00002.parquet``) or a checkout of the
Psych-201 repository, where each folder that holds ``prompts.jsonl`` or ``prompts.jsonl.zip`` is a study.
"""

import gzip
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from centaurlab.data.records import KEY_FIELDS, PERSON_FIELD, Place, Problem, Record
from centaurlab.runs.integrity import check_file
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.unique_keys import once_each

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


LINES = (".jsonl", ".ndjson")
SUFFIXES = (*(f"{lines}{stored}" for lines in LINES for stored in ("", ".gz", ".zip")), ".zip", ".parquet")
"""In lower case; names of files may have any."""
_TABLES = (".csv", ".tsv", ".xlsx")
"""In lower case, too: what trials are exported to, a row each."""
_IN_ARCHIVES = (*LINES, *(f"{lines}.gz" for lines in LINES))
SIMULATED = "simulated.jsonl.gz"
"""What 'centaurlab simulate' calls its sessions."""
MAX_LINE_BYTES = 1 << 26
# Real transcripts compress 20- to 35-fold; a file beyond both limits below is taken for a bomb.
MAX_RATIO, RATIO_APPLIES_FROM_BYTES = 200, 1 << 26
# zipfile passes on more than its own error: of versions that it does not know, and of names that are not UTF-8.
_BAD_ZIP = (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError)
_BOMB = f"refused: it unpacks to more than {MAX_RATIO} times its size"
_LFS_POINTER = b"version https://git-lfs.github.com/spec"
_SHARD = re.compile(r"(\w+)-\d{5}-of-\d{5}")
_SPLITS = ("train", "test", "validation")


@dataclass(frozen=True)
class Listing:
    """The files of a folder that hold transcripts, in a fixed order, and notes on those that were skipped."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


@dataclass
class _Allowance:
    """Bytes that may still come out of a file; what an archive says of its members' sizes counts for nothing."""

    left: int

    @classmethod
    def of(cls, path: Path) -> "_Allowance":
        return cls(max(RATIO_APPLIES_FROM_BYTES, MAX_RATIO * path.stat().st_size))


def list_files(path: Path) -> Listing:
    """The transcript files at ``path``: itself, or all in and below a folder.

    Raises ``UserError`` where there is none: nothing there, an unknown extension, only Git-LFS pointers.
    """
    if not path.exists():
        raise UserError(f"no such file or folder: {path}")
    if path.is_file():
        if not _is_transcripts(path):
            raise UserError(
                f"{path}: unknown extension; transcripts are read from {', '.join(SUFFIXES)}{_hint([path])}"
            )
        if _is_pointer(path):
            raise UserError(f"{path} is a Git-LFS pointer, not the data; run 'git lfs pull' in that repository")
        _check_own(path)
        return Listing((path,), tuple(_passed_over(path)))
    found, pointers, others = _walk(path)
    notes = _study_folders(found, path)
    if pointers:
        notes.append(f"skipped {_count(pointers, path, 'Git-LFS pointer')}; 'git lfs pull' fetches the data")
    if others:
        notes.append(f"skipped {_count(others, path, 'file')} without transcripts")
    notes += [note for archive in found for note in _passed_over(archive)]
    if not found and pointers:
        raise UserError(f"{path} holds only Git-LFS pointers; run 'git lfs pull' in that repository")
    if not found:
        raise UserError(f"{path} holds no transcripts; they are read from {', '.join(SUFFIXES)}{_hint(others)}")
    for file in found:
        _check_own(file)
    return Listing(tuple(found), tuple(notes))


def splits(paths: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """The files of each split, by names as ``train-00000-of-00002.parquet``, ``test.jsonl``, ``test/…``."""
    by_split: dict[str, list[Path]] = {}
    for path in paths:
        parts = path.relative_to(root).parts
        shard = _SHARD.match(parts[-1])
        named = [shard.group(1)] if shard else [name for name in (*parts[:-1], stem(parts[-1])) if name in _SPLITS]
        if named:
            by_split.setdefault(named[-1], []).append(path)
    return by_split


def read_files(
    paths: Sequence[Path], root: Path | None = None, *, keys_only: bool = False
) -> Iterator[Record | Problem]:
    """Every session of ``paths`` in order; what cannot be read is a ``Problem`` naming file and line.

    ``root``: the data as they were given. Where that is a file, its folder's name says no study of ``prompts.jsonl``.
    """
    for path in paths:
        places = (replace(_place(path.absolute()), is_in_data=path != root),)
        try:
            stored = path.suffix.lower()
            if stored == ".parquet":
                yield from _read_parquet(path, places, keys_only)
            elif stored == ".zip":
                yield from _read_zip(path, places)
            else:
                with gzip.open(path) if stored == ".gz" else path.open("rb") as stream:
                    yield from _read_lines(stream.readline, str(path), places, _Allowance.of(path))
        except OSError as error:
            yield Problem(str(path), f"cannot be read: {_one_line(error.strerror or error)}", places)


def _check_own(path: Path) -> None:
    """Raise ``UserError`` where sessions that were simulated here are not those of the run in whose folder they lie."""
    if path.name == SIMULATED:
        check_file(path)


def stem(name: str) -> str:
    """A file's name without the ending that says how it is stored: ``a.b.jsonl.gz`` is ``a.b``."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _hint(paths: Sequence[Path]) -> str:
    """What is done with tables of trials, where that is what was given."""
    tables = [path for path in paths if path.suffix.lower() in _TABLES]
    return f"; 'centaurlab data convert' tells sessions from a table as {tables[0].name} is one" if tables else ""


def _walk(root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Transcript files, Git-LFS pointers and other files below ``root``, each sorted."""
    found: list[Path] = []
    pointers: list[Path] = []
    others: list[Path] = []
    studies: set[str] = set()
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        readable = [path for path in files if path.is_file() or not path.exists()]  # no pipes and devices
        transcripts = [path for path in readable if _is_transcripts(path) and not _is_other_archive(path)]
        # Beside prompts and below them, everything else is raw data; `prompts.jsonl` sorts before its own archive.
        prompts = [path for path in transcripts if stem(path.name) == "prompts"]
        if prompts:
            studies.add(folder)
            transcripts = prompts
        elif not studies.isdisjoint(map(str, Path(folder).parents)):
            continue
        ready = [path for path in transcripts if not _is_pointer(path)]
        missing = [path for path in transcripts if path not in ready]
        if prompts and ready:
            ready, missing = ready[:1], []
        found += ready
        pointers += missing
        others += [path for path in files if path not in ready and path not in missing]
    return found, pointers, others


def _study_folders(found: Sequence[Path], root: Path) -> list[str]:
    """Notes on folders of prompts that lie within another's, and on those that share a name, hence a study."""
    folders = [path.parent for path in found if stem(path.name) == "prompts"]
    within = [folder for folder in folders if not set(folders).isdisjoint(folder.parents)]
    notes = [
        f"{folder.relative_to(root)} lies within the folder of another study; it is read as the study {folder.name!r}, "
        "where its sessions name none"
        for folder in within
    ]
    by_name: dict[str, list[str]] = {}
    for folder in folders:
        by_name.setdefault(folder.name, []).append(str(folder.relative_to(root)))
    for name, same in by_name.items():
        if len(same) > 1:
            notes.append(
                f"{', '.join(same)} are one study, {name!r}, by their folders' name; give their sessions a `study` to "
                "keep them apart"
            )
    return notes


def _is_transcripts(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _is_other_archive(path: Path) -> bool:
    """Whether a zip archive in a folder holds something else than transcripts."""
    if path.suffix.lower() != ".zip" or _is_pointer(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return all(_is_clutter(info) for info in archive.infolist())
    except (OSError, *_BAD_ZIP):
        return False


def _passed_over(path: Path) -> list[str]:
    """A note on the files of a zip archive that are not read."""
    if path.suffix.lower() != ".zip" or _is_pointer(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            others = [
                Path(info.filename)
                for info in archive.infolist()
                if _is_clutter(info) and not info.filename.endswith("/") and "__MACOSX" not in info.filename
            ]
    except (OSError, *_BAD_ZIP):
        return []
    return [f"{path.name}: skipped {_count(others, Path(), 'file')} without transcripts"] if others else []


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return False


def _count(paths: Sequence[Path], root: Path, noun: str, shown: int = 5) -> str:
    names = [str(path.relative_to(root)) for path in paths[:shown]]
    more = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    return f"{len(paths)} {noun}{'s' if len(paths) > 1 else ''} ({', '.join(names)}{more})"


def _place(path: Path | PurePosixPath) -> Place:
    return Place(path.parent.name, stem(path.name))


def _read_zip(path: Path, places: tuple[Place, ...]) -> Iterator[Record | Problem]:
    try:
        archive = zipfile.ZipFile(path)
    except _BAD_ZIP as error:
        yield Problem(str(path), f"is not a readable zip archive ({error})", places)
        return
    allowance = _Allowance.of(path)
    with archive:
        members = [info for info in archive.infolist() if not _is_clutter(info)]
        if not members:
            yield Problem(str(path), f"holds no {' or '.join(LINES)} file", places)
        for info in members:
            name, origin = info.filename, f"{path}/{info.filename}"
            if _leaves_archive(name):
                yield Problem(str(path), f"refused: member {name!r} has an absolute or parent path", places)
                continue
            if not name.lower().endswith(_IN_ARCHIVES):
                yield Problem(origin, "is an archive of its own; unpack it first", places)
                continue
            if info.flag_bits & 0x1:
                yield Problem(origin, "is encrypted; store it without a password", places)
                continue
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                yield Problem(origin, "is compressed in a way that is not read here; use deflate", places)
                continue
            inside = (_place(PurePosixPath(name)), *places)
            try:
                with archive.open(info) as stream:
                    lines = gzip.GzipFile(fileobj=stream) if name.lower().endswith(".gz") else stream
                    yield from _read_lines(lines.readline, origin, inside, allowance)
            except _BAD_ZIP as error:
                yield Problem(origin, f"cannot be unpacked ({error})", inside)
            if allowance.left < 0:
                return


def _is_clutter(info: zipfile.ZipInfo) -> bool:
    """Folders, the copies that macOS adds, and everything that no transcripts are in."""
    name = PurePosixPath(info.filename).name
    return info.filename.endswith("/") or name.startswith("._") or not name.lower().endswith(SUFFIXES)


def _leaves_archive(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) is not None


def _read_lines(
    readline: Callable[[int], bytes], origin: str, places: tuple[Place, ...], allowance: _Allowance
) -> Iterator[Record | Problem]:
    """Records of a stream of JSON lines, until they are more than their file's ``allowance``."""
    empty = True
    for number in count(1):
        here = f"{origin}:{number}"
        try:
            line = readline(MAX_LINE_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
            yield Problem(here, f"the compressed data are damaged ({error})", places)
            return
        if not line:
            break
        allowance.left -= len(line)
        if allowance.left < 0:
            yield Problem(origin, _BOMB, places)
            return
        if len(line) >= MAX_LINE_BYTES:
            yield Problem(here, f"refused: the line is longer than {MAX_LINE_BYTES >> 20} MiB", places)
            return
        if line.strip():
            empty = False
            yield _parse(line, here, places)
    if empty:
        yield Problem(origin, "the file is empty", places)


def _parse(line: bytes, origin: str, places: tuple[Place, ...]) -> Record | Problem:
    try:
        fields = json.loads(line.decode("utf-8-sig").rstrip("\r\n"), object_pairs_hook=once_each)
    except UnicodeDecodeError as error:
        is_gzip = line.startswith(b"\x1f\x8b")
        remedy = "it is compressed; name it .jsonl.gz" if is_gzip else "save the file as UTF-8"
        return Problem(origin, f"not UTF-8 (byte {error.start + 1} of the line); {remedy}", places)
    except json.JSONDecodeError as error:
        if b"\0" in line:
            return Problem(origin, "not UTF-8 (it holds NUL bytes, as UTF-16 does); save the file as UTF-8", places)
        is_array = line.strip() == b"["
        said = "an array over several lines" if is_array else f"{error.msg}, column {error.colno}"
        return Problem(origin, f"invalid JSON ({said}); each line is one session, an object", places)
    except (RecursionError, ValueError) as error:
        return Problem(origin, f"invalid JSON ({error})", places)
    if isinstance(fields, dict):
        return Record(fields, origin, places)
    return Problem(origin, 'not a JSON object; a line is {"text": …, "experiment": …, "participant": …}', places)


def _read_parquet(path: Path, places: tuple[Place, ...], keys_only: bool) -> Iterator[Record | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as table:
            if _unpacked_bytes(table.metadata) > _Allowance.of(path).left:
                yield Problem(str(path), _BOMB, places)
                return
            if table.metadata.num_rows == 0:
                yield Problem(str(path), "the file is empty", places)
            names, once = table.schema_arrow.names, ("text", *KEY_FIELDS, "participant_id", PERSON_FIELD)
            if twice := [name for name in once if names.count(name) > 1]:
                yield Problem(str(path), f"has {names.count(twice[0])} columns `{twice[0]}`; leave one", places)
                return
            columns = [f.name for f in table.schema_arrow if _is_short(f)] if keys_only else None
            row = count(1)
            for batch in table.iter_batches(batch_size=64, columns=columns):
                for fields in _rows(batch):
                    origin = f"{path}: row {next(row)}"
                    if isinstance(fields, Exception):
                        yield Problem(origin, f"a value cannot be read ({_one_line(fields)})", places)
                    else:
                        yield Record(fields, origin, places)
    except pa.ArrowException as error:
        yield Problem(str(path), f"is not a readable parquet file ({_one_line(error)})", places)


def _is_short(column: "pa.Field") -> bool:
    """Whether a column can say who took part: no text of a session, and no list."""
    import pyarrow as pa

    return column.name != "text" and not pa.types.is_nested(column.type)


def _rows(batch: "pa.RecordBatch") -> Iterator[dict[str, object] | Exception]:
    """The rows as dictionaries; of one that holds no UTF-8, or a date beyond Python's, what is wrong with it."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield error
        else:
            yield from (row for i in range(batch.num_rows) for row in _rows(batch.slice(i, 1)))


def _unpacked_bytes(metadata: "pq.FileMetaData") -> int:
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    return sum(group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns))


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
