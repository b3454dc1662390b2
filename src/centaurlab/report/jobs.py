"""Finished runs into sections of a report: for each job its question, and the answer that its numbers give."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from centaurlab.comparison import ScoreRun, check_same, read_run
from centaurlab.effect_table import read_effects, verdict
from centaurlab.effects import Effect, Estimate
from centaurlab.errors import UserError
from centaurlab.figures.curves import training_curve
from centaurlab.figures.intervals import Row, gain_forest, nll_rows, signed_forest
from centaurlab.figures.saved import effect_figures
from centaurlab.figures.style import SERIES, model_label, rendered
from centaurlab.generalisation import KINDS
from centaurlab.mean_nll import MeanNll, mean_nlls
from centaurlab.report.analyses import diagnosis, personas, templates
from centaurlab.report.content import INTERVAL, INTERVALS, NLL, ReportFigure, Section, interval, number, table_of
from centaurlab.report.folders import Run, command, provenance, score_runs_of
from centaurlab.report.tables import coverage_tables, folder_pictures, folder_tables, level_table, nll_table, pair_table
from centaurlab.runs import read_json, read_metrics

_OWN = frozenset({"effects", "studies", "forest", "pairs", "domains", "gains"})
"""Files of which a section makes tables and figures of its own."""
_UNDECIDED = "An interval that includes zero means: these data do not tell the two models apart."


def sections(runs: Sequence[Run]) -> list[Section]:
    """A section for each run, but one for all score runs, which must be of the same data and protocol."""
    of_job = {
        "misalignment": _misalignment,
        "generations": _misalignment,
        "generalisation": _generalisation,
        "train": _training,
        "diagnosis": diagnosis,
        "personas": personas,
        "templates": templates,
    }
    scored = [run for run in runs if run.job == "score"]
    made = [_scores(scored)] if scored else []
    return made + [of_job.get(run.job, _any_job)(run) for run in runs if run.job != "score"]


def _scores(runs: Sequence[Run]) -> Section:
    if len(runs) > len(SERIES):
        raise UserError(f"one report shows at most {len(SERIES)} score runs; name fewer of the {len(runs)}")
    scored = [read_run(run.folder) for run in runs]
    check_same(scored)
    names = _labels(scored)
    means = [mean_nlls(run) for run in scored]
    data = str(scored[0].about["data"]["name"])
    rows = [
        Row("mean over studies" if mean.level == "overall" else mean.name, mean.nll, i, mean.level == "overall")
        for i, of_run in enumerate(means)
        for mean in of_run
    ]
    caption = f"Mean NLL of each study on {data}, with {INTERVAL}s."
    answers = [f"{_mean_answer(name, of_run)}." for name, of_run in zip(names, means, strict=True)]
    if len(runs) > 1:
        answers.append(
            "Whether two models differ is seen on the same responses: compare them with eval/misalignment.py."
        )
    figure = nll_rows(rows, names, f"{names[0]} on {data}" if len(names) == 1 else f"Models on {data}")
    return Section(
        title=f"Scores on {data}",
        question=f"How well {'do models' if len(runs) > 1 else f'does {names[0]}'} predict what people did in {data}?",
        answers=tuple(answers),
        explanation=(NLL, INTERVALS),
        figures=(_figure("nll", caption, figure), *folder_pictures(runs, _OWN)),
        tables=(*map(nll_table, names, means), *coverage_tables(names, runs), *folder_tables(runs, _OWN)),
        provenance=tuple(fact for run in runs for fact in provenance(run)),
        commands=tuple(command(run) for run in runs),
    )


def _misalignment(run: Run) -> Section:
    effects = read_effects(run.folder)
    first = effects[0]
    several = first.group != "pair"
    shown = [_labelled(effect) for effect in effects]
    base, post = ("the base models", "the post-trained models") if several else (shown[0].base, shown[0].group_name)
    of_first = [e for e in shown if (e.group, e.group_name) == (shown[0].group, shown[0].group_name)]
    includes_zero = first.d.low <= 0 <= first.d.high
    captions = {
        "forest": f"d of each study, with {INTERVAL}s; filled: it excludes zero.",
        "pairs": "d over all studies, of each pair and on average.",
        "domains": "d of each domain; grey: the models of the paper, which were scored on Psych-201.",
    }
    figures = [_figure(name, captions[name], figure) for name, figure in effect_figures(effects).items()]
    tables = [
        level_table("Studies", of_first, "study"),
        *([level_table("Domains", of_first, "domain")] if any(e.level == "domain" for e in of_first) else []),
    ]
    if several:
        tables.insert(0, pair_table(shown))
    models = list(score_runs_of(run))
    gone = [name for name, scored in models if scored is None]
    found = {name: scored for name, scored in models if scored is not None}
    joined = (
        f"Both models of a pair are compared on the same {first.n_responses:,} responses of "
        f"{first.n_participants:,} people; left out, scored by one model alone: {first.unmatched_base:,} of the base, "
        f"{first.unmatched_post:,} of the post-trained."
    )
    return Section(
        title="Post-trained models against their bases" if several else f"{post} against {base}",
        question=f"Do {post} predict people worse than {base}?"
        if several
        else f"Does {post} predict people worse than {base}?",
        answers=(
            f"Over {first.n_studies:,} studies: {verdict(shown[0])}.{f' {_UNDECIDED}' if includes_zero else ''}",
            *([f"By size and generation: {run.about['verdict']}."] if "verdict" in run.about else []),
        ),
        explanation=(
            f"Per study, d is the mean NLL of {post} minus that of {base} on the same responses, in units of the "
            "standard deviation of NLLs over responses (the root of the two models' mean variance). "
            f"A positive d: {post} predict{'' if several else 's'} people worse; by convention 0.2 is small, 0.5 "
            "medium and 0.8 large (Cohen, 1988).",
            NLL,
            f"{INTERVALS} Paired d is over people: the mean difference by the standard deviation of the differences.",
            joined,
            *([f"The scores of {', '.join(gone)} are not at hand: their coverage is not shown."] if gone else []),
        ),
        figures=(*figures, *folder_pictures([run], _OWN)),
        tables=(
            *tables,
            *coverage_tables(list(map(model_label, found)), list(found.values())),
            *folder_tables([run], _OWN),
        ),
        provenance=tuple(provenance(run)),
        commands=tuple(dict.fromkeys([*(command(scored) for scored in found.values()), command(run)])),
    )


def _generalisation(run: Run) -> Section:
    base, centaur = (model_label(str(run.config.get(name, name))) for name in ("base", "adapter"))
    gains, summaries = pd.DataFrame(run.about["studies"]), run.about["summaries"]
    numbers = gains.select_dtypes("number").columns.difference(["participants", "responses"])
    figure = gain_forest(run.about["studies"], summaries, centaur, base)
    gains = gains.astype(dict.fromkeys(["d", "d_low", "d_high", *numbers], float))
    scored = [Run(folder, read_json(folder / "run.json"), {}) for folder in sorted(run.folder.glob("*/"))]
    scored = [part for part in scored if part.about.get("job") == "score"]
    gains["kind"] = gains["kind"].map(lambda kind: KINDS.get(kind, kind))
    columns = {"study": "study", "kind": "judged on", "participants": "people", "responses": "responses"}
    columns |= {"d": "d", "nll_base": "NLL base", "nll_centaur": "centaur"}
    columns |= {"nll_uniform": "uniform", "nll_marginal": "marginal"}
    return Section(
        title=f"{centaur} on people and studies that it never saw",
        question=f"Does {centaur}, trained on people, predict other people, and other studies, better than {base}?",
        answers=tuple(_gain_answer(summary, base, centaur) for summary in summaries),
        explanation=(
            f"Per study, d is the mean NLL of {base} minus that of {centaur} on the same responses, in units of the "
            f"standard deviation of NLLs over responses. A positive d: {centaur} predicts people better.",
            NLL,
            INTERVALS,
        ),
        figures=(
            _figure("gains", f"d of each study, with {INTERVAL}s; filled: it excludes zero.", figure),
            *folder_pictures([run], _OWN),
        ),
        tables=(
            table_of(
                "Studies",
                gains,
                columns,
                "NLL of base, centaur and two simple predictions; uniform: every answer of the session equally likely; "
                "marginal: as often as training participants gave it",
            ),
            *coverage_tables([part.folder.name for part in scored], scored),
            *folder_tables([run], _OWN),
        ),
        provenance=(
            *provenance(run),
            *dict.fromkeys(fact for part in scored for fact in provenance(part) if fact[0] == "model"),
        ),
        commands=(command(run),),
    )


def _training(run: Run) -> Section:
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
            f"by intervals that exclude zero; others show no clear change. Mean over studies: {before:.3f} nats per "
            f"response before, {after:.3f} after (an interval over studies comes from eval/generalisation.py)."
        )
        rows = [Row(row["study"], _estimate(row, "change")) for row in percent.to_dict("records")]
        changes = signed_forest(
            rows, f"Held-out participants, against {base}", "worse", "better", "change of the NLL (%)"
        )
        figures.append(_figure("held-out", f"Change of the NLL with {INTERVAL}s.", changes))
        columns = {"study": "study", "participants": "people", "responses": "responses", "nll_base": "NLL before"}
        tables.append(
            table_of("Held-out participants", percent, columns | {"nll": "NLL after", "change": "change (%)"})
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
        figures=(*figures, *folder_pictures([run], _OWN)),
        tables=(*tables, *folder_tables([run], _OWN)),
        provenance=(*provenance(run), *facts),
        commands=(command(run),),
    )


def _any_job(run: Run) -> Section:
    """A job without a section of its own: its verdict, if it wrote one, its figures and its tables."""
    overall = run.about.get("overall")
    said = run.about.get("verdict") or (overall.get("verdict") if isinstance(overall, dict) else None)
    return Section(
        title=f"{run.job.capitalize()}: {run.folder.name}",
        question=f"What did the {run.job} run find?",
        answers=(f"{said}." if said else "The tables say it; the run states no verdict.",),
        explanation=(INTERVALS,),
        figures=folder_pictures([run]),
        tables=folder_tables([run]),
        provenance=tuple(provenance(run)),
        commands=(command(run),),
    )


_CHANGE = ("change", "change_low", "change_high")


def _figure(name: str, caption: str, figure: Figure) -> ReportFigure:
    return ReportFigure(name, caption, "svg", rendered(figure, "svg"))


def _mean_answer(name: str, means: Sequence[MeanNll]) -> str:
    overall = means[0]
    size = f"{overall.nll.value:.3f} nats per response"
    bounds = interval(overall.nll.low, overall.nll.high)
    known = f"{INTERVAL} {bounds.text}" if bounds.key else "no interval: it needs two studies or more"
    return f"{name}: a mean NLL of {size} over {len(means) - 1} studies ({known})"


def _gain_answer(summary: Mapping[str, Any], base: str, centaur: str) -> str:
    on, d = KINDS.get(str(summary["kind"]), str(summary["kind"])), _estimate(summary, "d")
    where = f"On {on} ({summary['studies']} stud{'y' if summary['studies'] == 1 else 'ies'})"
    if not math.isfinite(d.value):
        return f"{where}: d is not defined."
    size = f"d = {number(d.value, is_signed=True).text}"
    if not math.isfinite(d.low):
        better, worse = (centaur, base) if d.value > 0 else (base, centaur)
        return f"{where}: {better} predicts people better than {worse} ({size}; no interval: it needs two studies)."
    size += f", {INTERVAL} {interval(d.low, d.high, is_signed=True).text}"
    if d.low <= 0 <= d.high:
        return f"{where}: no clear difference between {base} and {centaur} ({size}, which includes zero). {_UNDECIDED}"
    better, worse = (centaur, base) if d.value > 0 else (base, centaur)
    return f"{where}: {better} predicts people better than {worse} ({size}, which excludes zero)."


def _estimate(row: Mapping[Any, Any], name: str) -> Estimate:
    values = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    return Estimate(*(float("nan") if value is None else float(value) for value in values))


def _labelled(effect: Effect) -> Effect:
    """With short names of its models, where these still tell them apart."""
    base, post = model_label(effect.base), model_label(effect.group_name)
    return effect if effect.group != "pair" or base == post else replace(effect, base=base, group_name=post)


def _labels(runs: Sequence[ScoreRun]) -> list[str]:
    names = [model_label(run.model) for run in runs]
    names = names if len(set(names)) == len(names) else [run.model for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]
