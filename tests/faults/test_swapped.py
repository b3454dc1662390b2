"""Files of two runs exchanged, each sound as it is: a file is never taken for the run's in whose folder it lies."""

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from centaurlab.results.record import Coverage
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.store import ScoreStore, SessionResult
from centaurlab.simulation.answers import Answer
from centaurlab.simulation.player import Simulated
from centaurlab.simulation.store import SimulationStore
from helpers.score_folders import random_scores

DIGEST = "ab" * 32
MODELS = {name: {"model": {"name": name, "fingerprint": name}, "max_tokens": 512} for name in ("base", "post")}


def scored(folder: Path) -> None:
    """A store of scores in ``folder``, of the model that it is named after."""
    store = ScoreStore(folder, dict(MODELS[folder.name]))
    store.add(DIGEST, SessionResult(random_scores(1), Coverage(4, 4), 90, 80, 0.5))
    store.close()


@pytest.mark.parametrize("file", ["process-0.sqlite", "identity.json"])
def test_results_of_another_model_are_refused(tmp_path: Path, file: str) -> None:
    for name in MODELS:
        scored(tmp_path / name)
    shutil.copy(tmp_path / "post" / file, tmp_path / "base" / file)
    asked = MODELS["base" if file == "process-0.sqlite" else "post"]
    with pytest.raises(UserError, match=r"process-0\.sqlite is of another run: it holds scores with another model"):
        ScoreStore(tmp_path / "base", dict(asked))


def test_results_of_another_process_and_the_same_model_are_taken(tmp_path: Path) -> None:
    scored(tmp_path / "base")
    shutil.copy(tmp_path / "base" / "process-0.sqlite", tmp_path / "base" / "process-3.sqlite")
    (tmp_path / "base" / "process-0.sqlite").unlink()
    store = ScoreStore(tmp_path / "base", dict(MODELS["base"]))
    assert store.find(DIGEST)
    store.close()


def simulated(folder: Path) -> SimulationStore:
    """A store of simulated sessions in ``folder``, of the model that it is named after."""
    store = SimulationStore(folder, MODELS[folder.name])
    answers = (Answer("J", 0.5, 0.1, 2, True),)
    store.add(DIGEST, Simulated(f"<<J>> by {folder.name}", answers, 0, True))
    return store


@pytest.mark.parametrize("file", ["process-0.jsonl", "identity.json"])
def test_sessions_of_another_simulation_are_refused(tmp_path: Path, file: str) -> None:
    for name in MODELS:
        simulated(tmp_path / name)
    shutil.copy(tmp_path / "post" / file, tmp_path / "base" / file)
    asked = MODELS["base" if file == "process-0.jsonl" else "post"]
    with pytest.raises(UserError, match=r"process-0\.jsonl is of another simulation"):
        SimulationStore(tmp_path / "base", asked).read()


@pytest.mark.parametrize("damage", ["", "{", "{}x"])
def test_a_damaged_identity_costs_no_simulated_session(tmp_path: Path, damage: str) -> None:
    known = simulated(tmp_path / "base").read()
    sound = (tmp_path / "base" / "identity.json").read_text()
    (tmp_path / "base" / "identity.json").write_text(damage)
    again = SimulationStore(tmp_path / "base", MODELS["base"]).read()
    assert [asdict(session) for session in again.values()] == [asdict(session) for session in known.values()]
    assert (tmp_path / "base" / "identity.json").read_text() == sound
