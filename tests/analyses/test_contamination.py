"""A small model trained on half of the sessions knows these by their letters, and not the others."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from centaurlab.analyses.contamination import ContaminationArguments
from centaurlab.data.transcripts import Transcript
from centaurlab.runtime.errors import UserError
from helpers.commands import evaluate
from helpers.json_files import run_json
from helpers.transcripts import write_transcripts

N_DRAWN, N_PEOPLE = 29, 40
LETTERS = "BCDEFGHJKLMNOPQRSTUVWXYZ"


def people() -> list[Transcript]:
    """Each with two letters, drawn at random, after a number of their own."""
    draw = np.random.default_rng(7)
    found = []
    for person in range(N_PEOPLE):
        one, two = draw.choice(list(LETTERS), 2, replace=False)
        text = f"You are person {draw.integers(10_000, 99_999)}. Press {one} or {two}.\n"
        text += "".join(f"You press <<{key}>>.\n" for key in draw.permutation([one, two, *draw.choice([one, two], 4)]))
        found.append(Transcript(text, f"s{person % 2}2020keys", "exp.csv", str(person)))
    return found


def train_on(model_folder: Path, texts: list[str], folder: Path) -> Path:
    """The tiny model after enough steps to know ``texts`` by heart."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(250):
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_members_are_told_from_others_whose_p_is_uniform(tmp_path: Path, tiny_llama_dir: Path) -> None:
    everybody = people()
    members = {one.participant for one in everybody[: N_PEOPLE // 2]}
    trained = train_on(tiny_llama_dir, [one.text for one in everybody if one.participant in members], tmp_path / "seen")
    rows = [
        {"text": one.text, "study": one.study, "experiment": one.experiment, "participant": one.participant}
        for one in everybody
    ]
    data, out = write_transcripts(tmp_path / "people.jsonl", rows), tmp_path / "out"
    asked = ("--data", data, "--relabelings", N_DRAWN, "--dtype", "float32", "--resamples", 100, "--output_dir", out)
    done = evaluate("contamination.py", "--model", tiny_llama_dir, trained, *asked)
    assert done.returncode == 0, done.stderr
    sessions = pd.read_csv(out / "sessions.csv", dtype={"participant": str})
    assert sessions.groupby("model").size().tolist() == [N_PEOPLE, N_PEOPLE]
    is_member = sessions["participant"].isin(members)
    is_trained = sessions["model"] == str(trained)
    seen, unseen = (sessions[is_trained & side] for side in (is_member, ~is_member))
    auc = stats.mannwhitneyu(seen["advantage"], unseen["advantage"]).statistic / (len(seen) * len(unseen))
    assert auc >= 0.95
    assert (seen["p"] <= 2 / (N_DRAWN + 1)).mean() >= 0.95
    for uniform in (unseen["p"], sessions[~is_trained]["p"]):
        jitter = np.random.default_rng(1).uniform(0, 1 / (N_DRAWN + 1), len(uniform))
        assert stats.kstest(uniform - jitter, "uniform").pvalue > 0.01
    table = pd.read_csv(out / "contamination.csv").set_index(["model", "study"])
    assert table.loc[(str(trained), "all studies"), "p"] < 1e-3
    assert table.loc[(str(tiny_llama_dir), "all studies"), "p"] > 0.05
    said = run_json(out)["verdicts"]
    assert "no sign that it has seen" in said[0]
    assert "has seen transcripts of these" in said[1]


def test_arguments_that_make_no_sense_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--relabelings is 0"):
        ContaminationArguments(["m"], "out", 0)
    (tmp_path / "store").mkdir()
    with pytest.raises(UserError, match="is a folder of scores"):
        ContaminationArguments([str(tmp_path)], "out")
