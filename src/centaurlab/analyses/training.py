"""The section of a report on a training run."""

import pandas as pd

from centaurlab.analyses.finished import Run, _figure, _OWN_of_jobs, command, facts_of, folder_pictures, folder_tables
from centaurlab.analyses.generalisation import estimate_of
from centaurlab.display.figures.curves import training_curve
from centaurlab.display.figures.intervals import Row, signed_forest
from centaurlab.display.figures.style import model_label
from centaurlab.display.section import NLL, Section
from centaurlab.display.tables import table_of
from centaurlab.runs.folder import read_metrics
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.words import INTERVAL, number


def training_section(run: Run) -> Section:
    """What training changed on held-out people."""
    base = model_label(str(run.about["base"]["name"]))
    held_out = pd.DataFrame(run.about["held_out"])
    lines = read_metrics(run.folder)
    loss = [(step, values["train/loss"]) for _, step, values in lines if "train/loss" in values]
    nll = [(step, values["eval/nll"]) for _, step, values in lines if "eval/nll" in values]
    figures, tables, answers = [], [], [f"{run.about['steps']:,} steps from {base}."]
    if len(held_out):
        percent = held_out.assign(**{name: 100 * held_out[name].astype(float) for name in _CHANGE})
        fell, rose = (percent["change_high"] < 0).sum(), (percent["change_low"] > 0).sum()
        before, after = held_out["nll_base"].mean(), held_out["nll"].mean()
        answers.append(
            f"The NLL of held-out participants fell in {fell} of {len(held_out)} studies and rose in {rose or 'none'}, "
            f"by intervals that exclude zero; others show no clear change. Mean over studies: {number(before)} nats "
            f"per response before, {number(after)} after (an interval over studies: 'centaurlab generalisation')."
        )
        rows = [Row(row["study"], estimate_of(row, "change")) for row in percent.to_dict("records")]
        contrast = Contrast("after training", "before")
        changes = signed_forest(rows, f"Held-out participants, against {base}", contrast, "change of the NLL (%)")
        figures.append(_figure("held-out", f"Change of the NLL with {INTERVAL}s.", changes))
        columns = {"study": "study", "participants": "people", "responses": "responses", "nll_base": "NLL before"}
        tables.append(
            table_of(
                *("Held-out participants", percent, columns | {"nll": "NLL after", "change": "change (%)"}),
                signed=["change"],
            )
        )
    if len(loss) > 1:
        figures.append(
            _figure(
                "training",
                "Loss of each logged step on training sessions (blue: running mean), and NLL of held-out people.",
                training_curve(loss, nll),
            )
        )
    facts = [("trained on", ", ".join(run.about["studies"]))]
    facts.append(("novel studies", ", ".join(run.about.get("novel_studies") or ["none"])))
    return Section(
        title=f"Training of {run.folder.name}",
        question=f"What did training on people change in {base}?",
        answers=tuple(answers),
        explanation=(NLL,),
        figures=(*figures, *folder_pictures([run], _OWN_of_jobs)),
        tables=(*tables, *folder_tables([run], _OWN_of_jobs)),
        provenance=(*facts_of(run), *facts),
        commands=(command(run),),
    )


_CHANGE = ("change", "change_low", "change_high")
