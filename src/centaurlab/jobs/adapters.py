"""n people into an adapter, by the training command, once."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from accelerate import PartialState

from centaurlab.analyses.realignment import RealignmentArguments
from centaurlab.jobs import train
from centaurlab.jobs.job import Asked
from centaurlab.models.identity import identify
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import check_asked, read_sound_json
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.runtime.arguments import found_recipe, parse_arguments, read_yaml
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.terminal import say
from centaurlab.training.resume import as_read_back

_ASKED = "asked.json"
_OURS = {"early_stopping_patience", "metric_for_best_model", "greater_is_better", "eval_steps", "eval_data"}
"""Keys of a YAML that say how to judge during training, which is not done here."""
_LOADING = ("dtype", "load_in_4bit", "load_in_8bit", "trust_remote_code", "attn_implementation")
_READING = ("data", "data_split", "data_revision", "on_malformed", "markers")


def train_adapter(
    asked: Asked[RealignmentArguments],
    texts: Mapping[str, str],
    n: int,
    order: int,
    n_sessions: int,
    folder: Path,
    tracking: TrackingArguments,
) -> None:
    """Train on the first ``n`` people of each study in an order, unless ``folder`` holds that adapter already.

    ``texts``: the fingerprint of these people's texts, by study; with others the adapter would be another.
    ``n_sessions``: of all these people, which is what a pass goes over. With how
    many processes it was trained does not count, since machines may share the work. The YAML that it is trained by
    stands beside the folder. Call it on every process of the launch. Raises ``UserError`` where the folder holds
    another adapter.
    """
    own, data = asked.own, asked.data
    config = read_yaml(found_recipe(Path(own.train_config)), "--train_config")
    options = {name.replace("-", "_"): value for name, value in config.items()}
    options = {name: value for name, value in options.items() if name not in {*_OURS, "model"}}
    options |= {name: getattr(asked.load, name) for name in _LOADING} | {name: getattr(data, name) for name in _READING}
    options |= {
        "model_name_or_path": own.model_name_or_path,
        "studies": ",".join(texts),
        "domains": None,
        "novel_studies": None,
        "split": "person",
        "split_seed": data.data_seed,
        "people_seed": order,
        "max_participants": n,
        "train_share": 1.0,
        "max_responses": None,
        "eval_participants": 1,
        "eval_strategy": "no",
        "load_best_model_at_end": False,
        "save_strategy": "steps",
        "output_dir": str(folder),
    }
    told = folder.with_name(f"{folder.name}.yaml")
    settings = _parsed(options, told)[1]
    known = {name: value for name, value in options.items() if name != "output_dir"}
    known |= {"passes": own.passes, "texts": dict(texts)}
    if n_sessions != n * len(texts):  # older versions counted one session of each, and trained for shorter
        known["sessions"] = n_sessions
    known["base"] = identify(asked.load.of(own.model_name_or_path)).fingerprint
    at_once = settings.per_device_train_batch_size * settings.gradient_accumulation_steps * settings.world_size
    if settings.packing:
        raise UserError("--train_config: with packing the steps of --passes cannot be counted; leave packing out")
    steps = math.ceil(own.passes * n_sessions / at_once)
    steps = min(steps, settings.max_steps) if settings.max_steps > 0 else steps
    options |= {"max_steps": steps, "save_steps": steps}
    if read_sound_json(folder / "run.json"):
        check_asked(folder)
        before = read_sound_json(folder / _ASKED)
        if any(before.get(name) != value for name, value in as_read_back(known).items()):
            raise UserError(
                f"{folder} holds an adapter that was trained otherwise, or on other texts; give another --output_dir "
                "or --adapters"
            )
        return
    parsed = _parsed(options, told)
    parsed[1].tracking = tracking.part(f"{n} people, order {order}")
    if PartialState().is_main_process:
        say(f"training on {n} people of each study, order {order}: {steps} steps")
        RunFolder(folder, "train").write_json(_ASKED, known)
    train.COMMAND.run(*parsed)


def _parsed(options: Mapping[str, Any], path: Path) -> tuple[Any, ...]:
    """The options by way of a file, as somebody would give them who trained the adapter alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(yaml.safe_dump({k: v for k, v in options.items() if v is not None}), encoding="utf-8")
    temporary.replace(path)
    assert train.COMMAND.all_arguments, "training takes TRL's options"
    return parse_arguments(train.COMMAND.all_arguments(), train.COMMAND.description, ["--config", str(path)])
