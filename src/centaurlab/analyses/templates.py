"""Runs in and out of a chat template: figures, and the section of a report."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from centaurlab.analyses.analysis import Analysis, Finding
from centaurlab.analyses.contexts import (
    Runs,
    _contexts,
    compare_contexts,
    comparison_table,
    metrics_of,
    shown_comparisons,
    study_forest,
)
from centaurlab.analyses.finished import Run, read_table
from centaurlab.display.figures.intervals import Row
from centaurlab.display.figures.paper import templates
from centaurlab.display.figures.style import model_label
from centaurlab.display.section import Section
from centaurlab.display.tables import table_of
from centaurlab.results.joined import CommonResponses
from centaurlab.results.run import is_score_folder
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.means import MEAN_COLUMNS, mean_nlls

DESCRIPTION = """Does a chat template help a model to predict people? Sessions in the model's own, against plain text.

examples:
  centaurlab templates --model Qwen/Qwen3-8B --data starter --output_dir runs/template
  centaurlab templates --model Qwen/Qwen3-8B meta-llama/Llama-3.1-8B-Instruct \\
      --data marcelbinz/Psych-201-test --output_dir runs/templates

In the template, what people are told is the user's turn and each response a turn of the assistant's; thinking is off
where the template knows 'enable_thinking', and the date is always the same. d(chat template − plain text) > 0: the
model predicts people worse in its template. What the template does to the sessions (text trimmed, dropped or
rewritten, a system prompt or date inserted) is found before anything is scored, and listed.
Output: templates.csv, audit.csv, run.json, figures (the paper's Fig. S1 among them), and the folders of scores.
"""


@dataclass
class TemplateArguments:
    """Whose templates are tried."""

    model_name_or_path: list[str] = field(metadata={"help": "one model or several, each with a chat template"})
    output_dir: str = field(metadata={"help": "folder for templates.csv, audit.csv, run.json and scores"})

    def __post_init__(self) -> None:
        for name in self.model_name_or_path:
            if is_score_folder(Path(name)):
                raise UserError(f"{name} is a folder of scores; name the model, to score it with its template")


def find_template_effects(
    template: Runs, plain: Runs, audit: pd.DataFrame, estimates: EstimateArguments, title: str
) -> Finding:
    """The same models in their chat template and in plain text, as tables, figures and a sentence.

    ``audit``: what the templates do to the sessions, as a table.
    """
    n, seed = estimates.resamples, estimates.seed
    contrast = Contrast("the chat template", "plain text", by="in")
    comparison = compare_contexts("template", contrast, template, plain, n, seed)

    def nll_of(model: str, table: pa.Table) -> Row:
        overall = mean_nlls(table, n, seed)[0]
        return Row(model, overall.nll, these=overall.nll_these)

    nlls = []
    for model in template:
        pair = [runs[model] for runs in (plain, template)]
        common = CommonResponses(run.folder for run in pair)
        without, within = (common.of_table(run.table(MEAN_COLUMNS)) for run in pair)
        nlls.append((model, nll_of(plain[model].model, without), nll_of(template[model].model, within)))
    first = next(iter(template.values()))
    return Finding(
        tables={"templates.csv": comparison_table([comparison]), "audit.csv": audit},
        record={
            "overall": {comparison.name: comparison.record()},
            "data": {key: first.about["data"][key] for key in ("name", "fingerprint", "studies")},
            "models": [
                run.about["model"] | {"protocol": run.about["protocol"], "context": run.about["context"]}
                for run in template.values()
            ],
            "scores": {
                name: {model: str(run.folder) for model, run in runs.items()}
                for name, runs in (("plain", plain), ("template", template))
            },
        },
        figures={
            "templates": templates(nlls),
            "studies": study_forest(comparison, "Chat template against plain text"),
        },
        metrics=[(None, metrics_of([comparison]))],
        shown=[*shown_comparisons([comparison], title)],
    )


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
            "d(chat template − plain text) is the difference of mean NLLs in standard deviations over responses; above "
            "zero, people are predicted worse in the template. The table of the audit says what the template does "
            "to the sessions.",
        ),
        table_of("What the template does to the sessions", audit, columns),
    )


ANALYSIS = Analysis("templates", DESCRIPTION, TemplateArguments, section)
