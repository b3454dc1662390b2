"""The section of a report on a training run."""

import math

import pandas as pd

from centaurlab.analyses.finished import Run, _figure, _OWN_of_jobs, command, facts_of, folder_pictures, folder_tables
from centaurlab.analyses.generalisation import estimate_of
from centaurlab.display.figures.curves import is_smoothed, training_curve
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
    loss, nll = (_along_steps(run, name) for name in ("train/loss", "eval/nll"))
    figures, tables, answers = [], [], [f"{run.about['steps']:,} steps from {base}."]
    if len(held_out):
        percent = held_out.assign(**{name: 100 * held_out[name].astype(float) for name in _CHANGE})
        known = percent[percent["change"].notna()]
        fell, rose = (known["change_high"] < 0).sum(), (known["change_low"] > 0).sum()
        alone = int(known["change_low"].isna().sum())
        before, after = known["nll_base"].mean(), known["nll"].mean()
        if len(known) < len(held_out):
            without = ", ".join(held_out["study"][percent["change"].isna()])
            answers.append(f"The NLL of held-out participants is not a number in {without}, left out of what follows.")
        answers.append(
            f"The NLL of held-out participants fell in {fell} of {len(known)} studies and rose in {rose or 'none'}, "
            f"by intervals that exclude zero; others show no clear change"
            f"{f', or have no interval ({alone})' if alone else ''}. Mean over studies: {number(before)} nats "
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
        caption = f"Loss of each logged step on training sessions{_smoothed(loss)}"
        caption += ", and NLL of held-out people." if len(nll) > 1 else "."
        figures.append(_figure("training", caption, training_curve(loss, nll)))
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


def post_training_section(run: Run) -> Section:
    """What a model was post-trained on; what that did to its predictions of people, a comparison says."""
    base, about = model_label(str(run.about["base"]["name"])), run.about
    method = str(run.config.get("posttrain", {}).get("method", "post-training")).upper()
    learned = f", {about['learned_tokens']:,} tokens to learn" if about.get("learned_tokens") else ""
    loss = _along_steps(run, "train/loss")
    caption = f"Loss of each logged step on training conversations{_smoothed(loss)}."
    is_nats = method == "SFT" and len(loss) > 1  # the loss of preferences is none of tokens
    return Section(
        title=f"Post-training of {run.folder.name}",
        question=f"What was {base} post-trained on?",
        answers=(
            f"{about['steps']:,} steps of {method} from {base} on {about['conversations']:,} conversations{learned}. "
            "What that changes in predicting people is said by 'centaurlab misalignment'.",
        ),
        explanation=(),
        figures=(
            *([_figure("training", caption, training_curve(loss, []))] if is_nats else []),
            *folder_pictures([run], _OWN_of_jobs),
        ),
        tables=folder_tables([run], _OWN_of_jobs),
        provenance=tuple(facts_of(run)),
        commands=(command(run),),
    )


def _smoothed(loss: list[tuple[int, float]]) -> str:
    return " (blue: running mean)" if is_smoothed(loss) else ""


def _along_steps(run: Run, name: str) -> list[tuple[int, float]]:
    along = [(step, values[name]) for _, step, values in read_metrics(run.folder) if name in values]
    return [(step, value) for step, value in along if math.isfinite(value)]


_CHANGE = ("change", "change_low", "change_high")
