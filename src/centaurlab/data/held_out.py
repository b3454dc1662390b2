"""``split.json``: who was trained on and who is held out, written by training and read by evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import SessionKey
from centaurlab.runs.folder import read_json
from centaurlab.runtime.errors import UserError

KINDS = {"held_out": "held-out participants", "novel": "novel studies"}


@dataclass(frozen=True)
class Split:
    """What ``split.json`` of an adapter says.

    ``train``: the sessions that it was trained on, of ``data``. ``test``: those of the held-out people of the same
    studies, who are in ``eval_data`` where that is given. ``base_fingerprint`` is that of the model that it adapts.
    """

    data: str
    eval_data: str | None
    train: frozenset[SessionKey]
    test: frozenset[SessionKey]
    novel_studies: tuple[str, ...]
    split_seed: int
    base_fingerprint: str

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> "Split":
        """The split in a ``split.json``; ``KeyError``, ``TypeError`` or ``ValueError`` where it is none."""
        train, test = (
            frozenset(SessionKey(study, *person) for study, known in about["studies"].items() for person in known[half])
            for half in ("train", "test")
        )
        return cls(
            data=about["data"],
            eval_data=about["eval_data"],
            train=train,
            test=test,
            novel_studies=tuple(about["novel_studies"]),
            split_seed=int(about["split_seed"]),
            base_fingerprint=about["base_fingerprint"],
        )


def read_split(adapter: Path) -> Split:
    """Read who an adapter was trained on.

    Parameters
    ----------
    adapter
        The folder that recipes/centaur.py wrote.

    Returns
    -------
    Split
        Who was trained on, and whom the adapter can be judged on.

    Raises
    ------
    UserError
        Where the folder does not say it, or nobody was held out.
    """
    if not adapter.is_dir():
        raise UserError(f"there is no folder {adapter}; --adapter is a folder that 'centaurlab train' wrote")
    try:
        split = Split.from_dict(read_json(adapter / "split.json"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{adapter} holds no split.json, or a damaged one, and so does not say who was trained on; give the whole "
            "folder that 'centaurlab train' wrote"
        ) from error
    if not split.test and not split.novel_studies:
        raise UserError(f"training {adapter} held out nobody to judge it on; train with more people or --novel_studies")
    return split


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
