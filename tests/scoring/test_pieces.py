"""A session that the model begins anew several times: the NLLs of its pieces, each scored alone."""

from pathlib import Path

import pandas as pd
import pytest

from centaurlab.data.source import DataArguments
from centaurlab.jobs.shortcuts import battery
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.encoding import encode_prompt
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure
from centaurlab.scoring.scorer import SessionScorer
from helpers.shortcut_readers import trips
from helpers.tiny_models import in_float32
from helpers.transcripts import write_transcripts

pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("condition", ["no_history", "foreign_history"])
def test_pieces_are_scored_as_texts_of_their_own(condition: str, tmp_path: Path, tiny_llama_dir: Path) -> None:
    people = [trips(person, 5) for person in range(3)]
    rows = [
        {"text": one.text, "study": one.study, "experiment": one.experiment, "participant": one.participant}
        for one in people
    ]
    data = DataArguments(data=str(write_transcripts(tmp_path / "trips.jsonl", rows)))
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
