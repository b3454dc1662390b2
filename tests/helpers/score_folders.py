"""Folders of scores as finished runs leave them, with NLLs that the tests make up."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.table import TEMPERATURES, ResponseScores, write_scores
from helpers.json_files import write_json

Rows = list[tuple[SessionKey, dict[int, float]]]
"""Of each session, its NLLs by the number of the response."""


def random_scores(seed: int, n: int = 4) -> ResponseScores:
    """Scores of ``n`` responses in which no two columns agree."""
    draw = np.random.default_rng(seed)
    return ResponseScores(
        response_R=np.arange(n, dtype=np.int32),
        n_tokens_R=draw.integers(1, 4, n).astype(np.int32),
        nll_R=np.abs(draw.normal(size=n)).astype(np.float32),
        greedy_correct_R=draw.integers(-1, 2, n).astype(np.int8),
        entropy_R=draw.normal(size=n).astype(np.float32),
        nll_RK=draw.normal(size=(n, len(TEMPERATURES))).astype(np.float32),
        n_options_R=draw.integers(0, 4, n).astype(np.int32),
        option_nll_R=draw.normal(size=n).astype(np.float32),
        option_nll_RK=draw.normal(size=(n, len(TEMPERATURES))).astype(np.float32),
        item_R=draw.integers(1, 9, n),
    )


def response_scores(nlls: Mapping[int, float]) -> ResponseScores:
    """Scores of a session of which nothing but the NLLs matters."""
    n = len(nlls)
    return ResponseScores(
        np.array(list(nlls), np.int32),
        np.ones(n, np.int32),
        np.array(list(nlls.values()), np.float32),
        np.ones(n, np.int8),
        np.zeros(n, np.float32),
        np.zeros((n, len(TEMPERATURES)), np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.float32),
        np.zeros((n, len(TEMPERATURES)), np.float32),
        np.zeros(n, np.int64),
    )


def score_folder(
    folder: Path, rows: Rows, protocol: str = "full", prints: Mapping[str, str] | None = None, job: str = "score"
) -> Path:
    """A folder of sessions' scores, written as the package writes them.

    ``prints``: the fingerprint of each study's sessions, where others than those of studies r and s.
    """
    folder.mkdir()
    write_scores(folder, ((key, response_scores(nlls)) for key, nlls in rows))
    _write_record(
        folder, prints or {"r": "1", "s": "2"}, {"job": job, "protocol": {"name": protocol, "max_tokens": 512}}
    )
    return folder


def table_folder(folder: Path, table: pd.DataFrame, people: str = "people", **about: object) -> Path:
    """A folder of the scores in ``table``, a row per response of the people so called.

    ``about``: what its run says of itself beyond what any does, or otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "scores.parquet")
    _write_record(folder, {study: f"{people}-{study}" for study in table["study"].unique()}, about)
    return folder


def _write_record(folder: Path, prints: Mapping[str, str], about: Mapping[str, object]) -> None:
    known = {
        "job": "score",
        "model": {"name": folder.name, "fingerprint": folder.name},
        "protocol": {"name": "full"},
        "data": {"name": "people", "studies": {study: {"fingerprint": digest} for study, digest in prints.items()}},
    }
    write_json(folder / "run.json", known | dict(about))
