"""Sessions in the published letters and order and in others, each scored by every model."""

from dataclasses import asdict, astuple
from pathlib import Path

import pandas as pd

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.contamination import (
    ANALYSIS,
    LETTERS,
    ORDER,
    ContaminationArguments,
    find_contamination,
    membership_table,
)
from centaurlab.catalog.studies.find import load_studies
from centaurlab.data.source import open_source
from centaurlab.jobs.job import Asked, Plan, Round, Scored, everywhere, job
from centaurlab.prompts.context import Context
from centaurlab.prompts.relabelled import RelabelledContext, find_lettered
from centaurlab.prompts.reordered import ReorderedContext, find_drawn_orders
from centaurlab.runtime.errors import UserError


def plan(asked: Asked[ContaminationArguments]) -> Plan:
    """Every model on every session in all its letters, and in all its orders."""
    own = load_studies(Path(asked.data.study_module)) if asked.data.study_module else {}
    protocol, n, seed = asked.scoring.protocol, asked.own.relabelings, asked.estimates.seed
    lettered, no_letters = find_lettered(open_source(asked.data), protocol, own)
    drawn, no_order = find_drawn_orders(open_source(asked.data), protocol, own)
    contexts: dict[str, Context] = {}
    if lettered:
        contexts[LETTERS] = RelabelledContext(lettered, n, seed)
    if drawn:
        contexts[ORDER] = ReorderedContext(drawn, n, seed, own)
    refused = {LETTERS: no_letters, ORDER: no_order}
    rows = [(test, *about, k) for test, counts in refused.items() for about, k in sorted(counts.items())]
    if not contexts:
        why = "; ".join(f"{test}, {study}: {reason}" for test, study, reason, _ in rows)
        raise UserError(f"{asked.data.data}: no session has letters or an order that were drawn ({why})")
    models = {name: asked.load.of(name) for name in asked.own.model_name_or_path}
    rounds = {
        test: Round(
            *(models, asked.data, asked.folder / "scores" / test),
            context_of=everywhere(context),
            tolerant=len(models) > 1,
            condition=f"{test} drawn anew",
        )
        for test, context in contexts.items()
    }
    places = {
        LETTERS: {tuple(map(str, astuple(key))): (one.n_responses, one.n_mentions) for key, one in lettered.items()},
        ORDER: {tuple(map(str, astuple(key))): numbers for key, numbers in drawn.items()},
    }
    left_out = pd.DataFrame(rows, columns=["test", "study", "why", "sessions"])

    def compute(scored: Scored) -> Finding:
        # Here and not above: it imports torch, and --help answers without it.
        from centaurlab.scoring.membership import memberships

        if not scored.runs:
            raise UserError(f"no model is left; {scored.missing}")
        tested = open_source(asked.data, frozenset({*lettered, *drawn}))
        by_model = {
            name: memberships(models[name], tested, run.folder, protocol, asked.scoring.max_length)
            for name, run in scored.runs.items()
        }
        told = membership_table({name: {key: asdict(one) for key, one in of.items()} for name, of in by_model.items()})
        return find_contamination(scored.rounds, places, n, left_out, asked.estimates, told)

    return Plan(rounds, compute)


COMMAND = job(ANALYSIS, plan)
