"""Runs with and without personas: figures, and the section of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.contexts import (
    Comparison,
    _contexts,
    comparison_table,
    labels_of,
    metrics_of,
    shown_comparisons,
    study_forest,
    table_of_each,
)
from centaurlab.analyses.finished import Run
from centaurlab.display.figures.intervals import Row, signed_forest
from centaurlab.display.figures.paper import personas
from centaurlab.display.section import Section
from centaurlab.display.tables import Table
from centaurlab.results.run import is_score_folder
from centaurlab.runtime.errors import UserError
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.words import verdict_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = """Does it help a model to know who the participant is? A persona before the session, against none.

examples:
  centaurlab personas --model gemma-3-270m --data starter --output_dir runs/personas
  centaurlab personas --model Qwen/Qwen3-8B-Base Qwen/Qwen3-8B --data marcelbinz/Psych-201-test \\
      --fields each --output_dir runs/personas-qwen3

The persona is an interview ("Interviewer: What is your age?", "Interviewee: 35."), one question per field of the
metadata that --persona_table lists (default: the published ones). Everybody who has any is scored without it, with
it, and with that of another participant of the study; d(without − with) > 0: the persona helps, and
d(another's − own) > 0: it does so by what it says of this person. --fields each adds one run per field alone, of
those who have it. --unmatched adds the published comparison, which holds people with a persona against all people.
--data_seed is the seed of whose persona goes to whom.
Output: personas.csv, run.json, figures (the paper's Fig. 5 among them), and the folders of scores.
"""


@dataclass
class PersonaArguments:
    """Which models read which personas."""

    model_name_or_path: list[str] = field(metadata={"help": "one model or several, base or post-trained"})
    output_dir: str = field(metadata={"help": "folder for personas.csv, run.json and scores"})
    persona_table: str | None = field(
        default=None, metadata={"help": "CSV file with the columns field, aliases, question, answer, not_missing"}
    )
    fields: str | None = field(
        default=None, metadata={"help": "also one field at a time: 'each', or names with commas between"}
    )
    unmatched: bool = field(
        default=False, metadata={"help": "also as published: all people without a persona, those who have one with it"}
    )

    def __post_init__(self) -> None:
        for name in self.model_name_or_path:
            if is_score_folder(Path(name)):
                raise UserError(
                    f"{name} is a folder of scores; give models, which are scored with and without personas"
                )


def find_persona_effects(
    comparisons: Sequence[Comparison],
    title: str,
    changed: Sequence[Comparison] = (),
    alone: Sequence[Comparison] = (),
    published: Sequence[Comparison] = (),
) -> Finding:
    """All comparisons as one table, as figures and sentences; the first of ``comparisons``: none with people's own.

    ``changed``: another's with one's own among those to whom another's says something else; ``alone``: one field at a
    time; ``published``: the comparison of people who are not the same.
    """
    everything = [*comparisons, *changed, *alone, *published]
    shown: list[Table | str] = [*shown_comparisons(comparisons, title)]
    for table, about in (
        (changed, "of those to whom another's says something else"),
        (alone, "one field alone, of those who have it"),
        (published, "as published: everybody without, those who have one with it"),
    ):
        if table:
            shown.append(table_of_each(table, about))
    shown += [verdict_of(one.effects) for one in changed]
    return Finding(
        tables={"personas.csv": comparison_table(everything)},
        record={"overall": {one.name: one.record() for one in everything}},
        figures=persona_figures(comparisons, [*changed, *alone, *published]),
        metrics=[(None, metrics_of(everything))],
        shown=shown,
    )


def persona_figures(comparisons: Sequence[Comparison], others: Sequence[Comparison]) -> "dict[str, Figure]":
    """The paper's Fig. 5, the benefit per study, and all comparisons over all studies.

    The first of ``comparisons`` is that of no persona with people's own.
    """
    own = comparisons[0]
    benefits = [(e.group_name, e.d, e.d_these) for e in own.effects if e.group == "pair" and e.level == "overall"]
    every = [*comparisons, *others]
    overall = [one.overall for one in every]
    rows = [Row(label, one.d, these=one.d_these) for label, one in zip(labels_of(every), overall, strict=True)]
    of_each = Contrast("first", "second", "persona", by="with")
    return {
        "personas": personas(benefits, own.contrast),
        "studies": study_forest(own, "Own persona against none"),
        "comparisons": signed_forest(rows, "Personas, over all studies", of_each),
    }


def section(run: Run) -> Section:
    """What it brings to know who the participant is."""
    return _contexts(
        run,
        "Personas",
        "Are people predicted better when the model is told who they are?",
        tuple(name for name in ("persona", "own_or_anothers", "own_or_unlike") if name in run.about["overall"]),
        (
            whose(run.about["personas"]),
            "d(a − b) is the mean NLL in a minus that in b, in standard deviations of NLLs over responses; above "
            "zero, people are predicted worse in a. Own against another's persona says whether it helps by what it "
            "says of this person.",
        ),
    )


def whose(personas: Mapping[str, Any]) -> str:
    """How many people have metadata and a persona of somebody else, from ``run.json``.

    Older versions counted sessions, which most people have one of.
    """
    fields = ", ".join(f"{name} ({n:,})" for name, n in personas["fields"].items())
    kept = personas.get("people_kept_their_own", len(personas["kept_their_own"]))
    said = (
        f"{personas.get('people', personas['participants']):,} people have metadata; how many answer what: {fields}. "
        "Everybody is scored without a persona, with one, and with that of another participant of the study, on the "
        "same responses."
    )
    if kept:
        said += (
            f" {kept:,} found no other persona in their study and kept their own; 'another's unlike' is of the others "
            "alone, as those dilute the difference."
        )
    return said


ANALYSIS = Analysis("personas", DESCRIPTION, PersonaArguments, section)
