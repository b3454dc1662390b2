"""A session that the model begins anew several times: the NLLs of its pieces, each scored alone."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from centaurlab.data.source import DataArguments
from centaurlab.data.transcripts import Transcript
from centaurlab.jobs.job import Round, everywhere
from centaurlab.jobs.scoring import score_rounds
from centaurlab.jobs.shortcuts import battery
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.encoding import encode_prompt
from centaurlab.runs.tracker import TrackingArguments
from centaurlab.scoring import worker
from centaurlab.scoring.arguments import ScoreArguments, ScoringArguments
from centaurlab.scoring.run import measure
from centaurlab.scoring.scorer import SessionScorer
from helpers.score_runs import table_bytes
from helpers.shortcut_readers import trips
from helpers.tiny_models import in_float32
from helpers.transcripts import write_transcripts

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module")
def people() -> list[Transcript]:
    """Three of a few trials."""
    return [trips(person, 5) for person in range(3)]


@pytest.fixture
def data(people: list[Transcript], tmp_path: Path) -> DataArguments:
    """Their sessions in a file."""
    rows = [
        {"text": one.text, "study": one.study, "experiment": one.experiment, "participant": one.participant}
        for one in people
    ]
    return DataArguments(data=str(write_transcripts(tmp_path / "trips.jsonl", rows)))


@pytest.mark.parametrize("condition", ["no_history", "foreign_history"])
def test_pieces_are_scored_as_texts_of_their_own(
    condition: str, people: list[Transcript], data: DataArguments, tmp_path: Path, tiny_llama_dir: Path
) -> None:
    context = battery(people, [condition], "full").contexts[condition]
    folder = measure(in_float32(tiny_llama_dir), data, ScoreArguments(str(tmp_path / "out")), context=context)
    table = pd.read_parquet(folder / "scores.parquet").set_index(["participant", "response"])["nll"]
    assert len(table) == 15

    arguments = in_float32(tiny_llama_dir)
    tokenizer, scorer = load_tokenizer(arguments), SessionScorer(load_model(arguments))
    for one in people:
        for piece in context.prompt(one, "full").pieces():
            encoding = encode_prompt(piece, tokenizer)
            alone = scorer.score(encoding).scores
            for number, nll in zip(alone.response_R, alone.nll_R, strict=True):
                assert table[one.participant, number] == pytest.approx(nll, abs=2e-5)


def test_a_model_is_loaded_once_for_all_conditions_and_scores_as_if_for_each(
    people: list[Transcript], data: DataArguments, tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, loaded = in_float32(tiny_llama_dir), []
    contexts = battery(people, ["no_instructions", "no_history"], "full").contexts
    told = Round({"tiny": model}, data, tmp_path / "told")
    rounds = {"told": told} | {
        name: replace(told, folder=tmp_path / name, context_of=everywhere(context))
        for name, context in contexts.items()
    }
    monkeypatch.setattr(worker, "load_model", lambda *asked: loaded.append(asked) or load_model(*asked))
    score_rounds(rounds, ScoringArguments(), TrackingArguments(["none"]))
    assert len(loaded) == 1
    for name, context in contexts.items():
        alone = measure(model, data, ScoreArguments(str(tmp_path / "alone" / name)), context=context)
        assert table_bytes(alone) == table_bytes(tmp_path / name / "tiny")
