"""The published evaluation code's NLLs, response by response, and every response of real data accounted for."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from centaurlab.data.source import DataArguments, open_source
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_tokenizer
from centaurlab.prompts.encoding import Coverage, encode
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure
from helpers.paths import PSYCH_201, SHARED
from helpers.real_models import gemma, smollm2
from helpers.transcripts import write_transcripts

REFERENCE = SHARED / "reference"
KEYS = ["study", "experiment", "participant", "response"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REFERENCE.exists(), reason="needs the reference NLLs and the data they are of"),
]


MODELS = pytest.mark.parametrize(
    ("find_model", "name"), [(gemma, "gemma-3-270m"), (smollm2, "smollm2-135m-instruct")], ids=["gemma", "smollm2"]
)


@MODELS
def test_every_reference_nll_is_matched(find_model: Callable[[], str], name: str, tmp_path: Path) -> None:
    model = find_model()
    reference = pd.read_csv(REFERENCE / f"{name}.csv.gz", dtype={"participant": str, "experiment": str})
    wanted = set(reference[["study", "experiment", "participant"]].itertuples(index=False, name=None))
    data = tmp_path / "data"
    for study in reference["study"].unique():
        source = open_source(DataArguments(data=str(PSYCH_201), studies=study))
        rows = [
            {"text": t.text, "study": t.study, "experiment": t.experiment, "participant": t.participant}
            for t in source
            if (t.study, t.experiment, t.participant) in wanted
        ]
        write_transcripts(data / f"{study}.jsonl", rows)
    folder = measure(
        ModelArguments(model, dtype="float32"),
        DataArguments(data=str(data)),
        ScoreArguments(str(tmp_path / "run"), protocol="paper"),
    )
    scores = pq.read_table(folder / "scores.parquet").to_pandas().astype(dict.fromkeys(KEYS[:3], str))
    assert len(scores) == len(reference)
    both = scores.merge(reference, on=KEYS, suffixes=("", "_reference"))
    assert len(both) == len(reference)
    assert (both["nll"] - both["nll_reference"]).abs().max() < 1e-4


@MODELS
def test_coverage_accounts_for_every_response_of_the_studies(find_model: Callable[[], str], name: str) -> None:
    tokenizer = load_tokenizer(ModelArguments(find_model()))
    in_files = sum(
        len(re.findall(r"<<[\s\S]*?>>", line_text))
        for path in PSYCH_201.glob("*.jsonl.gz")
        for line_text in pd.read_json(path, lines=True)["text"]
    )
    total = Coverage()
    for transcript in open_source(DataArguments(data=str(PSYCH_201), on_malformed="skip")):
        coverage = encode(transcript.text, tokenizer, 32_768).coverage
        assert coverage.responses == len(re.findall(r"<<[\s\S]*?>>", transcript.text))
        assert coverage.scored + coverage.cut + coverage.empty == coverage.responses
        total += coverage
    assert total.responses == in_files
