"""A training run into its checkpoints, which are scored and asked one by one."""

from pathlib import Path

import numpy as np

from centaurlab.analyses.analysis import Finding
from centaurlab.analyses.trajectory import ANALYSIS, Point, TrajectoryArguments, find_trajectory
from centaurlab.jobs.job import Asked, Plan, Scored, job, one_round
from centaurlab.results.joined import CommonResponses
from centaurlab.runs.folder import checkpoint_steps, read_config
from centaurlab.runs.integrity import check_asked, run_of
from centaurlab.runtime.errors import UserError
from centaurlab.stats.effects import estimate_effects, joint_draws
from centaurlab.stats.frontier import share_on_frontier
from centaurlab.stats.sums import compare


def plan(asked: Asked[TrajectoryArguments]) -> Plan:
    """The base model and every checkpoint, each also as an assistant."""
    own, run = asked.own, Path(asked.own.run)
    saved = checkpoints(run)
    kept = [*saved[:-1][own.every - 1 :: own.every], saved[-1]]
    base = own.base or base_model(run)
    steps = {base: 0} | {str(path): step for step, path in kept}

    def compute(scored: Scored) -> Finding:
        # Here and not above: it imports torch, and --help answers without it.
        from centaurlab.scoring.assistant import assistant_quality, held_out_items

        items = held_out_items(own.items) if own.items else []
        estimates = asked.estimates
        common = CommonResponses(scored.runs[name].folder for name in steps)
        points, about, pairs, solved = [], [], [], []
        for name, step in steps.items():
            scores = scored.runs[name]
            quality = None
            if items:
                quality = assistant_quality(asked.load.of(name), items, scores.folder, run / "chat_template.jinja")
            pair = compare(scores, scored.runs[base], among=common)
            effects = estimate_effects([pair], estimates.resamples, estimates.seed) if step else []
            points.append(Point(step, name, effects, quality.overall if quality else None))
            pairs.append(pair)
            solved.append(quality.solved if quality else ())
            assistant = quality.as_dict() if quality else None
            about.append({"step": step, "model": scores.about["model"], "assistant": assistant})
        sure = None
        if items:
            d_MB = joint_draws(pairs, estimates.resamples, estimates.seed)
            d_MB[0] = 0.0  # of the base against itself
            sure = share_on_frontier(d_MB, np.array(solved, bool), estimates.seed).tolist()
        return find_trajectory(points, {"run": own.run, "points": about}, sure, common.note)

    return Plan({"": one_round(asked, list(steps))}, compute, joins=own.run)


def checkpoints(run: Path) -> list[tuple[int, Path]]:
    """The steps and folders of a run's checkpoints, in order.

    Raises ``UserError`` where there are none, or they are of different trainings.
    """
    found = [(step, path) for step, path in checkpoint_steps(run) if (path / "trainer_state.json").exists()]
    if not found:
        raise UserError(f"{run} holds no checkpoints; train with save_strategy: steps and a large save_total_limit")
    of_run = {run_of(path): path for _, path in found}
    of_run.pop(None, None)
    if len(of_run) > 1:
        raise UserError(f"{' and '.join(map(str, of_run.values()))} are of different trainings; take the other's away")
    return found


def base_model(run: Path) -> str:
    """The model that a run started from, as it was named; ``UserError`` where the folder does not say it."""
    check_asked(run)
    asked = read_config(run).get("model") or {}
    name, revision = asked.get("model_name_or_path"), asked.get("model_revision") or "main"
    if not name:
        raise UserError(f"{run} is not the folder of 'centaurlab posttrain' or 'centaurlab train'; or name --base")
    if revision != "main":
        raise UserError(
            f"{run} was trained on revision {revision} of {name}; download that, and name its folder as --base"
        )
    return str(name)


COMMAND = job(ANALYSIS, plan)
