"""``split.json``: who was trained on and who is held out, written by training and read by evaluation."""

from dataclasses import dataclass
from pathlib import Path

from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import SessionKey
from centaurlab.runs.folder import read_json
from centaurlab.runtime.errors import UserError

KINDS = {"held_out": "held-out participants", "novel": "novel studies"}


@dataclass(frozen=True)
class Split:
    """What ``split.json`` of an adapter says.

    ``test``: the held-out people of the studies that it was trained on, who are in ``eval_data`` where that is given.
    """

    data: str
    eval_data: str | None
    train: frozenset[SessionKey]
    test: frozenset[SessionKey]
    novel_studies: tuple[str, ...]
    split_seed: int
    base_fingerprint: str


def read_split(adapter: Path) -> Split:
    """Who the adapter was trained on. ``UserError`` where the folder does not say it."""
    if not adapter.is_dir():
        raise UserError(f"there is no folder {adapter}; --adapter is a folder that 'centaurlab train' wrote")
    split = read_json(adapter / "split.json")
    if not split:
        raise UserError(
            f"{adapter} holds no split.json, or a damaged one, and so does not say who was trained on; give the whole "
            "folder that 'centaurlab train' wrote"
        )
    train, test = (
        frozenset(SessionKey(study, *person) for study, about in split["studies"].items() for person in about[half])
        for half in ("train", "test")
    )
    if not test and not split["novel_studies"]:
        raise UserError(f"training {adapter} held out nobody to judge it on; train with more people or --novel_studies")
    return Split(
        split["data"],
        split["eval_data"],
        train,
        test,
        tuple(split["novel_studies"]),
        int(split["split_seed"]),
        split["base_fingerprint"],
    )


def check_held_out(model: str, data: DataArguments) -> None:
    """Raise ``UserError`` where a model that was trained here was trained on people whom ``data`` calls held out."""
    for folder in (Path(model), Path(model).parent):  # the parent of a checkpoint
        split = read_json(folder / "split.json")
        if data.participants != "test" or split.get("data") != data.data:
            continue
        if split["eval_data"]:
            raise UserError(
                f"{model} was trained on everybody in {data.data}; its held-out people: --data {split['eval_data']}"
            )
        if split["split_seed"] != data.data_seed:
            raise UserError(
                f"{model} was trained with --split_seed {split['split_seed']}, which held out other people than "
                f"--participants test with --data_seed {data.data_seed}; give the same seed"
            )
