"""Models side by side: each is scored and asked, and stands in the table by a name of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.frontier import ANALYSIS, FrontierArguments, Standing, find_frontier
from centaurlab.jobs.job import Asked, Plan, Scored, job, one_round
from centaurlab.results.joined import CommonResponses
from centaurlab.runtime.errors import UserError
from centaurlab.stats.effect_table import effect_record
from centaurlab.stats.effects import estimate_effects, joint_draws
from centaurlab.stats.frontier import share_on_frontier
from centaurlab.stats.sums import compare


def plan(asked: Asked[FrontierArguments]) -> Plan:
    """The base and the named models, each also as an assistant."""
    base, own = asked.own.base, asked.own
    models = named_models([f"base={base}", *own.models])

    def compute(scored: Scored) -> Finding:
        # Here and not above: it imports torch, and --help answers without it.
        from centaurlab.scoring.assistant import assistant_quality, held_out_items

        items, estimates = held_out_items(own.items), asked.estimates
        common = CommonResponses(scored.runs[known.model].folder for known in models)
        standings, about, pairs, solved = [], [], [], []
        for number, known in enumerate(models):
            run = scored.runs[known.model]
            quality = assistant_quality(asked.load.of(known.model), items, run.folder)
            pair = compare(run, scored.runs[base], among=common)
            overall = estimate_effects([pair], estimates.resamples, estimates.seed)[0] if number else None
            pairs.append(pair)
            solved.append(quality.solved)
            standings.append(Standing(known.name, known.model, overall, quality.overall))
            identity = {"name": known.name, "folder": str(run.folder), "model": run.about["model"]}
            against_base = effect_record(overall) if overall else None
            about.append(identity | {"assistant": quality.as_dict(), "overall": against_base})
        d_MB = joint_draws(pairs, estimates.resamples, estimates.seed)
        d_MB[0] = 0.0  # of the base against itself
        sure = share_on_frontier(d_MB, np.array(solved, bool), estimates.seed)
        return find_frontier(standings, {"models": about}, sure.tolist(), common.note)

    return Plan({"": one_round(asked, [known.model for known in models])}, compute, joins=base)


@dataclass(frozen=True)
class NamedModel:
    """A model and what it is called in the table."""

    name: str
    model: str


def named_models(given: Sequence[str]) -> list[NamedModel]:
    """``NAME=MODEL`` or ``MODEL`` each; ``UserError`` where a name comes twice."""
    models = []
    for text in given:
        name, separator, model = text.partition("=")
        models.append(NamedModel(name.strip(), model.strip()) if separator else NamedModel(text, text))
    names = [model.name for model in models]
    for known in models:
        if not known.name or not known.model:
            raise UserError(
                f"--models: {known.name or known.model!r} is not NAME=MODEL; write for example sft=runs/sft"
            )
        if names.count(known.name) > 1:
            raise UserError(f"--models names {known.name!r} twice; give each model a name of its own: NAME=MODEL")
    return models


COMMAND = job(ANALYSIS, plan)
