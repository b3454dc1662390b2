"""Files of transcripts as people contribute them, for the tests of this folder."""

import gzip
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEXT = "You see J and F. You press <<J>>. You win 3 points. You press <<F>>."


def session(participant: object, **fields: object) -> dict[str, object]:
    return {"text": TEXT, "experiment": "smith2020bandit/exp1.csv", "participant": participant, **fields}


def json_lines(records: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def write(path: Path, records: Iterable[Mapping[str, object]]) -> Path:
    """Write sessions in the format that the file's name asks for."""
    records = list(records)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=2)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("prompts.jsonl", json_lines(records))
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(json_lines(records).encode()))
    else:
        path.write_text(json_lines(records), encoding="utf-8")
    return path


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:736fc4fb\nsize 1068302\n"
