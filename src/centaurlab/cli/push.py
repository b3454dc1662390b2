"""The command that gives an adapter, or scores, to the Hugging Face Hub: what is meant for others, and nothing else."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from centaurlab.display.markdown import table_lines
from centaurlab.display.tables import rows_of
from centaurlab.jobs.command import Command
from centaurlab.models.checkpoints import Checkpoint
from centaurlab.results.run import is_score_folder, read_run, without_folders
from centaurlab.results.table import NLL, PERSON, SCORE_SCHEMA
from centaurlab.runs.found import BASE_WEIGHTS, MADE_OF
from centaurlab.runs.integrity import FILES, RECORD, digests, read_json, sealed
from centaurlab.runtime.errors import UserError, one_line
from centaurlab.runtime.names import counted
from centaurlab.runtime.terminal import say
from centaurlab.stats.sequential import sample_note

DESCRIPTION = """Give an adapter, or the scores of a run, to a repository of the Hugging Face Hub.

examples:
  centaurlab push runs/centaur --repo my-lab/centaur-gemma --dry_run
  centaurlab push runs/centaur --repo my-lab/centaur-gemma --private
  centaurlab push runs/gemma --repo my-lab/scores-of-gemma

Of an adapter: weights, configuration, tokenizer, chat template and card. Of scores: the table and what the run says of
model and data, with a card; no texts of sessions, no command, no folder of this machine. The table holds participants'
ids, and how predictable each person was. --dry_run says what would be given, and gives nothing.
"""
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "README.md", "chat_template.jinja", "tokenizer*")
_TOLD = (
    *("centaurlab", "versions", "time", "job", "model", "protocol", "context", "engine", "sample", "coverage"),
    *("nll_mean", "accuracy_mean"),
)
_SCORES = "scores.parquet"
_TOLD_OF_DATA = ("name", "fingerprint", "studies")


@dataclass
class PushArguments:
    """What is given to whom."""

    run_dir: str = field(metadata={"positional": True, "metavar": "RUN", "help": "folder of an adapter or of scores"})
    repo: str = field(metadata={"help": "repository of the hub, such as my-lab/my-centaur; made where it is not there"})
    private: bool = field(default=False, metadata={"help": "a repository that is made is seen by its owner alone"})
    base_model: str | None = field(
        default=None, metadata={"help": "hub id of an adapter's base, where the adapter names a folder"}
    )
    dry_run: bool = field(default=False, metadata={"help": "say what would be given, and give nothing"})


def run(asked: PushArguments) -> None:
    """Lay out the files in a folder of their own, say which, and upload them."""
    from huggingface_hub.errors import HFValidationError  # here: it takes a while to import
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    folder = Path(asked.run_dir)
    try:
        validate_repo_id(asked.repo)
    except HFValidationError as error:
        raise UserError(f"--repo: {one_line(error)}") from error
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        if Checkpoint(str(folder), folder).is_adapter:
            kind = "model"
            _lay_out_adapter(folder, out, asked)
        elif is_score_folder(folder):
            kind = "dataset"
            _lay_out_scores(folder, out)
        else:
            raise UserError(
                f"{folder} holds neither an adapter nor scores; name the folder of a training or scoring run"
            )
        for path in sorted(out.iterdir()):
            say(f"{path.name}: {path.stat().st_size:,} bytes")
        if asked.dry_run:
            say(f"dry run: nothing was given to the {kind} repository {asked.repo}")
            return
        say(f"{kind}: {_upload(out, kind, asked)}")


def _lay_out_adapter(folder: Path, out: Path, asked: PushArguments) -> None:
    checkpoint = Checkpoint(str(folder), folder)
    config = checkpoint.config()
    checkpoint.check_files()
    checkpoint.weight_files()
    base = asked.base_model or str(config.get("base_model_name_or_path"))
    if Path(base).is_absolute() or base.startswith((".", "~")) or base.count("/") != 1 or Path(base).exists():
        raise UserError(
            f"adapter {folder} names {base} as its base, which nobody else has; give the base's id on the hub as "
            "--base_model, or merge the two and share the model: centaurlab merge"
        )
    for path in sorted({path for name in _ADAPTER for path in folder.glob(name) if path.is_file()}):
        (out / path.name).write_bytes(path.read_bytes())
    text = json.dumps(config | {"base_model_name_or_path": base}, indent=2, sort_keys=True)
    (out / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    if not (out / "README.md").exists():
        raise UserError(f"{folder} holds no card (README.md); say in one what the adapter was trained on, and for what")
    _set_base(out / "README.md", base)
    if weights := checkpoint.base_weights():
        (out / MADE_OF).write_text(json.dumps({BASE_WEIGHTS: weights}), encoding="utf-8")


def _set_base(card: Path, base: str) -> None:
    """Name the base in the card's metadata, by which the hub links them."""
    from huggingface_hub import ModelCard  # here: it takes a while to import

    try:
        loaded = ModelCard.load(card)
    except ValueError as error:
        raise UserError(f"the metadata of {card.name} cannot be read ({one_line(error)}); mend them") from error
    loaded.data.base_model = base
    loaded.save(card)


def _lay_out_scores(folder: Path, out: Path) -> None:
    scored = read_run(folder)
    scored.table([NLL])  # raises where it is not whole
    unknown = set(pq.read_schema(folder / _SCORES).names) - {*SCORE_SCHEMA.names, PERSON}
    if unknown:
        raise UserError(
            f"{folder / _SCORES} has columns of somebody else's ({', '.join(sorted(unknown))}), which may hold texts; "
            "give the scores as 'centaurlab score' writes them"
        )
    about = read_json(folder / RECORD)
    data = {name: value for name, value in about["data"].items() if name in _TOLD_OF_DATA}
    told = {name: about[name] for name in _TOLD if name in about} | {"data": data}
    for study in data["studies"].values():
        study.pop("options_problem", None)  # which quotes a session
    told = without_folders(told) | {"failed_sessions": ["not told"] * scored.n_failed}  # their lines may quote texts
    (out / _SCORES).write_bytes((folder / _SCORES).read_bytes())
    record = told | {FILES: digests(out, [out / _SCORES])}
    (out / RECORD).write_text(json.dumps(sealed(record), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (out / "README.md").write_text(_scores_card(told), encoding="utf-8")


def _scores_card(told: Mapping[str, Any]) -> str:
    model, data = told["model"], told["data"]
    shown = ("people", "responses", "nll")
    rows = [(study, *(known.get(name) for name in shown)) for study, known in data["studies"].items()]
    table = table_lines(rows_of("", ("study", "people", "responses", "NLL (nats)"), rows))
    missing = [f"A sample: {sampled}."] if (sampled := sample_note(told)) else []
    if failed := len(told["failed_sessions"]):
        missing.append(f"{counted(failed, 'session')} could not be scored.")
    return f"""---
tags: [centaurlab, human-likeness]
configs:
- config_name: default
  data_files: scores.parquet
---

# How well {model["name"]} predicts people

One row per human response of `{data["name"]}`: the negative log-likelihood, in nats, that the model gives what the
person did after everything before it. Lower is more human-like. Written by centaurlab {told.get("centaurlab", "")};
texts of sessions are not in it.{"".join(f" {sentence}" for sentence in missing)}

```python
import pandas as pd

scores = pd.read_parquet("scores.parquet")
print(scores.groupby("study")["nll"].mean())
```

{table}

Model, data and their fingerprints: `run.json`. `centaurlab compare` and `centaurlab misalignment` take this folder.
"""


def _upload(out: Path, kind: str, asked: PushArguments) -> str:
    """Make the repository unless it is there, and give it the files in one commit; its address."""
    from huggingface_hub import HfApi  # here: it takes a while to import
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    api = HfApi()
    try:
        made = api.create_repo(asked.repo, repo_type=kind, private=asked.private or None, exist_ok=True)
        api.upload_folder(repo_id=asked.repo, repo_type=kind, folder_path=out, commit_message="From centaurlab push")
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0
        remedy = "log in with a token that may write: hf auth login" if status in (401, 403) else "try again"
        raise UserError(f"the hub did not take it ({one_line(error, 160)}); {remedy}") from error
    return str(made)


COMMAND = Command(DESCRIPTION, (PushArguments,), run)
