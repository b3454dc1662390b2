"""What could have been answered, per study, and by which rule that is known: ``centaurlab data options``."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from centaurlab.catalog.studies import Study, load_studies
from centaurlab.data.options import (
    Rule,
    SessionOptions,
    cut_at_responses,
    session_options,
    shared_labels,
)
from centaurlab.data.records import Problem
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import SessionKey, Transcript, is_blank
from centaurlab.jobs.command import Command
from centaurlab.runtime import terminal
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import shown
from centaurlab.stats.words import percent

DESCRIPTION = """Print what could have been answered, per study: by which rule, with examples and contradictions.

examples:
  centaurlab data options starter
  centaurlab data options transcripts.jsonl --study_module my_study.py

Exit code 2: what a study's module says contradicts the texts.
"""

EXAMPLES, OUTSIDE_SHOWN = 2, 5
_SHOWN_OPTIONS, _SHOWN_CHARACTERS = 6, 60


@dataclass(frozen=True)
class Place:
    """One response of a session (counted from 1), what it answers, what was said, and what could have been."""

    key: SessionKey
    response: int
    before: str
    options: tuple[str, ...]
    answer: str
    role: str | None


@dataclass
class StudyOptions:
    """Counts over the sessions of one study.

    ``rules``: sessions by the rule that gave their options. ``with_options``: responses that have a set.
    ``chance``: sum over them of the log of the set's size, in nats. ``outside``: answers that are none of the
    options; a module that has any reads its texts wrongly. ``unreadable``: sessions that the module could not read; of
    both those that are shown are kept, and of the different ``sets`` their hashes.
    """

    study: str
    sessions: int = 0
    responses: int = 0
    with_options: int = 0
    chance: float = 0.0
    rules: Counter[Rule] = field(default_factory=Counter)
    sets: set[int] = field(default_factory=set)
    n_outside: int = 0
    outside: list[Place] = field(default_factory=list)
    n_unreadable: int = 0
    unreadable: list[tuple[SessionKey, str]] = field(default_factory=list)
    examples: list[Place] = field(default_factory=list)

    @property
    def share_with_options(self) -> float:
        """Of the responses, those for which it is known what could have been answered."""
        return self.with_options / self.responses if self.responses else math.nan

    @property
    def chance_nll(self) -> float:
        """Nats per response of a guess among the options, over the responses that have any; NaN without."""
        return self.chance / self.with_options if self.with_options else math.nan

    def add(self, transcript: Transcript, options: SessionOptions) -> None:
        """Count one session."""
        segments, answers = cut_at_responses(transcript.text)
        self.sessions += 1
        self.responses += len(answers)
        self.rules[options.rule] += 1
        self.sets.update(map(hash, options.sets))
        if options.problem is not None:
            self.n_unreadable += 1
            if len(self.unreadable) < OUTSIDE_SHOWN:
                self.unreadable.append((transcript.key, options.problem))
        shown: set[int] = set()
        for number, answer in enumerate(answers):
            offered = options.of(number)
            if offered is None:
                continue
            self.with_options += 1
            self.chance += math.log(len(offered))
            place = Place(transcript.key, number + 1, segments[number], offered, answer, options.role_R[number])
            if answer not in offered and not is_blank(answer):
                self.n_outside += 1
                if len(self.outside) < OUTSIDE_SHOWN:
                    self.outside.append(place)
            if len(self.examples) < EXAMPLES and len(offered) not in shown:
                self.examples.append(place)
                shown.add(len(offered))


def collect_options(
    transcripts: Iterable[Transcript], own_studies: Mapping[str, Study] | None = None
) -> list[StudyOptions]:
    """What each study of ``transcripts`` offers, in the order of first appearance. They are gone through twice."""
    labels = shared_labels(transcripts, own_studies)
    studies: dict[str, StudyOptions] = {}
    for transcript in transcripts:
        counts = studies.setdefault(transcript.study, StudyOptions(transcript.study))
        counts.add(transcript, session_options(transcript, labels, own_studies))
    return list(studies.values())


def print_options(args: DataArguments) -> None:
    """Print, per study that ``args`` select, its rule, sets, chance level, examples, and what contradicts them.

    Raises ``UserError`` where a module contradicts the texts: answers that it does not offer or, of a user's own
    module, sessions that it cannot read.
    """
    own_studies = load_studies(Path(args.study_module)) if args.study_module else {}
    console = terminal.console()
    source = open_source(args)
    studies = collect_options(source, own_studies)
    console.print(_table(studies))
    for counts in studies:
        _print_places(console, counts)
    skipped = [one for one in source.read() if isinstance(one, Problem)]
    if skipped:
        _print(console, f"{len(skipped)} malformed sessions left out, as {skipped[0]}")
    for counts in studies:
        if counts.n_outside and "module" in counts.rules:
            raise UserError(
                f"{counts.n_outside} answers in {counts.study} are none of its options, as listed; its module reads "
                "the text wrongly: correct it"
            )
        if counts.n_unreadable and counts.study in own_studies:
            raise UserError(
                f"{args.study_module} cannot read {counts.n_unreadable} of {counts.sessions} sessions of "
                f"{counts.study}, "
                "as listed; correct it"
            )


def _table(studies: Iterable[StudyOptions]) -> Table:
    table = Table()
    table.add_column("study", overflow="fold")
    table.add_column("rule")
    for name in ("sessions", "responses", "with options", "sets", "chance", "outside"):
        table.add_column(name, justify="right", no_wrap=True)
    for counts in studies:
        rules = ", ".join(
            f"{rule} ({number:,})" if len(counts.rules) > 1 else rule for rule, number in counts.rules.most_common()
        )
        table.add_row(
            Text(shown(counts.study)),
            Text(shown(rules)),
            f"{counts.sessions:,}",
            f"{counts.responses:,}",
            percent(counts.share_with_options),
            f"{len(counts.sets):,}",
            f"{counts.chance_nll:.3f}" if counts.with_options else "-",
            f"{counts.n_outside:,}",
        )
    return table


def _print_places(console: Console, counts: StudyOptions) -> None:
    for place in counts.examples:
        _print(console, f"{counts.study}, for example: {_told(place)}")
    for place in counts.outside:
        _print(
            console, f"{counts.study}: {place.key}, response {place.response} is none of its options: {_told(place)}"
        )
    for key, problem in counts.unreadable:
        _print(console, f"{counts.study}: the study's module cannot read {key}: {problem}")


def _told(place: Place) -> str:
    before = " ".join(place.before.split())[-_SHOWN_CHARACTERS:]
    options = [*place.options[:_SHOWN_OPTIONS], *(["…"] if len(place.options) > _SHOWN_OPTIONS else [])]
    role = f" ({place.role})" if place.role not in (None, place.answer) else ""
    return f"…{before} <<{place.answer}>>{role}, of {len(place.options)}: {' | '.join(options)}"


def _print(console: Console, text: str) -> None:
    console.print(Text(shown(text)), soft_wrap=True)


@dataclass
class OptionsArguments:
    """Of which data."""

    of: str | None = field(
        default=None, metadata={"positional": True, "metavar": "DATA", "help": "the same as --data, without typing it"}
    )


def run(asked: OptionsArguments, data: DataArguments) -> None:
    """Find the options, and print them."""
    print_options(replace(data, data=asked.of or data.data, on_malformed="skip"))


COMMAND = Command(DESCRIPTION, (OptionsArguments, DataArguments), run)
