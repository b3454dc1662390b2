"""Texts of people's sessions, and files of them as people contribute them."""

import gzip
import json
import random
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Record = Mapping[str, object]
TEXT = "You see J and F. You press <<J>>. You win 3 points. You press <<F>>."
INSTRUCTIONS = "You will be shown two slot machines, J and F, and win or lose points with each of them. "
KEYS = ("J", "F", "-3", "left")
"""Answers of one token and of several."""
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:736fc4fb\nsize 1068302\n"


def bandit(person: int, n_trials: int = 5, keys: Sequence[str] = KEYS, n_instructions: int = 4) -> str:
    """The text of somebody who chooses at random between slot machines, after ``n_instructions`` sentences."""
    draw = random.Random(person)
    trials = (f"You choose <<{draw.choice(keys)}>> and win {i}. " for i in range(n_trials))
    return INSTRUCTIONS * n_instructions + f"You are person {person}. " + "".join(trials)


def two_keys(person: int, n_trials: int = 12) -> str:
    """The text of somebody who chooses at random between two keys, a line for the instructions and for each trial."""
    draw = random.Random(person)
    trials = (f"Trial {i}: you choose <<{draw.choice('JF')}>>.\n" for i in range(n_trials))
    return "You will be shown two slot machines, J and F.\n" + "".join(trials)


def session(participant: object, **fields: object) -> dict[str, object]:
    """A session as people contribute it, of two answers."""
    return {"text": TEXT, "experiment": "smith2020bandit/exp1.csv", "participant": participant, **fields}


def sessions_of(
    studies: Iterable[str], people: int | Iterable[int], text: Callable[[str, int], str]
) -> list[dict[str, object]]:
    """The same people in each of some studies; ``text`` makes a session's text of study and person."""
    numbers = range(people) if isinstance(people, int) else [*people]
    return [
        {"text": text(study, person), "experiment": f"{study}/exp1.csv", "participant": person}
        for study in studies
        for person in numbers
    ]


def json_lines(records: Iterable[Record]) -> str:
    """A line of JSON for each record."""
    return "".join(json.dumps(record) + "\n" for record in records)


def write_transcripts(path: Path, records: Iterable[Record]) -> Path:
    """Write sessions in the format that the file's name asks for."""
    records = list(records)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = path.suffix.lower()
    if stored == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=2)
    elif stored == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("prompts.jsonl", json_lines(records))
    elif stored == ".gz":
        path.write_bytes(gzip.compress(json_lines(records).encode()))
    else:
        path.write_text(json_lines(records), encoding="utf-8")
    return path


def write_bandits(path: Path, n: int, n_trials: int = 5) -> Path:
    """Write a file of ``n`` people's ``bandit`` sessions, in turn of one study and another."""
    return write_transcripts(
        path,
        (
            {"text": bandit(i, n_trials), "study": f"study{i % 2}", "experiment": "exp1.csv", "participant": i}
            for i in range(n)
        ),
    )


def write_ever_longer(path: Path) -> Path:
    """Write the sessions of four people of one study, of 9, 14, 19 and 24 trials after the same instructions."""

    def text(_: str, person: int) -> str:
        trials = "".join(f"You choose <<{'JF'[(person + t) % 2]}>> and win {t}. " for t in range(9 + 5 * person))
        return INSTRUCTIONS * 6 + f"You are person {person}. {trials}"

    return write_transcripts(path, sessions_of(["a2020"], 4, text))
