"""Where transcripts come from: one re-iterable stream of validated sessions, whatever the source.

``open_source`` turns ``DataArguments`` into a ``TranscriptSource``. Which sessions it yields is decided in a
first pass over the keys alone; the texts are then read as a stream, in the source's own order, and never held
in memory.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from centaurlab.catalog.tables import domains, domains_of
from centaurlab.data import files, hub
from centaurlab.data.keys import SessionNumbers, digests_of
from centaurlab.data.persons import Persons, find_persons
from centaurlab.data.records import (
    Examined,
    Place,
    Problem,
    Reader,
    Record,
    examine,
    names_no_study,
    placed_study,
    session_key,
)
from centaurlab.data.splits import check_studies, select_people
from centaurlab.data.transcripts import SessionKey, Transcript, in_angles
from centaurlab.runtime.errors import UserError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass
class DataArguments:
    """Which sessions to read, and what to do with malformed ones."""

    _argument_group_name = "data"

    data: str = field(
        default="starter",
        metadata={
            "help": "'starter', 'starter-feedback', a hub data set id, a file, a folder, or a checkout of Psych-201"
        },
    )
    data_split: str | None = field(
        default=None, metadata={"help": "split of a data set; needed only where there are several"}
    )
    data_revision: str | None = field(
        default=None, metadata={"help": "commit, tag or branch of a hub data set (default: its newest)"}
    )
    studies: str | None = field(default=None, metadata={"help": "only these studies, comma separated"})
    domains: str | None = field(
        default=None,
        metadata={"help": "only studies of these domains, comma separated, e.g. 'Memory,Risky Choice'"},
    )
    participants: str = field(
        default="all",
        metadata={"help": "all, test (the held-out people of each study) or train (the others)"},
    )
    max_participants: int | None = field(
        default=None,
        metadata={"help": "at most so many people per study, with all their sessions; fewer are always a part of more"},
    )
    on_malformed: str = field(
        default="error",
        metadata={"help": "error: stop at the first malformed session; skip: leave it out and say so"},
    )
    markers: str = field(
        default="angles",
        metadata={"help": "angles: responses stand in << >>; human_response: in [HUMAN_RESPONSE] [/HUMAN_RESPONSE]"},
    )
    data_seed: int = field(default=0, metadata={"help": "seed of the order of people"})
    study_module: str | None = field(
        default=None,
        metadata={"help": "a Python file of your own with STUDIES, which says what could be answered (it is run)"},
    )


@dataclass(frozen=True)
class _Selection:
    """``None`` selects everything."""

    studies: frozenset[str] | None = None
    is_wanted: Callable[[SessionKey], bool] | None = None

    def takes(self, key: SessionKey) -> bool:
        in_study = self.studies is None or key.study in self.studies
        return in_study and (self.is_wanted is None or self.is_wanted(key))


class TranscriptSource:
    """Validated transcripts, the same ones in the same order each time it is iterated.

    ``name`` is what the user called the data; ``notes`` says which files were passed over. ``persons``: who the people
    are, by all sessions of the data, selected or not; None: to be found when they are asked for. ``half``: of its own
    split, if it is only one of them.
    """

    def __init__(
        self,
        name: str,
        read: Reader,
        selection: _Selection,
        *,
        on_malformed: str,
        notes: tuple[str, ...] = (),
        persons: Persons | None = None,
        half: str | None = None,
    ):
        self.name = name
        self.half = half
        self.notes = notes
        self._persons = persons
        self._read = read
        self._selection = selection
        self._on_malformed = on_malformed

    def __iter__(self) -> Iterator[Transcript]:
        """The selected transcripts; errors are those of ``read``."""
        return (session for session in self.read() if isinstance(session, Transcript))

    def read(self) -> Iterator[Transcript | Problem]:
        """Read the source once, as a stream.

        Yields
        ------
        Transcript or Problem
            The selected transcripts in the source's own order and, with ``on_malformed=skip``, in the place of each
            that is left out what is wrong with it.

        Raises
        ------
        UserError
            At a malformed session, unless such are skipped, and where no session is left.
        """
        empty, first_problem = True, ""
        for examined in self.examine():
            if examined.problem and self._on_malformed == "error":
                left_out = "responses out, and keep their sessions," if examined.transcript else "sessions out"
                raise UserError(f"{examined.problem}; correct it, or leave such {left_out} with --on_malformed skip")
            if examined.transcript:
                empty = False
                yield examined.transcript
            elif examined.problem:
                first_problem = first_problem or f"; {examined.problem}"
                yield examined.problem
        if empty:
            raise UserError(f"{self.name}: no session is left{first_problem}")

    @cached_property
    def persons(self) -> Persons:
        """Who the people are, by all sessions of the data, selected or not."""
        return self._persons or find_persons(self.everybody())

    def everybody(self) -> Iterator[tuple[SessionKey, Mapping[str, object]]]:
        """The key and metadata of all sessions of the data that have a key, selected or not, sound or not.

        So that who a person is, and who is ranked first, depends on no selection.
        """
        return _everybody(self._read)

    def ranked_keys(self) -> Iterator[SessionKey]:
        """The keys of all selected sessions that have one, sound or not: all count where people are ranked."""
        return (key for key, _ in self.everybody() if self._selection.takes(key))

    def examine(self) -> Iterator[Examined]:
        """Every selected session, sound or not, with its problem; nothing is raised."""
        return examine(record for record in self._read() if self._is_selected(record))

    def _is_selected(self, record: Record | Problem) -> bool:
        if self._selection.studies is None:
            return True
        key = _key(record)
        if isinstance(key, Problem):
            return placed_study(record.places) in (None, *self._selection.studies)
        return self._selection.takes(key)


def open_source(args: DataArguments, sessions: frozenset[SessionKey] | None = None) -> TranscriptSource:
    """Open the data that ``args`` name.

    Where only some sessions are asked for (studies, domains, participants), the keys of all are read once, to know
    which; texts are read when the source is iterated.

    Parameters
    ----------
    args
        Which data and which of their sessions.
    sessions
        The keys of the sessions to read; then what ``args`` say of studies and participants does not count.

    Returns
    -------
    TranscriptSource
        The sessions, in the source's own order.

    Raises
    ------
    UserError
        For a source that is not there, and for studies, domains or settings that do not exist. Malformed sessions are
        told when the source is iterated.
    """
    _check_choice("participants", args.participants, ("all", "train", "test"))
    _check_choice("on_malformed", args.on_malformed, ("error", "skip"))
    if args.max_participants is not None and args.max_participants < 1:
        raise UserError(f"--max_participants is {args.max_participants}; it must be at least 1")
    read, notes, half = _reader(args)
    read = partial(_all_named, marked(read, args.markers))
    if sessions is None:
        selection, persons = _select(args, read, half)
    else:
        selection = _Selection(frozenset(key.study for key in sessions), sessions.__contains__)
        persons = None
    return TranscriptSource(
        args.data, read, selection, on_malformed=args.on_malformed, notes=notes, persons=persons, half=half
    )


def _reader(args: DataArguments) -> tuple[Reader, tuple[str, ...], str | None]:
    """A reader of the data, notes on skipped files, and the half of its own split that this is, if any."""
    path = Path(args.data).expanduser()
    if args.data_revision and (path.exists() or not _HUB_ID.fullmatch(args.data)):
        raise UserError(f"--data_revision is of a hub data set, and {args.data} is none; leave it away")
    if args.data in ("starter", "starter-feedback"):
        if args.data_split:
            raise UserError("the starter set has no splits; leave --data_split away and use --participants")
        # Here, since it imports pandas, which takes half a second that --help and other data need not wait for.
        from centaurlab.data.starter.studies import NOTES, SETS, read_starter

        return partial(read_starter, SETS[args.data]), NOTES.get(args.data, ()), None
    if path.is_dir() and (args.data_split or args.participants != "all"):
        listing, half = hub.choose_split(path, args.data, args.data_split)
    elif path.exists() or not _HUB_ID.fullmatch(args.data) or args.data.lower().endswith(files.SUFFIXES):
        if args.data_split:
            raise UserError(f"{args.data} is one file without splits; leave --data_split away")
        listing, half = files.list_files(path), None
    else:
        listing, half = hub.open_hub(args.data, args.data_split, args.data_revision)
    return partial(files.read_files, listing.paths, path), listing.notes, half


def _all_named(read: Reader, *, keys_only: bool = False) -> Iterator[Record | Problem]:
    """What ``read`` gives; ``UserError`` for a session without ``experiment`` in a file of which others have it."""
    origins: dict[Place | None, dict[bool, str]] = defaultdict(dict)
    for record in read(keys_only=keys_only):
        if isinstance(record, Record) and isinstance(session_key(record), SessionKey):
            of_file = origins[record.places[-1] if record.places else None]
            of_file.setdefault(names_no_study(record), record.origin)
            if len(of_file) > 1:
                raise UserError(f"{of_file[True]}: no `experiment`, which other sessions of the file have; write it in")
        yield record


def marked(read: Reader, markers: str) -> Reader:
    """A reader of the same sessions whose responses stand between ``<<`` and ``>>``; ``markers`` say where they do."""
    _check_choice("markers", markers, ("angles", "human_response"))
    return partial(_in_angles, read) if markers == "human_response" else read


def _in_angles(read: Reader, *, keys_only: bool = False) -> Iterator[Record | Problem]:
    """The same sessions with the markers that are read everywhere."""
    if keys_only:
        yield from read(keys_only=True)
        return
    for record in read():
        text = record.fields.get("text") if isinstance(record, Record) else None
        if isinstance(record, Problem) or not isinstance(text, str):
            yield record
            continue
        told, reason = in_angles(text)
        yield replace(record, fields={**record.fields, "text": told}, problem=reason)


def _select(args: DataArguments, read: Reader, half: str | None) -> tuple[_Selection, Persons | None]:
    if not (args.studies or args.domains or args.max_participants or args.participants != "all"):
        return _Selection(), None
    if half is not None and args.participants not in ("all", half):
        raise UserError(f"{args.data} holds only the {half} half of its own split; leave --participants away")
    keys: list[SessionKey] = []

    def noted() -> Iterator[tuple[SessionKey, Mapping[str, object]]]:
        for key, fields in _everybody(read):
            keys.append(key)
            yield key, fields

    persons = find_persons(noted())
    if not keys:
        return _Selection(), persons  # iterating says what is wrong with the files
    studies = _named_studies(args, {key.study for key in keys})
    wanted = "all" if half is not None else args.participants
    if wanted == "all" and args.max_participants is None:
        return _Selection(studies), persons
    chosen = digests_of(select_people(keys, persons, wanted, args.max_participants, args.data_seed))
    return _Selection(studies, SessionNumbers(chosen).__contains__), persons


def _everybody(read: Reader) -> Iterator[tuple[SessionKey, Mapping[str, object]]]:
    for record in read(keys_only=True):
        if isinstance(record, Record) and isinstance(key := session_key(record), SessionKey):
            yield key, record.fields


def _key(record: Record | Problem) -> SessionKey | Problem:
    return record if isinstance(record, Problem) else session_key(record)


def _named_studies(args: DataArguments, present: set[str]) -> frozenset[str]:
    studies = present
    if args.studies:
        named = set(_names(args.studies))
        check_studies(sorted(named), present)
        studies = named
    if args.domains:
        wanted = set(_names(args.domains))
        for domain in sorted(wanted - set(domains())):
            raise UserError(f"no domain {domain!r}; there are {', '.join(domains())}")
        studies = {study for study in studies if wanted & set(domains_of(study))}
        if not studies:
            raise UserError(f"no study of the domain {args.domains!r} among {', '.join(sorted(present)[:20])}")
    return frozenset(studies)


def _names(comma_separated: str) -> list[str]:
    return [name.strip() for name in comma_separated.split(",") if name.strip()]


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"--{name} is {value!r}; choose {', '.join(choices)}")
