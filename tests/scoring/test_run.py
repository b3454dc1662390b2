"""What ``measure`` itself decides: where shared characters end in tokens, and how sessions fill its windows."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import ModelArguments
from centaurlab.prompts.encoding import encode
from centaurlab.runtime.errors import UserError
from centaurlab.scoring import order as plan
from centaurlab.scoring import worker as module
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure

LINE = '{{"text": "{text}", "experiment": "a2020/exp.csv", "participant": {participant}}}\n'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTAURLAB_CACHE", str(tmp_path / "cache"))


def data(folder: Path, *texts: str) -> DataArguments:
    path = folder / "data.jsonl"
    path.write_text("".join(LINE.format(text=text, participant=i) for i, text in enumerate(texts)))
    return DataArguments(data=str(path))


def test_shared_characters_are_whole_tokens_before_the_first_prediction(tiny_gemma_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_gemma_dir)
    encoding = encode("You will be shown two slot machines <<J>> <<F>>", tokenizer)
    for n in range(len("You will be shown two slot machines") + 1):
        for n_tokens in module._shared_tokens(encoding, (n,)):
            text = tokenizer.decode(encoding.input_ids_T[1:n_tokens])
            assert text == "You will be shown two slot machines"[: len(text)]
            assert len(text) <= n
            assert n_tokens < encoding.start_R[0]
    assert module._shared_tokens(encode("nothing here", tokenizer), (3,)) == []


def test_small_windows_give_the_same_responses(
    tmp_path: Path, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    source = data(tmp_path, *(f"You see {i}. You press <<J>> and <<F>>." for i in range(6)))
    model = ModelArguments(str(tiny_llama_dir), dtype="float32")
    tables = []
    for name, window in (("large", 10_000), ("small", 60)):
        monkeypatch.setattr(plan, "WINDOW_CHARACTERS", window)
        folder = measure(model, source, ScoreArguments(str(tmp_path / name)))
        tables.append(pq.read_table(folder / "scores.parquet").to_pandas())
    assert len(tables[0]) == 12
    assert tables[0]["participant"].tolist() == tables[1]["participant"].tolist()
    np.testing.assert_allclose(tables[0]["nll"], tables[1]["nll"], atol=1e-5)


def test_equal_texts_are_scored_once_and_written_for_each_session(tmp_path: Path, tiny_llama_dir: Path) -> None:
    folder = measure(
        ModelArguments(str(tiny_llama_dir)),
        data(tmp_path, *["You press <<J>>."] * 3),
        ScoreArguments(str(tmp_path / "run")),
    )
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "scores.parquet").to_pandas()
    assert sorted(table["participant"]) == ["0", "1", "2"]
    assert table["nll"].nunique() == 1


def test_responses_beyond_max_length_are_counted_as_cut(tmp_path: Path, tiny_llama_dir: Path) -> None:
    import json

    folder = measure(
        ModelArguments(str(tiny_llama_dir)),
        data(tmp_path, "You press <<J>>. " + "You press a button. " * 40 + "<<F>>"),
        ScoreArguments(str(tmp_path / "run"), max_length=20),
    )
    coverage = json.loads((folder / "run.json").read_text())["coverage"]["a2020"]
    assert coverage == {"responses": 2, "scored": 1, "cut": 1, "empty": 0, "malformed": 0, "straddling": 0, "failed": 0}


@pytest.mark.parametrize("checkpoint", [False, True])
def test_people_trained_on_are_not_called_held_out(tmp_path: Path, tiny_llama_dir: Path, checkpoint: bool) -> None:
    run = tmp_path / "run"
    model = run / "checkpoint-2" if checkpoint else run
    shutil.copytree(tiny_llama_dir, model)
    people = data(tmp_path, *(f"You see {i}. You press <<J>>." for i in range(20)))
    held_out = replace(people, participants="test")

    def scored(name: str, source: DataArguments, **split: object) -> Path:
        (run / "split.json").write_text(json.dumps({"data": people.data, "eval_data": None, "split_seed": 3} | split))
        return measure(ModelArguments(str(model)), source, ScoreArguments(str(tmp_path / name)))

    with pytest.raises(UserError, match="--split_seed 3, which held out other people"):
        scored("other", held_out)
    with pytest.raises(UserError, match=r"its held-out people: --data b\.jsonl"):
        scored("all", replace(held_out, data_seed=3), eval_data="b.jsonl")
    for name, source in (("same", replace(held_out, data_seed=3)), ("everybody", people)):
        assert (scored(name, source) / "scores.parquet").is_file()
    assert (scored("elsewhere", held_out, data="other.jsonl") / "scores.parquet").is_file()
