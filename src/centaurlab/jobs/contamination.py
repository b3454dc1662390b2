"""Sessions in the published letters and in others, each scored by every model."""

from dataclasses import astuple
from pathlib import Path

import pandas as pd

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.contamination import ANALYSIS, ContaminationArguments, find_contamination
from centaurlab.catalog.studies.find import load_studies
from centaurlab.data.source import open_source
from centaurlab.jobs.job import Asked, Plan, Round, Scored, everywhere, job
from centaurlab.prompts.relabelled import RelabelledContext, find_lettered
from centaurlab.runtime.errors import UserError


def plan(asked: Asked[ContaminationArguments]) -> Plan:
    """Every model on every session in all its letters."""
    own = load_studies(Path(asked.data.study_module)) if asked.data.study_module else {}
    lettered, refused = find_lettered(open_source(asked.data), asked.scoring.protocol, own)
    if not lettered:
        why = "; ".join(f"{study}: {reason}" for study, reason in refused)
        raise UserError(f"{asked.data.data}: no session has letters that were drawn for its person ({why})")
    context = RelabelledContext(lettered, asked.own.relabelings, asked.estimates.seed)
    models = {name: asked.load.of(name) for name in asked.own.model_name_or_path}
    rounds = {
        "letters": Round(
            *(models, asked.data, asked.folder / "scores"),
            context_of=everywhere(context),
            tolerant=len(models) > 1,
            condition="letters drawn anew",
        )
    }
    places = {tuple(map(str, astuple(key))): (one.n_responses, one.n_mentions) for key, one in lettered.items()}
    left_out = pd.DataFrame([(*about, n) for about, n in sorted(refused.items())], columns=["study", "why", "sessions"])

    def compute(scored: Scored) -> Finding:
        if not scored.runs:
            raise UserError(f"no model is left; {scored.missing}")
        return find_contamination(scored.runs, places, asked.own.relabelings, left_out, asked.estimates)

    return Plan(rounds, compute)


COMMAND = job(ANALYSIS, plan)
