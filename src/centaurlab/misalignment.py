"""Pairs of models into one table of effects: every model scored once, what fails left out and named."""

import gc
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from accelerate import PartialState

from centaurlab.bootstrap import CONFIDENCE
from centaurlab.catalog import ModelPair
from centaurlab.comparison import ScoreRun, check_same, is_score_folder, read_run
from centaurlab.effect_table import verdict, write_effects
from centaurlab.effects import Effect, compare, estimate_effects
from centaurlab.errors import UserError
from centaurlab.measure import ScoreArguments, measure
from centaurlab.models import ModelArguments
from centaurlab.prompts import Context
from centaurlab.runs import RunFolder, provenance
from centaurlab.sources import DataArguments
from centaurlab.tracking import TrackingArguments


@dataclass
class LoadArguments(ModelArguments):
    """How models that are scored first are loaded, all in the same way."""

    model_name_or_path: str = field(default="", init=False)
    model_revision: str | None = field(default=None, init=False)
    adapter_name_or_path: str | None = field(default=None, init=False)


def score_models(
    names: Iterable[str],
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    arguments: ScoreArguments,
    tolerant: bool = False,
    tracking: TrackingArguments | None = None,
    context_of: Callable[[ModelArguments], Context] | None = None,
) -> tuple[dict[str, ScoreRun], dict[str, str]]:
    """The scores of each name, a folder of scores or a model; and, if ``tolerant``, what stood in the way of others.

    Models are scored in turn, each into a folder of its own in ``arguments.output_dir``, and in the context that
    ``context_of`` gives it. On several processes the first failure is raised whether ``tolerant`` or not: it may be
    one process's alone, while the others wait.
    """
    names = tuple(dict.fromkeys(names))
    runs = {name: read_run(Path(name)) for name in names if is_score_folder(Path(name))}
    failures: dict[str, str] = {}
    for name in [name for name in names if name not in runs]:
        folder = Path(arguments.output_dir) / (re.sub(r"[^\w.-]+", "_", name).strip("._") or "_")
        try:
            model = replace(model_arguments, model_name_or_path=name)
            context = context_of(model) if context_of else None
            scores = measure(model, data_arguments, replace(arguments, output_dir=str(folder)), tracking, context)
            runs[name] = read_run(scores)
            PartialState().print(f"scored {name}: {folder}")
        except (UserError, torch.OutOfMemoryError) as error:
            if not tolerant or PartialState().num_processes > 1:
                raise
            failures[name] = " ".join(str(error).split())
            print(f"left out {name}: {failures[name]}")
        gc.collect()  # or this model and the next are in memory together
    for run in runs.values():
        if run.n_failed:
            PartialState().print(
                f"note: {run.folder} lacks {run.n_failed} sessions that could not be scored (run.json names them): "
                "these are in no comparison"
            )
    return runs, failures


def compare_pairs(
    folder: RunFolder, pairs: Sequence[ModelPair], runs: Mapping[str, ScoreRun], n_resamples: int, seed: int
) -> list[Effect]:
    """Effects of pairs of scored models, which are also written into ``folder`` with where they come from.

    Raises ``UserError`` unless all models were scored on the same sessions by the same protocol.
    """
    used = {name: runs[name] for pair in pairs for name in (pair.base, pair.post_trained)}
    check_same(used.values())
    compared = [compare(runs[p.base], runs[p.post_trained], p.post_training, p.family) for p in pairs]
    effects = estimate_effects(compared, n_resamples, seed)
    write_effects(folder.path, effects)
    data = next(iter(used.values())).about["data"]
    folder.write_json(
        "run.json",
        provenance()
        | {
            "job": folder.job,
            "overall": asdict(effects[0]) | {"verdict": verdict(effects[0])},
            "bootstrap": {"resamples": n_resamples, "seed": seed, "confidence": CONFIDENCE},
            "data": {
                "name": data["name"],
                "fingerprint": data["fingerprint"],
                "studies": {study: {"fingerprint": about["fingerprint"]} for study, about in data["studies"].items()},
            },
            "models": [
                {"asked": name, "folder": str(run.folder), "protocol": run.about["protocol"], "failed": run.n_failed}
                | run.about["model"]
                for name, run in used.items()
            ],
            "pairs": [asdict(pair) for pair in pairs],
        },
    )
    of_first_group = {f"d/{e.level}/{e.name}": e.d.value for e in effects if e.group == effects[0].group}
    of_others = [e for e in effects if e.level == "overall" and e.group != effects[0].group]
    overall = effects[0].d
    folder.log(
        {"effect/d": overall.value, "effect/d_low": overall.low, "effect/d_high": overall.high}
        | of_first_group
        | {f"d/{e.group}/{e.group_name}": e.d.value for e in of_others}
    )
    return effects
