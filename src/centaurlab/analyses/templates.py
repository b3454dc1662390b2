"""Runs in and out of a chat template: figures, and the section of a report."""

from collections.abc import Sequence
from pathlib import Path

from centaurlab.analyses.contexts import Comparison, _contexts, _per_study
from centaurlab.analyses.finished import Run, read_table
from centaurlab.display.figures.paper import templates
from centaurlab.display.figures.style import model_label, save_figure
from centaurlab.display.section import Section
from centaurlab.display.tables import table_of
from centaurlab.stats.estimate import Estimate


def save_template_figures(comparison: Comparison, nlls: Sequence[tuple[str, Estimate, Estimate]], folder: Path) -> None:
    """Write, as PDF and PNG, the paper's Fig. S1 (``nlls``: model, without, with its template) and d per study."""
    save_figure(templates(nlls), folder / "figures", "templates")
    figure = _per_study(comparison, "Chat template against plain text", "template worse", "template better")
    save_figure(figure, folder / "figures", "studies")


def section(run: Run) -> Section:
    """What a chat template changes."""
    audit = read_table(run, "audit").fillna({"study": "every session"})
    audit["model"] = audit["model"].map(model_label)
    columns = {"model": "model", "study": "study", "kind": "what", "n": "turns", "of": "of", "example": "for example"}
    return _contexts(
        run,
        "Chat templates",
        "Does a model predict people better or worse in its chat template?",
        ("template",),
        (
            "In the template, what people are told is the user's turn and each response a turn of the assistant's. "
            "d(chat template − plain text) is the difference of mean NLLs in standard deviations over responses; "
            "positive: people are predicted worse in the template. The table of the audit says what the template does "
            "to the sessions.",
        ),
        table_of("What the template does to the sessions", audit, columns),
    )
