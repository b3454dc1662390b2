"""A small model trained on half of the sessions knows these by their letters and order, and not the others."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from centaurlab.analyses.contamination import (
    ContaminationArguments,
    both_tests,
    find_contamination,
    membership_table,
    verdicts,
)
from centaurlab.data.transcripts import Transcript
from centaurlab.results.run import ScoreRun, read_run
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from helpers.commands import evaluate
from helpers.json_files import run_json
from helpers.real_models import gemma
from helpers.score_folders import table_folder
from helpers.shortcut_readers import statements
from helpers.transcripts import write_transcripts

N_DRAWN, N_PEOPLE, N_RATERS = 29, 40, 8
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


def uniform_p(ps: pd.Series, n_drawn: int) -> float:
    """Kolmogorov-Smirnov's p of ranks, each spread evenly over its step."""
    jitter = np.random.default_rng(1).uniform(0, 1 / (n_drawn + 1), len(ps))
    return float(stats.kstest(ps - jitter, "uniform").pvalue)


LETTERED = (
    *("benakiva1993trains", "deboeck2004aggression", "jain1994crackers", "jain1994ketchup", "jain1994yogurt"),
    "smith2018abortion",
)
"""The starter set's studies whose options are letters."""


@pytest.mark.release
def test_an_untouched_gemma_does_not_tell_the_letters_of_the_starter_set_from_others(tmp_path: Path) -> None:
    """A quarter of an hour; docs/understanding.md says what it finds."""
    out = tmp_path / "out"
    asked = ("--data", "starter", "--studies", ",".join(LETTERED), "--max_participants", 12, "--relabelings", 9)
    done = evaluate("contamination.py", "--model", gemma(), *asked, "--output_dir", out)
    assert done.returncode == 0, done.stderr
    sessions = pd.read_csv(out / "sessions.csv")
    assert set(sessions["study"]) == set(LETTERED)
    assert len(sessions) >= 50
    assert pd.read_csv(out / "contamination.csv")["small"].isna().all()
    assert uniform_p(sessions["p"], 9) > 0.01


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_members_are_told_from_others_whose_p_is_uniform(tmp_path: Path, tiny_llama_dir: Path) -> None:
    everybody = [*people(), *(statements(1000 + person, 5) for person in range(N_RATERS))]
    members = {one.participant for one in (*everybody[: N_PEOPLE // 2], *everybody[-N_RATERS // 2 :])}
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
    assert sessions.groupby(["test", "model"]).size().tolist() == [N_PEOPLE] * 2 + [N_RATERS] * 2
    ordered, sessions = sessions[sessions["test"] == "order"], sessions[sessions["test"] == "letters"]
    is_member = sessions["participant"].isin(members)
    is_trained = sessions["model"] == str(trained)
    seen, unseen = (sessions[is_trained & side] for side in (is_member, ~is_member))
    auc = stats.mannwhitneyu(seen["advantage"], unseen["advantage"]).statistic / (len(seen) * len(unseen))
    assert auc >= 0.95
    assert (seen["p"] <= 2 / (N_DRAWN + 1)).mean() >= 0.95
    for ps in (unseen["p"], sessions[~is_trained]["p"]):
        assert uniform_p(ps, N_DRAWN) > 0.01
    for column in ("min_k_instructions", "min_k_answers"):
        known = stats.mannwhitneyu(seen[column], unseen[column]).statistic / (len(seen) * len(unseen))
        assert known >= 0.95
    assert (seen["nll_character_answers"] < unseen["nll_character_answers"].min()).mean() >= 0.9
    knows = (ordered["model"] == str(trained)) & ordered["participant"].isin(members)
    assert (ordered[knows]["p"] <= 2 / (N_DRAWN + 1)).all()
    assert ordered[~knows]["p"].median() > 0.2
    table = pd.read_csv(out / "contamination.csv").set_index(["test", "model", "study"])["p"]
    for test, most in (("letters", 1e-3), ("order", 0.05), ("both", 1e-3)):
        assert table[test, str(trained), "all studies"] < most
        assert table[test, str(tiny_llama_dir), "all studies"] > 0.05
    of_both = pd.concat([sessions, ordered])
    trained_ps = of_both[of_both["model"] == str(trained)]["p"]  # nobody has both
    assert table["both", str(trained), "all studies"] == pytest.approx(stats.combine_pvalues(trained_ps).pvalue)
    said = run_json(out)["verdicts"]
    assert "by the published letters: no sign that it has seen" in said[0]
    assert "has seen transcripts of these: their letters" in said[1]
    assert "by the published order: no sign that it has seen" in said[2]
    assert "has seen transcripts of these: their order" in said[3]
    assert "by letters and order together: p = " in said[4]


def test_ranks_are_counted_by_hand_and_of_few_relabelings_none_is_called_small(tmp_path: Path) -> None:
    """Two mentions a text; ties count against the published one, and an id of two studies is two people."""
    told = {
        ("a", "e1", "1"): ([[1, 1], [2, 0], [3, 0]], 2 / 3),
        ("a", "e2", "1"): ([[1, 1], [1, 0], [0, 1]], 1),
        ("b", "e1", "1"): ([[0, 1], [1, 1], [2, 2]], 1 / 3),
    }
    rows = [
        (*key, 7 + 2 * version + place, nll)
        for key, (texts, _) in told.items()
        for version, text in enumerate(texts)
        for place, nll in enumerate(text)
    ]
    frame = pd.DataFrame(rows, columns=["study", "experiment", "participant", "response", "nll"])
    run = read_run(table_folder(tmp_path, frame.astype({"response": "int32", "nll": "float32"})))
    places = {"letters": dict.fromkeys(told, (7, 2))}
    refused, nothing = pd.DataFrame(columns=["test", "study", "why", "sessions"]), membership_table({})
    found = find_contamination({"letters": {"m": run}}, places, 2, refused, EstimateArguments(resamples=50), nothing)
    sessions = found.tables["sessions.csv"].set_index(["study", "experiment", "participant"])
    assert sessions["p"].to_dict() == pytest.approx({key: p for key, (_, p) in told.items()})
    assert sessions["advantage"].tolist() == pytest.approx([0.5, -1.0, 2.0])
    table = found.tables["contamination.csv"].set_index("study")
    assert table["people"].to_dict() == {"all studies": 3, "a": 2, "b": 1}
    ps = {"all studies": [2 / 3, 1, 1 / 3], "a": [2 / 3, 1], "b": [1 / 3]}
    assert table["p"].to_dict() == pytest.approx({name: stats.combine_pvalues(of).pvalue for name, of in ps.items()})
    assert table["advantage"].to_dict() == pytest.approx({"all studies": 0.875, "a": -0.25, "b": 2.0})
    assert table["small"].isna().all()


def test_sessions_that_the_window_cuts_are_counted_and_of_none_left_there_is_no_page(tmp_path: Path) -> None:
    """Two of three texts of one session were read, none of another; and p of two tests is never .05 of 19 orders."""
    keys = [("a", "e", "1"), ("a", "e", "2"), ("b", "e", "1")]

    def run(name: str, whole: int) -> ScoreRun:
        n_read = [20] * whole + [12]
        rows = [(*key, version, 1.0) for key, n in zip(keys, n_read, strict=False) for version in range(n)]
        frame = pd.DataFrame(rows, columns=["study", "experiment", "participant", "response", "nll"])
        return read_run(table_folder(tmp_path / name, frame.astype({"response": "int32", "nll": "float32"})))

    places = {test: dict.fromkeys(keys, (0, 1)) for test in ("letters", "order")}
    refused, asked = pd.DataFrame(columns=["test", "study", "why", "sessions"]), EstimateArguments(resamples=20)
    tests = {"letters": {"m": run("m", 1), "n": run("n", 0)}, "order": {"m": run("o", 2)}}
    found = find_contamination(tests, places, 19, refused, asked, membership_table({}))
    left_out = found.tables["inapplicable.csv"].set_index(["test", "study", "why"])["sessions"].to_dict()
    why = {name: f"cut by the context window of {name}, or failed" for name in "mn"}
    assert left_out == {
        ("letters", "a", why["m"]): 1,
        ("letters", "b", why["m"]): 1,
        ("letters", "a", why["n"]): 2,
        ("letters", "b", why["n"]): 1,
        ("order", "b", why["m"]): 1,
    }
    assert [said for said in found.record["verdicts"] if "left out" in said] == [
        "m, by the published letters: 2 sessions of a and b left out, cut by the context window or failed; "
        "see --max_length",
        "n, by the published letters: 3 sessions of a and b left out, cut by the context window or failed; "
        "see --max_length",
        "m, by the published order: 1 session of b left out, cut by the context window or failed; see --max_length",
    ]
    table = found.tables["contamination.csv"].query("study == 'all studies'").set_index(["test", "model"])["small"]
    assert table["letters", "m"] == table["order", "m"] == 0
    assert math.isnan(table["both", "m"])
    with pytest.raises(UserError, match="cuts every session; raise --max_length"):
        find_contamination({"letters": {"n": run("p", 0)}}, places, 19, refused, asked, membership_table({}))


def test_one_of_many_models_and_tests_is_judged_by_a_p_that_counts_them_all() -> None:
    ps = {
        ("letters", "a"): 0.02,
        ("letters", "b"): 0.5,
        ("order", "a"): 0.001,
        ("order", "b"): 0.3,
        ("both", "a"): 0.01,
    }
    table = pd.DataFrame(
        {"test": test, "model": model, "study": "all studies", "p": p, "sessions": 9} for (test, model), p in ps.items()
    ).assign(**{f"advantage{end}": 1.0 for end in ("", "_low", "_high", "_low_these", "_high_these")})
    of_letters, _, of_order, *_ = verdicts(table)
    assert (
        "no sign that it has seen these transcripts (p = 0.020 over 9 sessions, 0.060 adjusted for 4 models"
        in of_letters
    )
    assert "has seen transcripts of these: their order" in of_order
    assert "(p = 0.001 over 9 sessions, 0.004 adjusted for 4 models" in of_order
    same = verdicts(table[:2].assign(model=["runs/a/merged", "runs/b/merged"]))
    assert [words.split(" ")[0].rstrip(",") for words in same] == ["runs/a/merged", "runs/b/merged"]
    (of_some,) = verdicts(table[:1].assign(advantage=-2.4))
    assert "drawn anew in some sessions, and not on average" in of_some
    (alone,) = verdicts(table[:1])
    assert "has seen transcripts of these: their letters" in alone
    assert "adjusted" not in alone
    whole = table[:1].assign(sessions=1, advantage_low=math.nan, advantage_high=math.nan)
    (of_one_study,) = verdicts(pd.concat([whole, whole.assign(study="s")]))
    assert "over 1 session; advantage" in of_one_study
    assert of_one_study.endswith("95 % interval +1.000 to +1.000, which excludes zero)")


def test_who_has_both_tests_counts_with_twice_the_smaller_p() -> None:
    known = [("letters", "1", 0.2), ("letters", "2", 0.01), ("order", "2", 0.5), ("order", "3", 0.7)]
    sessions = pd.DataFrame(known, columns=["test", "participant", "p"]).assign(study="s", experiment="e", model="m")
    found = both_tests(sessions.assign(who=sessions["participant"])).iloc[0]
    assert found["p"] == pytest.approx(stats.combine_pvalues([0.2, 0.02, 0.7]).pvalue)
    assert (found["sessions"], found["small"]) == (3, pytest.approx(1 / 3))


def test_arguments_that_make_no_sense_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--relabelings is 0"):
        ContaminationArguments(["m"], "out", 0)
    (tmp_path / "store").mkdir()
    with pytest.raises(UserError, match="is a folder of scores"):
        ContaminationArguments([str(tmp_path)], "out")
