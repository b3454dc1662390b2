"""Runs with and without personas: figures, and the section of a report."""

from collections.abc import Sequence
from pathlib import Path

from centaurlab.analyses.contexts import Comparison, _contexts, _per_study, labels_of
from centaurlab.analyses.finished import Run
from centaurlab.display.figures.intervals import Row, signed_forest
from centaurlab.display.figures.paper import personas
from centaurlab.display.figures.style import save_figure
from centaurlab.display.section import Section


def save_persona_figures(comparisons: Sequence[Comparison], others: Sequence[Comparison], folder: Path) -> None:
    """Write, as PDF and PNG, the paper's Fig. 5, the benefit per study, and all comparisons over all studies.

    The first of ``comparisons`` is that of no persona with people's own.
    """
    own = comparisons[0]
    benefits = [(e.group_name, e.d) for e in own.effects if e.group == "pair" and e.level == "overall"]
    every = [*comparisons, *others]
    rows = [Row(label, one.overall.d) for label, one in zip(labels_of(every), every, strict=True)]
    quantity = "d (first − second persona; standard deviations)"
    summary = signed_forest(rows, "Personas, over all studies", "second helps", "second hurts", quantity)
    for name, figure in (
        ("personas", personas(benefits)),
        ("studies", _per_study(own, "Own persona against none", "persona helps", "persona hurts")),
        ("comparisons", summary),
    ):
        save_figure(figure, folder / "figures", name)


def section(run: Run) -> Section:
    """What it brings to know who the participant is."""
    people = run.about["personas"]
    fields = ", ".join(f"{name} ({n:,})" for name, n in people["fields"].items())
    kept = len(people["kept_their_own"])
    return _contexts(
        run,
        "Personas",
        "Are people predicted better when the model is told who they are?",
        ("persona", "own_or_anothers"),
        (
            f"{people['participants']:,} people have metadata; how many answer what: {fields}. Everybody is scored "
            "without a persona, with one, and with that of another participant of the study, on the same responses."
            + (f" {kept:,} found no other persona in their study and kept their own." if kept else ""),
            "d(a − b) is the mean NLL in a minus that in b, in standard deviations of NLLs over responses; positive: "
            "b is the better one. Own against another's persona says whether it helps by what it says of this person.",
        ),
    )
