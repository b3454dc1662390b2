"""A table of trials into sessions: ``centaurlab data convert``."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from centaurlab.data.records import Place, placed_study
from centaurlab.data.tables.first import first_template
from centaurlab.data.tables.reading import read_trials
from centaurlab.data.tables.sessions import PersonSession, PreparedTable, TableArguments, prepared, tell_sessions
from centaurlab.data.tables.table import TrialTable
from centaurlab.data.tables.template import SessionTemplate
from centaurlab.data.transcripts import find_responses
from centaurlab.display.terminal import show
from centaurlab.jobs.command import Command
from centaurlab.runs.integrity import read_sound_json
from centaurlab.runs.provenance import provenance
from centaurlab.runtime import terminal
from centaurlab.runtime.arguments import found_recipe
from centaurlab.runtime.disk import replace_durably
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.names import shown

if TYPE_CHECKING:
    from rich.console import Console

DESCRIPTION = """Tell a table of trials as sessions: a template (Jinja) says how one person's session reads.

examples:
  centaurlab data convert trials.csv --init --participant subject
  centaurlab data convert trials.csv --template trials.jinja --participant subject --study me2026task --preview 2
  centaurlab data convert trials.csv --template trials.jinja --participant subject --order trial_index \\
    --where "task == 'choice'" --metadata age gender --study me2026task --rt_unit ms --output study.jsonl

TRIALS is .csv, .tsv, .xlsx, .parquet, what jsPsych or JATOS write as JSON, a folder with one such file per person, or a
Psych-DS folder; --long 'Q*' takes one row per person (Qualtrics). docs/my-own-csv.md tells it from the start.
"""

_LIKE_NOTHING = {"na", "n/a", "nan", "null", "none", "undefined", "missing", "timeout", "-99", "-999"}

_UNNAMED = "unnamed"

PROVENANCE_SUFFIX = ".provenance.json"


@dataclass
class ConvertArguments:
    """What is told, how, and where to."""

    trials: str = field(metadata={"positional": True, "metavar": "TRIALS", "help": "a file or folder of trials"})
    template: str | None = field(default=None, metadata={"help": "the template; recipes/tables/ has some"})
    output: str | None = field(
        default=None, metadata={"help": "the .jsonl to write (with --init: the template; default: beside TRIALS)"}
    )
    init: bool = field(default=False, metadata={"help": "write a first template from the columns instead"})
    preview: int | None = field(default=None, metadata={"help": "show so many sessions, and write nothing"})


def run(asked: ConvertArguments, table: TableArguments) -> None:
    """Write the sessions, a first template, or show some."""
    trials = read_trials(found_recipe(Path(asked.trials)))
    participant = _participant(table, trials, asked.trials)
    if not table.participant:
        how = f"no --participant is given: who is who is told by files or lists, in the column {participant!r}"
        trials = replace(trials, notes=(*trials.notes, how))
    rows = prepared(trials, table)
    if asked.init:
        _write_template(asked, rows.told, participant)
        return
    if not asked.template:
        raise UserError("--template is needed; --init writes a first one")
    open_questions: list[str] = []
    if not table.study:
        if asked.preview is None:
            raise UserError("--study is needed, the study's name, such as author2026task")
        table = replace(table, study=_UNNAMED)
        open_questions.append("note: --study is not given, and labels are drawn by it: other letters will be shown")
    if not table.rt_unit and asked.preview is not None:
        table = replace(table, rt_unit="ms")
        open_questions.append("note: reaction times are read as ms; --rt_unit s if they are seconds")
    path = found_recipe(Path(str(asked.template)))
    try:
        source = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the template {path}: {error}") from error
    template = SessionTemplate(source, str(path))
    sessions = tell_sessions(rows, template, table, participant)
    show(*trials.notes)
    if asked.preview is not None:
        _preview(sessions, asked.preview)
        show(*open_questions)
        return
    if asked.output is None:
        raise UserError("--output is needed, the .jsonl file to write; --preview 2 shows two sessions instead")
    told = _write(Path(asked.output), sessions, asked, table, trials, template)
    show(*_summary(told, rows, table), f"sessions: {asked.output}")


def _participant(table: TableArguments, trials: TrialTable, name: str) -> str:
    """The column that names the person: the one asked for, or the reader's, of files or lists of JSON."""
    if table.participant:
        return table.participant
    if trials.person and len({row.cells.get(trials.person) for row in trials.rows}) > 1:
        return trials.person
    likely = [one for one in trials.columns if one.casefold().replace("_", "") in _LIKELY]
    meant = f"; perhaps --participant {likely[0]}?" if likely else f"; there are {', '.join(trials.columns[:20])}"
    raise UserError(f"{name}: which column names the person? say --participant COLUMN{meant}")


_LIKELY = (
    "participant",
    "participantid",
    "subject",
    "subjectid",
    "id",
    "pid",
    "prolificid",
    "prolificpid",
    "responseid",
)


def _write_template(asked: ConvertArguments, table: TrialTable, participant: str) -> None:
    path = Path(asked.output) if asked.output else Path(asked.trials).with_suffix(".jinja")
    if path.exists():
        raise UserError(f"{path} is there already; name another --output, or move it away")
    _write_whole(path, first_template(table, participant))
    cells = Counter(cell for row in table.rows for c in table.columns if (cell := table.cell(row, c)) is not None)
    for cell, number in cells.items():
        if cell.strip().casefold() in _LIKE_NOTHING:
            show(f"look: {cell!r} stands in {number:,} cells; if it means no value, say --missing {cell.strip()}")
    show(f"template: {path}; rewrite it, then give --template {path} --participant {participant} --preview 2")


def _preview(sessions: Any, wanted: int) -> None:
    console = terminal.console()
    if wanted < 1:
        raise UserError(f"--preview is {wanted}; it is the number of sessions to show")
    for number, told in enumerate(sessions):
        if number == wanted:
            break
        _print_session(console, told)


def _print_session(console: "Console", told: PersonSession) -> None:
    text, position = Text(), 0
    whole = told.session.text
    for response in find_responses(whole):
        text.append(_visible(whole[position : response.start - 2]))
        text.append(f"<<{_visible(whole[response.start : response.end])}>>", "bold green")
        position = response.end + 2
    text.append(_visible(whole[position:]))
    console.rule(Text(f"participant {shown(told.participant)}"))
    console.print(text, soft_wrap=True)
    timed = [rt for rt in told.fields.get("RTs", []) if rt is not None]  # type: ignore[attr-defined]
    about = [f"{len(told.session.responses)} responses", f"{len(timed)} reaction times"]
    if timed:
        about[-1] += f" from {min(timed):g} to {max(timed):g} ms"
    about += [f"{len(whole):,} characters"]
    about += [f"{k} {v!r}" for k, v in told.fields.items() if k not in ("text", "experiment", "participant", "RTs")]
    console.print(Text("; ".join(about), "dim"), soft_wrap=True)


def _visible(text: str) -> str:
    return "\n".join(map(shown, text.split("\n")))


def _write(
    path: Path,
    sessions: Any,
    asked: ConvertArguments,
    table: TableArguments,
    trials: TrialTable,
    template: SessionTemplate,
) -> list[PersonSession]:
    """Write the sessions and beside them where they come from; a file that is not as it was written is not touched."""
    record = path.with_name(path.name + PROVENANCE_SUFFIX)
    if path.suffix != ".jsonl":
        raise UserError(f"--output {path}: sessions are written as .jsonl")
    if path.exists() and not record.exists():
        raise UserError(f"{path} is there already, and was not written by this command; name another --output")
    told = list(sessions)
    study = str(table.study).partition("/")[0]
    place = Place(path.absolute().parent.name, path.stem)
    said = {} if placed_study((place,)) in (None, study) else {"study": study}  # else a name of file or folder would be
    lines = "".join(json.dumps(one.fields | said, ensure_ascii=False) + "\n" for one in told)
    known = (_output_digest(record), _digest(lines))  # the latter where a kill came before the record
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() not in known:
        raise UserError(f"{path} was changed after it was written; name another --output, or move it away")
    inputs = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in trials.files}
    about = provenance() | {
        "job": "data convert",
        "options": asdict(asked) | asdict(table),
        "inputs": inputs,
        "notes": list(trials.notes),
        "template": {"source": template.source, "sha256": _digest(template.source)},
        "output": {"sha256": _digest(lines), "sessions": len(told)},
        "responses": sum(len(one.session.responses) for one in told),
    }
    _write_whole(path, lines)
    _write_whole(record, json.dumps(about, indent=2, sort_keys=True, default=str) + "\n")
    return told


def _output_digest(record: Path) -> object:
    """What the record of an earlier call says of the file that it wrote."""
    output = read_sound_json(record).get("output")
    return output.get("sha256") if isinstance(output, dict) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        replace_durably(temporary, path)
    except (OSError, UnicodeEncodeError) as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error}") from error


def _summary(told: Sequence[PersonSession], rows: PreparedTable, asked: TableArguments) -> list[str]:
    counts = [len(one.session.responses) for one in told]
    per_person = f"{min(counts)} to {max(counts)}" if min(counts) != max(counts) else f"{counts[0]}"
    answers = Counter(answer for one in told for answer in one.session.responses)
    n_told, n_left_out = len(rows.told.rows), len(rows.whole.rows) - len(rows.told.rows)
    left_out = f" ({n_left_out:,} more are left out by --where)" if n_left_out else ""
    lines = [
        f"{len(told):,} people, {sum(counts):,} responses ({per_person} per person) of {n_told:,} rows{left_out}",
        f"{len(answers):,} different answers, most often "
        + ", ".join(f"{answer[:30]!r} {number:,}" for answer, number in answers.most_common(4)),
    ]
    if times := sum(rt is not None for one in told for rt in one.session.rts):
        lines.append(f"{times:,} reaction times, in ms")
    for column in asked.metadata:
        known = sum(column in one.fields for one in told)
        lines.append(f"{column}: known of {known:,} of {len(told):,} people")
    for answer, number in answers.items():
        if answer.strip().casefold() in _LIKE_NOTHING:
            lines.append(
                f"look: {answer!r} is the answer {number:,} times; if it means none, say --missing {answer.strip()}"
            )
    return lines


COMMAND = Command(DESCRIPTION, (ConvertArguments, TableArguments), run)
