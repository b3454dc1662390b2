"""Pairs of whole families into scores, each model once, and these into NLLs and effects by size and generation."""

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.generations import ANALYSIS, GenerationArguments, find_generations
from centaurlab.analyses.misalignment import comparable
from centaurlab.catalog.pairs import named_pairs
from centaurlab.jobs.job import Asked, Plan, Scored, job, one_round


def plan(asked: Asked[GenerationArguments]) -> Plan:
    """Every model of the pairs once; of many pairs, those whose models could be scored are compared."""
    pairs = list({(p.base, p.post_trained): p for named in asked.own.pairs for p in named_pairs(named)}.values())
    names = [name for pair in pairs for name in (pair.base, pair.post_trained)]

    def compute(scored: Scored) -> Finding:
        return find_generations(comparable(pairs, scored.runs, scored.missing), scored.runs, asked.estimates)

    return Plan({"": one_round(asked, names, tolerant=len(pairs) > 1)}, compute)


COMMAND = job(ANALYSIS, plan)
