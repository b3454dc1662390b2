"""A run reads its data once and builds each prompt once, whatever it is put into and however often it is looked at."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from centaurlab.data import source as source_module
from centaurlab.data.persons import SEPARATE
from centaurlab.data.source import DataArguments, open_source
from centaurlab.data.transcripts import Transcript
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_without_weights
from centaurlab.models.shape import model_shape
from centaurlab.prompts import templates as templates_module
from centaurlab.prompts.context import Context, PlainContext, Reading
from centaurlab.prompts.personas import own_context, persona_fields, read_personas
from centaurlab.prompts.templates import template_context
from centaurlab.scoring import order
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.plan import (
    SessionPlan,
)
from centaurlab.scoring.run import measure
from centaurlab.scoring.store import ScoreStore
from centaurlab.scoring.survey import Survey
from centaurlab.scoring.worker import ModelToScore, Worker
from helpers.json_files import read_json, run_json
from helpers.score_runs import table_bytes
from helpers.tiny_models import in_float32
from helpers.transcripts import write_transcripts

N_PEOPLE, CPU = 12, torch.device("cpu")

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def people(tmp_path: Path) -> DataArguments:
    """Two studies of people with ages, who answer a few times."""
    rows = [
        {
            "text": f"Study {i % 2}. "
            + "".join(f"You press <<{'JF'[(i + t) % 2]}>> at {t}. " for t in range(2 + i % 3))
            + f"{i}",
            "study": f"study{i % 2}",
            "experiment": "e",
            "participant": i,
            "age": 20 + i,
        }
        for i in range(N_PEOPLE)
    ]
    return DataArguments(str(write_transcripts(tmp_path / "people.jsonl", rows)))


@pytest.fixture
def model(chat_model: Path) -> ModelArguments:
    return in_float32(chat_model)


class Counts:
    """How often the data were read, and how often each session's prompt was built and rendered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_readings = 0
        self.prompts: Counter[str] = Counter()
        self.n_renderings = 0
        read, build, render = (
            source_module.files.read_files,
            Reading.prompt,
            templates_module.render,
        )

        def counted_read(*args: object, keys_only: bool = False) -> object:
            self.n_readings += not keys_only
            return read(*args, keys_only=keys_only)

        def counted_build(reading: Reading, transcript: Transcript) -> object:
            self.prompts[transcript.participant] += 1
            return build(reading, transcript)

        def counted_render(*args: Any, **options: Any) -> str:
            self.n_renderings += 1
            return render(*args, **options)

        monkeypatch.setattr(source_module.files, "read_files", counted_read)
        monkeypatch.setattr(Reading, "prompt", counted_build)
        monkeypatch.setattr(templates_module, "render", counted_render)


ONCE_EACH = Counter({str(i): 1 for i in range(N_PEOPLE)})


@pytest.mark.parametrize("n_windows", ["one window", "several windows"])
@pytest.mark.parametrize("kind", ["plain", "plain context", "persona", "chat template"])
def test_a_run_reads_its_data_once_and_builds_each_prompt_once(
    kind: str,
    n_windows: str,
    tmp_path: Path,
    people: DataArguments,
    model: ModelArguments,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In several windows the data are read twice: all of them, for what is malformed, then window by window."""
    if n_windows == "several windows":
        monkeypatch.setattr(order, "WINDOW_CHARACTERS", 5_000)
    transcripts = list(open_source(people))
    keys = frozenset(transcript.key for transcript in transcripts)
    contexts: dict[str, Context | None] = {
        "plain": None,
        "plain context": PlainContext(keys),
        "persona": own_context(read_personas(transcripts, persona_fields(), SEPARATE), keys),
        "chat template": template_context(model),
    }
    for attempt, is_resumed in (("first", False), ("again", True)):
        with monkeypatch.context() as patch:
            counts = Counts(patch)
            measure(model, people, ScoreArguments(str(tmp_path / "run")), context=contexts[kind])
        assert counts.n_readings == (1 if n_windows == "one window" else 2), attempt
        assert counts.prompts == ONCE_EACH, attempt
        assert counts.n_renderings == (2 * N_PEOPLE if kind == "chat template" else 0), "the text and its frame"
        about = run_json(tmp_path / "run")
        assert (about["speed"]["tokens_computed_now"] == 0) == is_resumed
        coverage = about["coverage"]["study0"]
        assert coverage["responses"] == coverage["scored"] == sum(2 + i % 3 for i in range(0, N_PEOPLE, 2))


def test_a_run_in_rounds_reads_its_data_once_too(
    tmp_path: Path, people: DataArguments, model: ModelArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("centaurlab.stats.sequential.FIRST_ROUND", 2)
    counts = Counts(monkeypatch)
    folder = measure(model, people, ScoreArguments(str(tmp_path / "run"), precision=1e-6))
    assert len(run_json(folder)["sample"]["rounds"]) > 2
    assert (counts.n_readings, counts.prompts) == (1, ONCE_EACH)


def test_several_processes_divide_without_another_look_at_the_prompts(
    tmp_path: Path, people: DataArguments, model: ModelArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes in turn, each with its own part of the sessions, give the table of one."""
    whole = measure(model, people, ScoreArguments(str(tmp_path / "whole")), context=template_context(model))
    tokenizer = AutoTokenizer.from_pretrained(model.model_name_or_path)
    to_score = ModelToScore(model, tokenizer, model_shape(load_without_weights(model)), 2048)
    identity = read_json(whole / "store" / "identity.json")
    del identity["format"], identity["digest"]
    stores = [ScoreStore(tmp_path / "run" / "store", identity, writer, 2) for writer in range(2)]
    for rank, store in enumerate(stores):
        with monkeypatch.context() as patch:
            counts = Counts(patch)
            state = SimpleNamespace(
                num_processes=2, process_index=rank, is_main_process=False, device=torch.device("cpu")
            )
            plan = SessionPlan(Survey(open_source(people)), Reading("full", template_context(model)))
            Worker(to_score, plan, store, state).score(None, "scoring")
        assert (counts.n_readings, counts.prompts) == (1, ONCE_EACH)
    n_stored = [
        sum(part.execute("SELECT count(*) FROM results").fetchone()[0] for part in [store._own]) for store in stores
    ]
    assert sum(n_stored) == N_PEOPLE
    assert min(n_stored) > 0
    for store in stores:
        store.close()
    measure(model, people, ScoreArguments(str(tmp_path / "run")), context=template_context(model))
    assert table_bytes(tmp_path / "run") == table_bytes(whole)


def test_an_equal_text_in_a_later_window_is_not_scored_again(
    tmp_path: Path, people: DataArguments, model: ModelArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = json.loads(Path(people.data).read_text().splitlines()[0])
    with Path(people.data).open("a") as file:
        file.write(json.dumps(row | {"participant": "same text"}) + "\n")
    monkeypatch.setattr(order, "WINDOW_CHARACTERS", 5_000)
    added: Counter[str] = Counter()
    add = ScoreStore.add

    def counted(store: ScoreStore, digest: str, *more: object) -> None:
        added[digest] += 1
        add(store, digest, *more)

    monkeypatch.setattr(ScoreStore, "add", counted)
    measure(model, people, ScoreArguments(str(tmp_path / "run")))
    assert set(added.values()) == {1}
    assert len(added) == N_PEOPLE
