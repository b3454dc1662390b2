"""A folder of scores into a log of inspect_ai: a sample per session, in which every response's numbers stand.

The format is inspect's own (``.eval``, version 2: a ZIP file of JSON), written without inspect, which brings the
libraries of a cloud; its reader, viewer and data frames take it from there.
"""

import json
import math
import re
import zipfile
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow as pa

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.run import ScoreRun, without_folders
from centaurlab.results.table import (
    ENTROPY,
    GREEDY_CORRECT,
    N_OPTIONS,
    N_TOKENS,
    NLL,
    OPTION_NLL,
    RESPONSE,
    SESSION,
)
from centaurlab.runtime.disk import disk_errors, replace_durably

_COLUMNS = (N_TOKENS, NLL, GREEDY_CORRECT, ENTROPY, N_OPTIONS, OPTION_NLL)
_NO_FILE_NAME = re.compile(r"[/\\\x00-\x1f]")  # an id is part of a name within the ZIP file
_LEVEL = 6


def write_inspect_log(run: ScoreRun, path: Path) -> int:
    """Write the scores of ``run`` as a log that ``inspect_ai.log.read_eval_log`` reads.

    Parameters
    ----------
    run
        A finished run of scoring.
    path
        The file, replaced where it is there; inspect takes the format from its ending, ``.eval``.

    Returns
    -------
    int
        How many sessions it holds. ``samples[i].scores["nll"].value`` is a session's NLL in nats per response, and the
        score's ``metadata`` have lists over its responses, of the columns of ``scores.parquet``. Texts are not in it.

    Raises
    ------
    UserError
        Where the run's table is damaged, or the disk refuses the file.
    """
    table, about, summaries = run.table(_COLUMNS), _about(run), []
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with disk_errors(path.parent):
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as log:
                start = {"version": 2, "eval": about, "plan": _PLAN}
                _add(log, "_journal/start.json", start)
                for sample in _samples(table):
                    _add(log, f"samples/{sample['id']}_epoch_1.json", sample)
                    short = {name: {"value": score["value"]} for name, score in sample["scores"].items()}
                    summaries.append(sample | {"scores": short, "completed": True})
                about["dataset"]["samples"] = len(summaries)
                _add(log, "summaries.json", summaries)
                time = {"started_at": about["created"], "completed_at": about["created"]}
                results = _results(run, len(summaries))
                _add(log, "header.json", start | {"status": "success", "results": results, "stats": time})
            replace_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(summaries)


_PLAN = {"name": "centaurlab score", "steps": []}


def _add(log: zipfile.ZipFile, name: str, content: object) -> None:
    log.writestr(name, json.dumps(_plain(content), allow_nan=False))


def _plain(content: Any) -> Any:
    """The same with null for NaN, which JSON does not know: the entropy of an open answer to a baseline, say."""
    if isinstance(content, dict):
        return {name: _plain(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _about(run: ScoreRun) -> dict[str, Any]:
    """What was scored with what; no command, no notes, and no folder of this machine."""
    record = run.record
    told = {name: run.about[name] for name in ("model", "protocol", "context", "coverage", "sample")}
    about = {
        "eval_id": f"{record.model.fingerprint[:16]}-{record.data.fingerprint[:16]}",
        "created": run.about.get("time") or "1970-01-01T00:00:00+00:00",
        "task": "centaurlab",
        "task_display_name": "NLL of human responses",
        "dataset": {"name": record.data.name},
        "model": record.model.name,
        "config": {},
        "packages": {"centaurlab": str(run.about.get("centaurlab", ""))},
        "metadata": told | {"data_fingerprint": record.data.fingerprint},
    }
    return dict(without_folders(about))


def _results(run: ScoreRun, n_sessions: int) -> dict[str, Any]:
    """The mean over studies and every study's own, as ``run.json`` has them."""
    studies = run.record.data.studies
    found = {
        "nll": {"mean_over_studies": run.record.nll_mean} | {name: about.nll for name, about in studies.items()},
        "accuracy": {name: about.accuracy for name, about in studies.items()},
    }
    return {
        "total_samples": n_sessions + run.n_failed,
        "completed_samples": n_sessions,
        "scores": [
            {
                "name": name,
                "scorer": "centaurlab",
                "metrics": {of: {"name": of, "value": value} for of, value in values.items() if value is not None},
            }
            for name, values in found.items()
        ],
    }


def _samples(table: pa.Table) -> Iterator[dict[str, Any]]:
    """A sample per session, in the order of the table."""
    taken: set[str] = set()
    for key, rows in _sessions(table):
        columns: dict[str, list[Any]] = {name: rows[name].to_pylist() for name in (RESPONSE, *_COLUMNS)}
        known = [is_right for is_right in columns[GREEDY_CORRECT] if is_right is not None]
        scores: dict[str, Any] = {"nll": {"value": sum(columns[NLL]) / len(rows), "metadata": columns}}
        if known:
            scores["accuracy"] = {"value": sum(known) / len(known)}
        name = _NO_FILE_NAME.sub("_", ", ".join(dict.fromkeys([key.study, key.experiment, key.participant])))
        others = (f"{name} ({number})" for number in count(2))
        taken.add(chosen := next(one for one in chain([name], others) if one not in taken))
        yield {
            "id": chosen,
            "epoch": 1,
            "input": str(key),
            "target": "",
            "scores": scores,
            "metadata": {"study": key.study, "experiment": key.experiment, "participant": key.participant},
        }


def _sessions(table: pa.Table) -> Iterator[tuple[SessionKey, pa.Table]]:
    """Consecutive rows of one session."""
    names = [table[name].to_pylist() for name in SESSION]
    first = 0
    for row in range(1, len(table) + 1):
        if row == len(table) or any(column[row] != column[first] for column in names):
            yield SessionKey(*(column[first] for column in names)), table.slice(first, row - first)
            first = row
