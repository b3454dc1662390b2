"""What a set of transcripts holds, per study, and what is wrong in it: ``centaurlab data stats|validate``."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from centaurlab.catalog.tables import domains_of
from centaurlab.data.checks import doubts
from centaurlab.data.lookalikes import Lookalikes
from centaurlab.data.persons import Persons, Unit
from centaurlab.data.records import Examined, Problem
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import SessionKey, Transcript, find_responses, is_missing
from centaurlab.display.tables import Table, rows_of
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.models.arguments import ModelArguments
from centaurlab.prompts.encoding import encode
from centaurlab.runs.csv_table import write_csv
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PROBLEMS_SHOWN = 20
LONGEST_WINDOW = 1 << 20
"""In tokens, of a model that does not state its own: no session is longer."""

STATS_DESCRIPTION = """Print studies, people, sessions, responses, tokens, metadata, domains, and the problems found.

examples:
  centaurlab data stats starter
  centaurlab data stats transcripts.jsonl --tokenizer Qwen/Qwen3-8B-Base
  centaurlab data stats transcripts.jsonl --people people.csv
"""
VALIDATE_DESCRIPTION = """Name every malformed line; exit with code 2 if there is any.

Warns of sessions that contradict themselves: reward labels that look swapped, another number of response times than of
responses, choices between markers that were none, one letter for two options; and of responses that are none: code, a
third '<', answers such as NA. A warning changes nothing.

example:
  centaurlab data validate transcripts.jsonl
"""


@dataclass
class StatsArguments:
    """What is counted."""

    of: str | None = field(
        default=None, metadata={"positional": True, "metavar": "DATA", "help": "the same as --data, without typing it"}
    )
    tokenizer: str | None = field(
        default=None,
        metadata={
            "help": "model whose tokens are counted (default: gemma-3-270m where installed); 'none' counts characters"
        },
    )
    people: str | None = field(
        default=None,
        metadata={"help": "CSV file to write, a row per person: person, study, participant ids, sessions"},
    )


@dataclass
class ValidateArguments:
    """What is checked."""

    path: str = field(metadata={"positional": True, "metavar": "FILE", "help": "a file or folder of transcripts"})
    markers: str = field(default="angles", metadata={"help": "of responses: angles (<< >>) or human_response"})


def run_stats(asked: StatsArguments, data: DataArguments) -> None:
    """Count, and print; what is read is said at once, for libraries and a large file take their time."""
    say(f"reading {asked.of or data.data} …", is_error=True)
    reader = None if asked.tokenizer == "none" else _token_reader(asked.tokenizer)
    print_stats(replace(data, data=asked.of or data.data), reader, Path(asked.people) if asked.people else None)


def _token_reader(name: str | None) -> "TokenReader | None":
    """The tokenizer of a model, by default of Gemma 270M; none where that is not installed."""
    # Here and not above: what is said at once, and what is counted in characters, needs no torch.
    from centaurlab.models.gguf import GEMMA, gemma_is_installed
    from centaurlab.models.loading import load_config, load_tokenizer
    from centaurlab.models.shape import usable_window

    if not name and not gemma_is_installed():
        return None
    model = ModelArguments(name or GEMMA)
    tokenizer = load_tokenizer(model)
    try:
        window = usable_window(load_config(model), None)
    except UserError:  # a tokenizer alone, or a model that states no window
        window = LONGEST_WINDOW
    return TokenReader(tokenizer, window)


@dataclass(frozen=True)
class TokenReader:
    """A tokenizer, and how many tokens of a session a model reads at most."""

    tokenizer: "PreTrainedTokenizerBase"
    window: int = LONGEST_WINDOW


@dataclass
class StudyStats:
    """Counts over the usable sessions of one study; ``tokens`` are those that scoring reads, ``n_cut`` the sessions
    that are longer.

    ``metadata`` counts, per field, the sessions where it is known: neither missing nor empty. ``people``: whose
    sessions these are.
    """

    study: str
    people: set[Unit] = field(default_factory=set)
    sessions: int = 0
    responses: int = 0
    characters: int = 0
    tokens: int = 0
    n_cut: int = 0
    metadata: Counter[str] = field(default_factory=Counter)

    def add(self, transcript: Transcript, person: Unit, reader: "TokenReader | None") -> None:
        """Count one session of ``person``."""
        self.people.add(person)
        self.sessions += 1
        self.responses += len(find_responses(transcript.text))
        self.characters += len(transcript.text)
        self.metadata.update(name for name, value in transcript.metadata.items() if is_known(value))
        if reader is not None:
            encoding = encode(transcript.text, reader.tokenizer, reader.window)
            self.tokens += len(encoding.input_ids_T)
            self.n_cut += encoding.coverage.cut > 0


def collect(
    sessions: Iterable[Examined], persons: Persons, reader: TokenReader | None = None
) -> tuple[list[StudyStats], list[Problem], Lookalikes]:
    """Statistics of each study, in the order of first appearance, every problem, and doubtful responses."""
    studies: dict[str, StudyStats] = {}
    problems, lookalikes = [], Lookalikes()
    for examined in sessions:
        if examined.problem:
            problems.append(examined.problem)
        if examined.transcript:
            study, person = examined.transcript.study, persons.unit(examined.transcript.key)
            studies.setdefault(study, StudyStats(study)).add(examined.transcript, person, reader)
            lookalikes.add(examined.transcript)
    return list(studies.values()), problems, lookalikes


def print_stats(args: DataArguments, reader: TokenReader | None = None, people: Path | None = None) -> None:
    """Print a table of the studies that ``args`` select, who their people are, and the problems found in them.

    Counts the tokens that ``reader`` reads, characters without. ``people``: where to list the people, as CSV. Raises
    ``UserError`` if there is no usable session.
    """
    errors = Console(stderr=True)
    progress = Progress(
        *(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    keys: list[SessionKey] = []

    def counted(sessions: Iterable[Examined]) -> Iterator[Examined]:
        for number, examined in enumerate(sessions, start=1):
            progress.update(reading, description=f"reading: {number:,} sessions")
            if examined.transcript:
                keys.append(examined.transcript.key)
            yield examined

    with progress:
        reading = progress.add_task("reading who is who", total=None)
        source = open_source(args)
        persons = source.persons
        studies, problems, lookalikes = collect(counted(source.examine()), persons, reader)
    if studies:
        show(_table(studies, "tokens" if reader is not None else "characters"))
        show(*(people_in_words(stats.study, persons) for stats in studies if stats.study in persons.how))
    longer = (
        f"{stats.study}: {stats.n_cut:,} of {stats.sessions:,} sessions go on beyond the {reader.window:,} tokens that "
        "the model reads; their tokens are counted up to there"
        for stats in studies
        if reader is not None and stats.n_cut
    )
    show(*longer, *source.notes, *lookalikes.notes, *map(str, problems[:PROBLEMS_SHOWN]))
    if len(problems) > PROBLEMS_SHOWN:
        show(f"… and {len(problems) - PROBLEMS_SHOWN} more; 'centaurlab data validate' lists all")
    show(f"{len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'} found")
    if not studies:
        raise UserError(f"{args.data} holds no usable session")
    if people:
        try:
            people.parent.mkdir(parents=True, exist_ok=True)
            people.write_text(people_table(keys, persons), encoding="utf-8", newline="")
        except OSError as error:
            raise UserError(f"cannot write {people}: {error.strerror or error}; give another --people") from error
        show(f"people: {people}")


def people_in_words(study: str, persons: Persons) -> str:
    """How many ids of a study have several sessions, and whether and why each counts as one person."""
    how, n_ids = persons.how[study], persons.n_ids[study]
    n = sum(how.values())
    recur = f"{n:,} of {n_ids:,} id{'s' * (n_ids != 1)} recur{'s' * (n == 1)}"
    return f"{study}: {recur} ({'; '.join(f'{why}: {count:,}' for why, count in how.items())})"


def people_table(keys: Iterable[SessionKey], persons: Persons) -> str:
    """CSV with a row per person: name, study, ids, number of sessions; what is several is separated by semicolons."""
    import pandas as pd  # here: it takes half a second that --help need not wait for

    rows = []
    for sessions in persons.by_person(keys).values():
        studies, ids = (
            {name: None for name in names} for names in zip(*((k.study, k.participant) for k in sessions), strict=True)
        )
        rows.append((persons.name(sessions[0]), "; ".join(studies), "; ".join(ids), len(sessions)))
    table = StringIO(newline="")
    write_csv(pd.DataFrame(rows, columns=["person", "study", "participant_ids", "sessions"]), table)
    return table.getvalue()


def validate(path: str, markers: str = "angles") -> None:
    """Print every problem in the transcripts at ``path``, a line each; ``UserError`` if there is any.

    Doubts about sound sessions (``data.checks``) are printed as warnings, at most ``PROBLEMS_SHOWN`` of a kind.
    """
    source = open_source(DataArguments(data=path, markers=markers))
    total, problems, only_empty = 0, 0, 0

    def usable() -> Iterator[Transcript]:
        nonlocal total, problems, only_empty
        for examined in source.examine():
            total += 1
            if examined.problem:
                problems += 1
                show(str(examined.problem))
            if examined.transcript:
                only_empty += examined.problem is not None
                yield examined.transcript

    found: Counter[str] = Counter()
    for doubt in doubts(usable()):
        found[doubt.check] += 1
        if found[doubt.check] <= PROBLEMS_SHOWN:
            show(f"warning: {doubt}")
    show(*(f"warning: … and {n - PROBLEMS_SHOWN:,} more: {kind}" for kind, n in found.items() if n > PROBLEMS_SHOWN))
    show(*source.notes)
    if problems:
        blank = (
            f" ({only_empty} by nothing but empty responses: --on_malformed skip leaves these responses out and keeps "
            "their sessions)"
        )
        raise UserError(
            f"{path}: {problems} of {total} sessions malformed{blank if only_empty else ''}; correct the places listed "
            "above"
        )
    warnings = f", {found.total():,} warning{'s' if found.total() != 1 else ''}" if found else ""
    show(f"{total} sessions, no problem found{warnings}")


def is_known(value: object) -> bool:
    """Whether a metadata field says anything: neither missing nor an empty list or mapping."""
    return not is_missing(value) and value != [] and value != {}


def _table(studies: list[StudyStats], measure: str) -> Table:
    """A row per study, their sum below where there are several."""
    rows: list[list[object]] = []
    for stats in studies:
        known = ", ".join(f"{name} {count:,}" for name, count in sorted(stats.metadata.items()))
        size = stats.tokens if measure == "tokens" else stats.characters
        domains = ", ".join(domains_of(stats.study))
        counts = [len(stats.people), stats.sessions, stats.responses, size]
        rows.append([stats.study, *counts, domains or None, known or None])
    if len(studies) > 1:
        sums = [sum(row[i] for row in rows) for i in (2, 3, 4)]  # type: ignore[misc]
        n_people = len(set().union(*(stats.people for stats in studies)))
        rows.insert(0, [f"{len(studies)} studies", n_people, *sums, "", ""])
    columns = ("study", "people", "sessions", "responses", measure, "domain", "metadata")
    return rows_of("", columns, rows, n_summary=int(len(studies) > 1))


STATS = Command(STATS_DESCRIPTION, (StatsArguments, DataArguments), run_stats)
VALIDATE = Command(VALIDATE_DESCRIPTION, (ValidateArguments,), lambda asked: validate(asked.path, asked.markers))
