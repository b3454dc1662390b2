"""Folders of finished runs of several jobs, as a report reads them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate
from helpers.effect_rows import effects_of, write_effects
from helpers.json_files import run_json, write_json
from helpers.score_folders import table_folder
from helpers.transcripts import json_lines

STUDIES = ["a2020", "b2021", "c2022"]


def about(job: str, *command: str) -> dict[str, Any]:
    """What any run says of itself: job, versions, machine and command."""
    return {
        "job": job,
        "centaurlab": "9.9",
        "versions": {"python": "3.11.0", "torch": "2.13.0"},
        "git": {"commit": "c0ffee", "dirty": False},
        "hardware": {"platform": "Linux", "cpus": 2, "memory_bytes": 2**34, "gpus": []},
        "command": list(command),
        "time": "2026-01-01T00:00:00+00:00",
    }


def score_run(folder: Path, model: str, studies: list[str], seed: int = 0, data: str = "people") -> Path:
    """A finished run of eval/score.py: five people in each study answer four times."""
    rng = np.random.default_rng(seed)
    rows = [(study, "e", str(p), r) for study in studies for p in range(5) for r in range(4)]
    table = pd.DataFrame(rows, columns=["study", "experiment", "participant", "response"])
    table["nll"] = rng.gamma(2, 1, len(table)).astype(np.float32)
    table["greedy_correct"] = pd.array(rng.integers(0, 2, len(table)) > 0, dtype="boolean")
    nll = table.astype({"nll": float}).groupby("study")["nll"].mean()
    covered = {"responses": 20, "scored": 20, "cut": 0, "empty": 0, "malformed": 0, "straddling": 0, "failed": 3}
    known = about("score", "/somewhere/eval/score.py", "--model_name_or_path", model)
    known |= {
        "model": {"name": model, "fingerprint": f"f{seed}", "dtype": "bfloat16", "adapter": None},
        "protocol": {"name": "full", "max_tokens": 2048},
        "coverage": dict.fromkeys(studies, covered),
        "nll_mean": float(nll.mean()),
        "data": {
            "name": data,
            "fingerprint": f"data {data}",
            "notes": [],
            "studies": {s: {"fingerprint": f"{data}-{s}", "sessions": 5, "nll": float(nll[s])} for s in studies},
        },
    }
    table_folder(folder, table, data, **known)
    write_json(folder / "config.json", {"data": data})
    return folder


def effect_run(folder: Path, effects: list[Effect], scores: list[Path]) -> Path:
    """A finished run of eval/misalignment.py on two folders of ``scores``."""
    folder.mkdir(parents=True)
    write_effects(folder, effects)
    models = []
    for path in scores:
        known = run_json(path)
        scored = {"folder": str(path), "protocol": known["protocol"], "data": known["data"]["fingerprint"]}
        models.append(scored | known["model"])
    known = about("misalignment", "eval/misalignment.py", "--base", "a b", "--post", "c")
    known |= {"models": models, "bootstrap": {"resamples": 2000, "seed": 0, "confidence": 0.95}}
    known |= {"overall": asdict(effects[0]), "data": {"name": "people", "fingerprint": "data people"}}
    write_json(folder / "run.json", known)
    write_json(folder / "config.json", {"base": "a b", "post": "c"})
    return folder


def gain_run(folder: Path) -> Path:
    """A finished run of eval/generalisation.py."""
    folder.mkdir(parents=True)
    gains = [
        {"kind": kind, "study": study, "participants": 5, "responses": 20, "nll_base": 2.0, "nll_centaur": 1.5}
        | {"d": d, "d_low": d - 0.1, "d_high": d + 0.1, "nll_uniform": 0.7, "nll_marginal": marginal}
        for kind, study, d, marginal in [("held_out", "a2020", 0.4, 1.9), ("novel", "b2021", 0.05, None)]
    ]
    over_studies = {"d_sem": 0.03, "improved": 0.75}
    summaries = [
        {"kind": "held_out", "studies": 4, "d": 0.4, "d_low": 0.3, "d_high": 0.5} | over_studies,
        {"kind": "novel", "studies": 3, "d": 0.05, "d_low": -0.05, "d_high": 0.15} | over_studies,
    ]
    known = about("generalisation", "eval/generalisation.py") | {"studies": gains, "summaries": summaries}
    write_json(folder / "run.json", known)
    write_json(folder / "config.json", {"base": "org/base", "adapter": "runs/centaur", "data": "people"})
    pd.DataFrame(gains).to_csv(folder / "studies.csv", index=False)
    return folder


def training_run(folder: Path) -> Path:
    """A finished run of recipes/centaur.py."""
    folder.mkdir(parents=True)
    held_out = {"study": "a2020", "participants": 4, "responses": 52, "nll_base": 1.25, "nll": 1.0}
    held_out |= {"change": -0.2, "change_low": -0.3, "change_high": -0.1}
    known = about("train", "recipes/centaur.py") | {"steps": 30, "studies": ["a2020"], "novel_studies": ["b2021"]}
    known |= {"held_out": [held_out], "data": "starter", "notes": []}
    known |= {"base": {"name": "org/base", "fingerprint": "f0", "dtype": "bfloat16", "adapter": None}}
    write_json(folder / "run.json", known)
    write_json(folder / "config.json", {})
    lines = [{"time": 0, "step": step, "train/loss": 3 / step} for step in range(1, 31)]
    (folder / "metrics.jsonl").write_text(json_lines(lines))
    return folder


def several_runs(folder: Path) -> dict[str, Path]:
    """Two models' scores, their effect, an adapter's gain and a training."""
    scores = [score_run(folder / f"s{i}", f"org/model{i}", STUDIES, i) for i in range(2)]
    found = {f"score{i}": path for i, path in enumerate(scores)}
    found["effect"] = effect_run(folder / "effect", effects_of(STUDIES, Estimate(0.4, 0.1, 0.7)), scores)
    found["gain"] = gain_run(folder / "gain")
    found["train"] = training_run(folder / "train")
    return found
