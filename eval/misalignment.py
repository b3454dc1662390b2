"""Compare how well two models predict people: effect sizes per study, domain and overall, with 95 % intervals.

examples:
  python eval/misalignment.py --base runs/gemma --post runs/other --output_dir runs/effect
  accelerate launch eval/misalignment.py --base Qwen/Qwen3-8B-Base --post Qwen/Qwen3-8B --data starter \\
      --output_dir runs/qwen3-8b

--base and --post are folders of scores (eval/score.py), or models, which are then scored into
<output_dir>/scores first, as far as they are not. Positive effects: --post predicts people worse than --base.
Output: effects.parquet, effects.csv, run.json (see README.md).
"""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState

from centaurlab.allocator import keep_freed_memory
from centaurlab.arguments import parse_arguments
from centaurlab.bootstrap import CONFIDENCE
from centaurlab.comparison import check_same, is_score_folder, join_scores, read_run
from centaurlab.effect_table import print_effects, verdict, write_effects
from centaurlab.effects import ComparedPair, estimate_effects, sum_study
from centaurlab.errors import UserError, exit_on_user_error
from centaurlab.measure import ScoreArguments, measure
from centaurlab.models import ModelArguments
from centaurlab.runs import RunFolder, provenance
from centaurlab.sources import DataArguments


@dataclass
class MisalignmentArguments:
    """What is compared with what."""

    base: str = field(metadata={"help": "folder of scores, or a model: what --post is compared with"})
    post: str = field(metadata={"help": "folder of scores, or a model: positive effects mean that it is worse"})
    output_dir: str = field(metadata={"help": "folder for effects.parquet, effects.csv and run.json"})
    resamples: int = field(default=2000, metadata={"help": "bootstrap resamples of studies and participants"})
    seed: int = field(default=0, metadata={"help": "seed of the bootstrap"})
    protocol: Literal["full", "paper"] = field(default="full", metadata={"help": "for models that are scored first"})
    max_length: int | None = field(default=None, metadata={"help": "for models that are scored first, in tokens"})


@dataclass
class LoadArguments(ModelArguments):
    """How models that are scored first are loaded, both in the same way."""

    model_name_or_path: str = field(default="", init=False)
    model_revision: str | None = field(default=None, init=False)
    adapter_name_or_path: str | None = field(default=None, init=False)


def scores_of(name: str, args: MisalignmentArguments, load_args: LoadArguments, data_args: DataArguments) -> Path:
    """The folder of scores that ``name`` is, or that scoring the model of that name makes."""
    if is_score_folder(Path(name)):
        return Path(name)
    folder = Path(args.output_dir) / "scores" / re.sub(r"[^\w.-]+", "_", name)
    model_args = ModelArguments(**(asdict(load_args) | {"model_name_or_path": name}))
    return measure(model_args, data_args, ScoreArguments(str(folder), args.protocol, args.max_length))


def main() -> None:
    keep_freed_memory()
    args, load_args, data_args = parse_arguments([MisalignmentArguments, LoadArguments, DataArguments], __doc__)
    if args.resamples < 1:
        raise UserError(f"--resamples is {args.resamples}; it must be at least 1")
    base, post = (scores_of(name, args, load_args, data_args) for name in (args.base, args.post))
    if not PartialState().is_main_process:
        return
    folder = RunFolder(Path(args.output_dir), "misalignment")
    with folder.lock():
        runs = [read_run(base), read_run(post)]
        check_same(runs)
        sums = [sum_study(scores) for scores in join_scores(base, post)]
        effects = estimate_effects([ComparedPair(runs[0].model, runs[1].model, sums)], args.resamples, args.seed)
        write_effects(folder.path, effects)
        sources: dict[str, Any] = {
            side: {"folder": str(run.folder)} | {key: run.about[key] for key in ("model", "protocol", "data")}
            for side, run in zip(("base", "post"), runs, strict=True)
        }
        overall = asdict(effects[0]) | {"verdict": verdict(effects[0])}
        bootstrap = {"resamples": args.resamples, "seed": args.seed, "confidence": CONFIDENCE}
        folder.write_json("config.json", asdict(args) | asdict(load_args) | asdict(data_args))
        folder.write_json(
            "run.json", provenance() | sources | {"job": "misalignment", "overall": overall, "bootstrap": bootstrap}
        )
        folder.log({f"d/{effect.level}/{effect.name}": effect.d.value for effect in effects})
    print_effects(effects)
    print(f"effects: {folder.path / 'effects.csv'}")


if __name__ == "__main__":
    exit_on_user_error(main)
