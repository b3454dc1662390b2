"""What a reviewer would ask, before the pull request: ``centaurlab data lint``."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from centaurlab.data.checks import Doubt
from centaurlab.data.conventions import PROFILES, Linter, Profile, all_warnings, field_warnings, file_warnings, remedy
from centaurlab.data.files import list_files, read_files, stem
from centaurlab.data.records import Problem, Record, examine
from centaurlab.data.source import marked
from centaurlab.data.transcripts import Transcript
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.runtime.errors import IncompleteError, UserError

DESCRIPTION = """Warn of what reviewers ask about: times, forced choices, letters, conditions that nobody saw, and more.

examples:
  centaurlab data lint study.jsonl
  centaurlab data lint my-study/ --profile psych-201
  centaurlab data lint my-study/ --profile psychling-101 --strict

Each warning names the line and what to do. A warning may be wrong, hence the exit code is 0; with --strict it is 1.
Malformed sessions, which 'centaurlab data validate' explains, are mistakes: exit code 2.
"""

SHOWN = 5
IMAGE = "<image"


@dataclass
class LintArguments:
    """What is looked at."""

    path: str = field(metadata={"positional": True, "metavar": "FILE", "help": "a file or folder of transcripts"})
    profile: Literal["psych-201", "psychling-101"] | None = field(
        default=None, metadata={"help": "the collection whose names of fields and files are asked for, too"}
    )
    markers: str = field(default="angles", metadata={"help": "of responses: angles (<< >>) or human_response"})
    strict: bool = field(default=False, metadata={"help": "end with exit code 1 where there is a warning"})


def run(asked: LintArguments) -> None:
    """Print every warning with its line and remedy."""
    listing = list_files(Path(asked.path))
    read = marked(partial(read_files, listing.paths, Path(asked.path)), asked.markers)
    seen = _Seen(PROFILES[asked.profile] if asked.profile else None)
    found: Counter[str] = Counter()
    for doubt in seen.warnings(read()):
        found[doubt.check] += 1
        if found[doubt.check] <= SHOWN:
            show(told(doubt))
    show(*(f"warning: … and {n - SHOWN:,} more: {check}" for check, n in found.items() if n > SHOWN))
    if seen.profile:
        for path in (path for path in listing.paths if stem(path.name) == "prompts"):
            for doubt in file_warnings(path.parent, seen.has_images, seen.profile):
                found[doubt.check] += 1
                show(told(doubt))
    show(*listing.notes)
    if seen.problems:
        malformed = f"{seen.problems:,} of {seen.sessions:,} sessions are malformed"
        raise UserError(f"{asked.path}: {malformed}; 'centaurlab data validate' names them")
    kinds = f" ({', '.join(f'{check} {n:,}' for check, n in found.most_common())})" if found else ""
    show(f"{seen.sessions:,} sessions, {found.total():,} warnings{kinds}")
    if found and asked.strict:
        raise IncompleteError(f"{asked.path}: {found.total():,} warnings, listed above")


def told(doubt: Doubt) -> str:
    """A warning in a line: where, what, and what to do."""
    what_to_do = remedy(doubt.check)
    return f"warning: {doubt}" + (f"; {what_to_do}" if what_to_do else "")


@dataclass
class _Seen:
    """What went through, beside its warnings."""

    profile: Profile | None
    sessions: int = 0
    problems: int = 0
    has_images: bool = False

    def warnings(self, records: Iterable[Record | Problem]) -> Iterator[Doubt]:
        about_fields: list[Doubt] = []

        def noted() -> Iterator[Record | Problem]:
            for record in records:
                if self.profile and isinstance(record, Record):
                    about_fields.extend(field_warnings(record.fields, record.origin, self.profile))
                yield record

        def usable() -> Iterator[Transcript]:
            for examined in examine(noted()):
                self.sessions += 1
                self.problems += examined.problem is not None
                if examined.transcript:
                    self.has_images |= IMAGE in examined.transcript.text
                    yield examined.transcript

        for doubt in all_warnings(usable(), Linter()):
            yield from about_fields
            about_fields.clear()
            yield doubt
        yield from about_fields


COMMAND = Command(DESCRIPTION, (LintArguments,), run)
