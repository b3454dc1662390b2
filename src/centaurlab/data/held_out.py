"""``split.json``: who was trained on and who is held out, written by training and read by evaluation."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from centaurlab.data.persons import Persons
from centaurlab.data.records import as_name
from centaurlab.data.source import DataArguments, TranscriptSource
from centaurlab.data.transcripts import SessionKey
from centaurlab.runs.integrity import check_asked, read_json
from centaurlab.runtime.errors import UserError

PART = ("data_split", "data_revision")
BEFORE = "before"
"""Where ``split.json`` has that of the model which was trained on: whom that knows, whoever was added."""
KINDS = {"held_out": "held-out participants", "novel": "novel studies"}


@dataclass(frozen=True)
class Split:
    """What ``split.json`` of an adapter says.

    ``train``: the sessions that it was trained on, of ``data``. ``test``: those of the held-out people of the same
    studies, who are in ``eval_data`` where that is given. ``base_fingerprint`` is that of the model that it adapts.
    ``part``: which split and revision of ``data``; empty of older versions, which did not write it.
    ``held_out_by``: "person", or "session" of adapters trained by older versions, where somebody with sessions of
    several experiments may be on both sides.
    """

    data: str
    eval_data: str | None
    train: frozenset[SessionKey]
    test: frozenset[SessionKey]
    novel_studies: tuple[str, ...]
    split_seed: int
    base_fingerprint: str
    held_out_by: str = "session"
    part: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> "Split":
        """The split in a ``split.json``; ``KeyError``, ``TypeError`` or ``ValueError`` where it is none."""
        return cls(
            data=about["data"],
            eval_data=about["eval_data"],
            train=_sessions(about, "train"),
            test=_sessions(about, "test"),
            novel_studies=tuple(about["novel_studies"]),
            split_seed=int(about["split_seed"]),
            base_fingerprint=about["base_fingerprint"],
            held_out_by=str(about.get("held_out_by", "session")),
            part={name: about[name] for name in PART if name in about},
        )

    def trained_data(self, data: DataArguments) -> DataArguments:
        """All sessions of the data that it was trained on, read as ``data``; of older versions, as far as known."""
        whole = replace(data, participants="all", max_participants=None, studies=None, domains=None)
        if is_same(self.data, data.data):
            return replace(whole, **self.part)
        return replace(whole, data=self.data, **{**dict.fromkeys(PART), **self.part})

    @property
    def named(self) -> str:
        """The data that it was trained on, as one would give them."""
        return " ".join([f"--data {self.data}", *(f"--{name} {value}" for name, value in self.part.items() if value)])

    def on_both_sides(self, persons: Persons) -> frozenset[SessionKey]:
        """The sessions of ``test`` whose people were trained on in other sessions."""
        trained = {persons.unit(key) for key in self.train}
        return frozenset(key for key in self.test if persons.unit(key) in trained)


def is_same(one: str, other: str) -> bool:
    """Whether two names are of the same data, however their path is written."""
    return os.path.realpath(one) == os.path.realpath(other)


def people_of(study: str, train: Iterable[SessionKey], test: Iterable[SessionKey], persons: Persons) -> dict[str, Any]:
    """What ``split.json`` says of a study's people: how many are on each side, and who has which several sessions."""
    sides = {
        name: persons.by_person(key for key in keys if key.study == study)
        for name, keys in (("train", train), ("test", test))
    }
    joined = {
        persons.name(keys[0]): [[key.experiment, key.participant] for key in keys]
        for people in sides.values()
        for keys in people.values()
        if len(keys) > 1
    }
    return {name: len(people) for name, people in sides.items()} | {"of_several_sessions": joined}


def as_by_session(split: Mapping[str, Any]) -> dict[str, Any]:
    """What ``split.json`` of an older version, which knew sessions alone, would have been with these sessions."""
    studies = {
        study: {name: value for name, value in known.items() if name != "people"}
        for study, known in split["studies"].items()
    }
    newer = ("held_out_by", "split", "novelty", BEFORE)
    return {name: value for name, value in split.items() if name not in newer} | {"studies": studies}


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
        raise UserError(
            f"there is no folder {adapter}; --adapter is a folder that 'centaurlab train' wrote or, with "
            "--novel_studies, an adapter trained elsewhere"
        )
    check_asked(adapter)
    try:
        split = Split.from_dict(read_json(adapter / "split.json"))
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise UserError(
            f"{adapter} holds no split.json, or a damaged one, and so does not say who was trained on; give the whole "
            "folder that 'centaurlab train' wrote or, for an adapter trained elsewhere, --novel_studies"
        ) from error
    if not split.test and not split.novel_studies:
        raise UserError(f"training {adapter} held out nobody to judge it on; train with more people or --novel_studies")
    return split


def _sessions(split: Mapping[str, Any], half: str) -> frozenset[SessionKey]:
    """The sessions of a half in a ``split.json``, by today's names: older versions kept spaces and split accents."""
    written = ((study, *who) for study, known in split["studies"].items() for who in known[half])
    return frozenset(SessionKey(*(as_name(name) or "" for name in names)) for names in written)


def check_held_out(models: Iterable[str | None], data: DataArguments, source: TranscriptSource) -> None:
    """Raise ``UserError`` where one of ``models`` was trained here on people whom ``data`` calls held out.

    ``models``: a model and the adapter on it, None where there is none.
    """
    if data.participants != "test":
        return
    for model, folder in ((one, folder) for one in models if one for folder in (Path(one), Path(one).parent)):
        own = read_json(folder / "split.json")  # a checkpoint's is in its parent
        if own:
            check_asked(folder)
        for split in _and_before(own):
            is_named = is_same(str(split.get("data")), data.data)
            is_part = is_named and split.get("data_split", data.data_split) == data.data_split
            if split["eval_data"] and is_part:
                raise UserError(
                    f"{model} was trained on everybody in {data.data}; its held-out people: --data {split['eval_data']}"
                )
            if split["split_seed"] != data.data_seed and is_part:
                raise UserError(
                    f"{model} was trained with --split_seed {split['split_seed']}, which held out other people than "
                    f"--participants test with --data_seed {data.data_seed}; give the same seed"
                )
            trained = {source.persons.unit(key) for key in _sessions(split, "train")}
            known = [key for key in source.ranked_keys() if source.persons.unit(key) in trained]
            if known:
                raise UserError(
                    f"{model} was trained on the people of {len(known)} sessions of --participants test, such as "
                    f"{known[0]}: " + (_OLDER if is_named else _ELSEWHERE.format_map(split))
                )


_OLDER = (
    "an older version held out other people (by session, or with spaces that counted in ids); train it again, or judge "
    "it with 'centaurlab generalisation', which says whom it knows"
)
_ELSEWHERE = (
    "it learned from studies, experiments and ids of these names in {data}. Are they the same data, give --data_seed "
    "{split_seed}, by which people were held out; are they others, call the study otherwise"
)


def _and_before(split: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A split, and those of the models before: data are known by the names of their sessions, wherever they lie."""
    while split:
        if "studies" in split:
            yield split
        split = split.get(BEFORE) or {}


def split_before(model: str) -> dict[str, Any]:
    """What ``split.json`` says of a model that is trained on; empty where it was not trained here on people."""
    homes = (Path(model), Path(model).parent)
    return next((read_json(home / "split.json") for home in homes if (home / "split.json").is_file()), {})


def after(before: Mapping[str, Any], split: Mapping[str, Any], persons: Persons, model: str) -> dict[str, Any]:
    """``split`` of a training that begins with ``model``, whose own is ``before``.

    Raises ``UserError`` where it would hold out people, or call studies novel, that the model knows.
    """
    if not before:
        return dict(split)
    check_novel(before, split.get("novel_studies", ()), model)
    for known in _and_before(before):
        trained = {persons.unit(key) for key in _sessions(known, "train")}
        held_out = [key for key in _sessions(split, "test") if persons.unit(key) in trained]
        if held_out:
            remedy = (
                "other --eval_data" if split["eval_data"] else f"--split_seed {known['split_seed']}, as it was then"
            )
            raise UserError(
                f"{model} was trained on the people of {len(held_out)} sessions that would be held out, such as "
                f"{min(held_out, key=str)}; give {remedy}"
            )
    return dict(split) | {BEFORE: dict(before)}


def check_novel(known: Mapping[str, Any], novel: Iterable[str], model: str) -> None:
    """Raise ``UserError`` where a model, whose split is ``known``, was ever trained on one of the novel studies."""
    for split in _and_before(known):
        if seen := sorted({key.study for key in _sessions(split, "train")}.intersection(novel)):
            raise UserError(f"{model} was trained on {', '.join(seen)} before, not novel to it; name other studies")


def check_people(people: frozenset[SessionKey], source: TranscriptSource, remedy: str) -> None:
    """Raise ``UserError`` when some of the people whom an adapter was trained on, or held out, are not in the data."""
    if missing := people.difference(source.ranked_keys()):
        raise UserError(
            f"{source.name} lacks {len(missing)} of {len(people)} people whom the adapter's split.json names, such as "
            f"{min(missing, key=str)}; give {remedy}, as in training"
        )


def keep_split(trained: Path, folder: Path) -> None:
    """Let ``folder``, made of what was trained in ``trained``, say whom that was trained on."""
    for home in (trained, trained.parent):
        if (home / "split.json").is_file():
            shutil.copyfile(home / "split.json", folder / "split.json")
            return
