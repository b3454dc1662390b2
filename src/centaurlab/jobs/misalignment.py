"""Pairs into scores, all sessions at once or, with a precision, as many people as it takes; and into effects."""

from contextlib import suppress
from pathlib import Path

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.misalignment import (
    ANALYSIS,
    MisalignmentArguments,
    comparable,
    find_misalignment,
    pair_effects,
)
from centaurlab.jobs.job import Asked, Plan, Scored, job, one_round
from centaurlab.results.run import is_score_folder
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.errors import IncompleteError, UserError
from centaurlab.stats.sequential import check_target


def plan(asked: Asked[MisalignmentArguments]) -> Plan:
    """Every model of the pairs once; of many pairs, those whose models could be scored are compared."""
    pairs = asked.own.asked_pairs()
    names = [name for pair in pairs for name in (pair.base, pair.post_trained)]
    scored_once = one_round(asked, names, tolerant=len(pairs) > 1)

    def compute(scored: Scored) -> Finding:
        found = comparable(pairs, scored.runs, scored.missing)
        return find_misalignment(found, scored.runs, pair_effects(found, scored.runs, asked.estimates))

    if asked.own.precision is None:
        return Plan({"": scored_once}, compute, joins=asked.own.base)
    base, post = names
    _check_precision(asked.own.precision, base, post)
    return Plan({"": scored_once}, compute, base, lambda tracking: _score_until_precise(asked, base, post, tracking))


def _check_precision(target: float, base: str, post: str) -> None:
    check_target(target)
    for name in (base, post):
        if is_score_folder(Path(name)):
            raise UserError(
                f"--precision scores both models on the same people, and {name} is a folder of scores; name its model, "
                "or leave --precision away"
            )
    if base == post:
        raise UserError(f"--precision needs two models; --base and --post are both {base}")


def _score_until_precise(
    asked: Asked[MisalignmentArguments], base: str, post: str, tracking: TrackingArguments
) -> Scored:
    # Here and not above: it imports torch, and --help answers without it.
    from centaurlab.jobs.precision import score_until_precise, scores_so_far

    folder = asked.folder / "scores"
    assert asked.own.precision is not None, "the plan says so"
    models = {name: asked.load.of(name) for name in (base, post)}
    with suppress(IncompleteError):  # of what is there first the effects, then the error again
        score_until_precise(models, asked.data, asked.scoring, folder, asked.own.precision, tracking.part())
    return Scored({"": scores_so_far(models, folder)})


COMMAND = job(ANALYSIS, plan)
