"""``centaurlab view``: sessions of a scored run as a page, with the text read again from the data that were scored."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from centaurlab.catalog.studies import load_studies
from centaurlab.data.options import cut_at_responses, session_options
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import SessionKey, Transcript, study_fingerprint, text_digest, told
from centaurlab.display.view import INLINE_CHARACTERS, Measures, ViewedSession, chunks_of, view_page
from centaurlab.jobs.command import Command
from centaurlab.results.run import ScoreRun, check_options, check_same, read_run
from centaurlab.results.table import ENTROPY, N_TOKENS, NLL, OPTION_NLL, RESPONSE, SESSION
from centaurlab.runs.folder import read_config
from centaurlab.runs.integrity import check_asked
from centaurlab.runtime.disk import write_together
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say

DESCRIPTION = """Look at scored sessions: the text, with every response coloured by its NLL, as a page on this machine.

examples:
  centaurlab view runs/post --base runs/base
  centaurlab view runs/base --output base.html --max_sessions 50

The page loads nothing from elsewhere. Large data lie in a folder beside it, which has to stay there.
"""

_MEASURES = (NLL, N_TOKENS, ENTROPY, OPTION_NLL)
_WORST_PER_STUDY, _WORST = 50, 2000


@dataclass
class ViewArguments:
    """What is looked at."""

    run: str = field(metadata={"positional": True, "metavar": "RUN", "help": "a folder of scores"})
    base: str | None = field(default=None, metadata={"help": "scores of a base model on the same sessions"})
    output: str | None = field(default=None, metadata={"help": "the page (default: view.html in RUN)"})
    max_sessions: int | None = field(
        default=None, metadata={"help": "at most so many, evenly from the studies (default: all)"}
    )
    data: str | None = field(default=None, metadata={"help": "where the scored data are now, if they moved"})


def run(asked: ViewArguments) -> None:
    """Write the page."""
    runs = [read_run(Path(folder)) for folder in (asked.base, asked.run) if folder]
    path = Path(asked.output) if asked.output else Path(asked.run) / "view.html"
    if path.suffix != ".html":
        raise UserError(f"--output {path}: the page is a file that ends in .html")
    sessions, note = viewed(runs, asked.max_sessions, asked.data)
    written = write_view(path, model_names(runs), sessions, note)
    say(f"view: {path}" + (f", with its data in {written}" if written else ""))


def model_names(runs: Sequence[ScoreRun]) -> list[str]:
    """The models' names; of a folder's path the last part, where these are different."""
    names = [one.model for one in runs]
    short = [Path(name).name if Path(name).is_absolute() else name for name in names]
    return short if len(set(short)) == len(short) else names


def viewed(
    runs: Sequence[ScoreRun], max_sessions: int | None = None, data: str | None = None
) -> tuple[list[ViewedSession], str]:
    """The scored sessions of ``runs`` (the base first, where there are two), and a sentence that says which they are.

    Raises ``UserError`` where the runs were not scored on the same sessions, and where the data have changed.
    """
    if max_sessions is not None and max_sessions < 1:
        raise UserError(f"--max_sessions is {max_sessions}; it must be at least 1")
    check_same(runs)
    check_options(runs)
    tables = [_by_session(run.table(_MEASURES)) for run in runs]
    shared = [key for key in tables[-1] if all(key in table for table in tables)]
    chosen = set(_evenly(shared, max_sessions))
    found: list[ViewedSession] = []
    for transcript, options in _transcripts(runs[-1], data, chosen, tables[-1]):
        segments, responses = cut_at_responses(transcript.text)
        models = tuple(_measures(table[transcript.key], len(responses), transcript.key) for table in tables)
        key = transcript.key
        found.append(
            ViewedSession(
                key.study, key.experiment, key.participant, tuple(segments), tuple(responses), models, options
            )
        )
    n_studies = len({key.study for key in shared})
    of = f"{len(found):,} of {len(shared):,} scored" if len(found) < len(shared) else f"{len(found):,}"
    about = runs[-1].record
    note = (
        f"{of} sessions of {n_studies:,} "
        f"{'studies' if n_studies > 1 else 'study'} ({about.data.name}, protocol {about.protocol.name})"
        + ("; scored within a context, which is not shown" if about.context else "")
    )
    return found, note


def write_view(path: Path, models: Sequence[str], sessions: Sequence[ViewedSession], note: str) -> Path | None:
    """Write the page to ``path``; where the data are too large for it, into a folder beside it, which is returned."""
    chunks = chunks_of(sessions)
    is_inline = sum(len(chunk.content) for chunk, _ in chunks) <= INLINE_CHARACTERS
    folder = None if is_inline else path.with_name(f"{path.stem}-data")
    page = view_page(models, sessions, chunks, worst_responses(sessions), note, folder.name if folder else None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files: Iterator[tuple[Path, bytes]] = iter(())
        if folder:
            folder.mkdir(exist_ok=True)
            files = ((folder / f"{chunk.name}.js", chunk.script.encode("ascii")) for chunk, _ in chunks)
        write_together(chain(files, [(path, page.encode("utf-8", errors="replace"))]))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; give another --output") from error
    return folder


def worst_responses(sessions: Sequence[ViewedSession]) -> list[tuple[int, int]]:
    """Session and response, those first that rose most over the base or, without one, whose NLL is highest.

    At most 50 of a study, so that every study has some, and 2,000 in all.
    """
    rises: list[tuple[float, int, int]] = []
    for number, session in enumerate(sessions):
        for response in range(len(session.responses)):
            nlls = [measures[NLL][response] for measures in session.models]
            known = [nll for nll in nlls if nll is not None]
            if len(known) == len(nlls):
                rises.append((known[-1] - (known[0] if len(known) > 1 else 0.0), number, response))
    rises.sort(key=lambda rise: -rise[0])
    kept: dict[str, int] = defaultdict(int)
    worst: list[tuple[int, int]] = []
    for _, number, response in rises:
        study = sessions[number].study
        if kept[study] < _WORST_PER_STUDY and len(worst) < _WORST:
            kept[study] += 1
            worst.append((number, response))
    return worst


def _by_session(table: pa.Table) -> dict[SessionKey, dict[str, list[Any]]]:
    """The rows of each session by measure, in the table's order."""
    keys = list(zip(*(table.column(name).to_pylist() for name in SESSION), strict=True))
    columns = {name: table.column(name).to_pylist() for name in (RESPONSE, *_MEASURES)}
    starts = [0, *(i for i in range(1, len(keys)) if keys[i] != keys[i - 1])] if keys else []
    found: dict[SessionKey, dict[str, list[Any]]] = {}
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        rows = found.setdefault(SessionKey(*keys[start]), {name: [] for name in columns})
        for name, values in columns.items():
            rows[name] += values[start:end]
    return found


def _measures(rows: dict[str, list[Any]], n_responses: int, key: SessionKey) -> Measures:
    numbers = rows[RESPONSE]
    if numbers and max(numbers) >= n_responses:
        raise UserError(f"the scores have response {max(numbers) + 1} of {key}, its text has {n_responses}")
    found: dict[str, list[float | None]] = {}
    for name in _MEASURES:
        values: list[float | None] = [None] * n_responses
        for number, value in zip(numbers, rows[name], strict=True):
            values[number] = None if value is None or not np.isfinite(value) else value
        if any(value is not None for value in values):
            found[name] = values
    return found


def _evenly(keys: Sequence[SessionKey], wanted: int | None) -> list[SessionKey]:
    """At most so many, one of each study in turn."""
    if wanted is None or wanted >= len(keys):
        return list(keys)
    by_study: dict[str, list[SessionKey]] = {}
    for key in keys:
        by_study.setdefault(key.study, []).append(key)
    longest = max(map(len, by_study.values()))
    turns = ((one[i] for one in by_study.values() if i < len(one)) for i in range(longest))
    return list(chain.from_iterable(turns))[:wanted]


def _transcripts(
    run: ScoreRun, data: str | None, chosen: set[SessionKey], scored: Collection[SessionKey]
) -> Iterator[tuple[Transcript, tuple[tuple[str, ...] | None, ...]]]:
    """The chosen sessions as they were scored, with what could have been answered; the data are held to the record."""
    check_asked(run.folder)
    config = read_config(run.folder)
    known = {one.name: config[one.name] for one in fields(DataArguments) if one.name in config}
    if "data" not in known:
        raise UserError(f"{run.folder} does not say which data it scored; its texts cannot be read again")
    arguments = replace(DataArguments(**known), on_malformed="skip")
    if data is not None:
        arguments = replace(arguments, data=data)
    own_studies = load_studies(Path(arguments.study_module)) if arguments.study_module else {}
    prints: dict[str, list[bytes]] = defaultdict(list)
    kept: list[Transcript] = []
    # A run in a context read a part of the sessions, which are those of its table if all of them were scored.
    is_part = run.record.context is not None
    is_known = not is_part or (run.record.sample is None and not run.n_failed)
    for transcript in open_source(arguments):
        if is_part and transcript.key not in scored:
            continue
        prints[transcript.study].append(told(transcript.key, text_digest(transcript.text)))
        if transcript.key in chosen:
            kept.append(transcript)
    for study, about in run.record.data.studies.items():
        if is_known and study_fingerprint(sorted(prints[study])) != about.fingerprint:
            raise UserError(
                f"the sessions of {study} in {arguments.data} are not those that {run.folder} scored; say where these "
                "are with --data, or score again"
            )
    if missing := chosen - {transcript.key for transcript in kept}:
        raise UserError(f"{arguments.data} has no {min(map(str, missing))}, which {run.folder} scored; say --data")
    for transcript in kept:
        options = session_options(transcript, {}, own_studies)
        has_options = options.rule == "module"
        yield transcript, tuple(options.of(i) if has_options else None for i in range(len(options.set_R)))


COMMAND = Command(DESCRIPTION, (ViewArguments,), run)
