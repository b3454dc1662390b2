"""The command: a folder of scores for each row, which comparisons read like a language model's."""

import json
from math import log
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from centaurlab.data.source import DataArguments
from centaurlab.jobs.people import find_people, language_models
from centaurlab.reporting import write_report
from centaurlab.results.run import read_run
from centaurlab.runtime.errors import UserError
from helpers.commands import UNTRACKED, centaurlab
from helpers.score_runs import options
from helpers.transcripts import json_lines, sessions_of, two_keys

ROWS = ("uniform", "role-marginal", "item-marginal", "own-history", "shared", "adaptive", "own")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "sessions.jsonl"
    path.write_text(json_lines(sessions_of(["keys"], 12, lambda _, person: two_keys(person))))
    return path


@pytest.fixture(scope="module")
def rows(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "figures/raw").mkdir(parents=True)
    mine = {folder / name: name for name in ("against.csv", "figures/paper.pdf", "figures/raw/a.csv")}
    for path, name in mine.items():
        path.write_text(name)
    done = centaurlab("baselines", "--data", str(data), "--output_dir", str(folder), *UNTRACKED)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_text() for path in mine} == mine, "nobody's files but its own are removed"
    assert "learned from the training people" in done.stdout
    return folder


def test_every_row_is_a_folder_of_scores_of_every_response(rows: Path) -> None:
    for row in ROWS:
        run = read_run(rows / row)
        assert run.model == row
        assert run.record.coverage["keys"].scored == run.table().num_rows == 12 * 12
        assert set(run.table().column("n_options").to_pylist()) == {2}
        assert set(run.table().column("option_nll").to_pylist()) == {0.0}
    table = read_run(rows / "uniform").table().to_pandas()
    assert table["nll"].to_numpy() == pytest.approx(log(2))
    assert table["nll_t2.00"].to_numpy() == pytest.approx(log(2))


def test_the_table_holds_the_nll_of_every_row(rows: Path) -> None:
    table = pd.read_csv(rows / "baselines.csv")
    assert list(table["row"].unique()) == list(ROWS)
    for row in ROWS:
        mean = read_run(rows / row).table().to_pandas()["nll"].mean()
        found = table[(table["row"] == row) & (table["study"] == "keys")]["nll"].item()
        assert found == pytest.approx(mean, abs=1e-5)


def test_a_language_model_is_compared_with_a_row(
    rows: Path, data: Path, tiny_llama_dir: Path, tmp_path: Path, offline: None
) -> None:
    scored = centaurlab("score", *options(tiny_llama_dir, data, tmp_path / "model"))
    assert scored.returncode == 0, scored.stderr
    pair = ("--base", str(rows / "own-history"), "--post", str(tmp_path / "model"))
    done = centaurlab("misalignment", *pair, "--output_dir", str(tmp_path / "misalignment"), *UNTRACKED)
    assert done.returncode == 0, done.stderr
    assert "own-history" in done.stdout


def test_the_report_says_which_row_predicts_best(rows: Path, tmp_path: Path) -> None:
    (section,) = write_report([rows], tmp_path / "report.html", "html")
    said = section.answers[0]
    tables = {row: read_run(rows / row).table().to_pandas() for row in ROWS if row != "own"}
    people = {row: table.groupby("participant", observed=True)["nll"].mean() for row, table in tables.items()}
    best = min(people, key=lambda row: people[row].mean())
    others = [row for row in people if row != best]
    unsure = [row for row in others if stats.ttest_rel(people[row], people[best]).pvalue > 0.05]
    assert f", {best} {'has the lowest NLL, and it is not sure that' if unsure else 'predicts best'}" in said
    assert [row for row in others if row in said.partition("lower than that of ")[2]] == unsure
    assert section.figures
    assert write_report([rows / row for row in ROWS[:6]], tmp_path / "rows.html", "html")


def test_held_out_people_are_predicted_alone(data: Path, tmp_path: Path) -> None:
    asked = ("--data", str(data), "--participants", "test", "--output_dir", str(tmp_path / "rows"))
    done = centaurlab("baselines", *asked, *UNTRACKED)
    assert done.returncode == 0, done.stderr
    assert "other folds" not in done.stdout
    run = read_run(tmp_path / "rows" / "role-marginal")
    assert run.record.data.studies["keys"].sessions == 1
    assert "11 sessions" in run.record.notes[0]


@pytest.mark.parametrize("participants", ["test", "all"])
def test_of_the_test_half_of_a_split_everybody_is_predicted_and_that_is_said(
    data: Path, tmp_path: Path, participants: str
) -> None:
    """Scoring takes ``--participants test`` of such data for all, too: the responses are those of a model's scores."""
    sessions = pd.read_json(data, lines=True)
    (tmp_path / "halves").mkdir()
    sessions[:8].to_parquet(tmp_path / "halves" / "train-00000-of-00001.parquet")
    sessions[8:].to_parquet(tmp_path / "halves" / "test-00000-of-00001.parquet")
    asked = DataArguments(str(tmp_path / "halves"), data_split="test", participants=participants)
    people = find_people(asked, None, [], {})
    assert {key.participant for key in people.predicted["keys"]} == set(sessions["participant"][8:].astype(str))
    assert people.said == (
        "learned from the training people of the split with --data_seed 0 of this test half of the data's own split, "
        "all of whose people are predicted, 3 sessions; 3 of them are predicted too, by the training people of the "
        "other folds"
    )


def adapter_of(folder: Path, train: list[str], **about: object) -> str:
    folder.mkdir()
    people = {"train": [["keys/exp1.csv", one] for one in train], "test": [["keys/exp1.csv", "0"]]}
    known = {"eval_data": None, "novel_studies": [], "split_seed": 0, "base_fingerprint": "", "held_out_by": "person"}
    (folder / "split.json").write_text(json.dumps(known | {"studies": {"keys": people}} | about))
    return str(folder)


def test_people_trained_on_are_learned_from_where_they_are(data: Path, tmp_path: Path) -> None:
    """In another split of the data, or in other data; and they are missed where they are not found."""
    sessions = pd.read_json(data, lines=True)
    halves = tmp_path / "halves"
    halves.mkdir()
    sessions[:8].to_parquet(halves / "train-00000-of-00001.parquet")
    sessions[8:].to_parquet(halves / "test-00000-of-00001.parquet")
    train = sessions["participant"][:8].astype(str).tolist()
    part = {"data": str(halves), "data_split": "train", "data_revision": None}
    adapter = adapter_of(tmp_path / "new", train, **part)
    asked = DataArguments(str(halves), data_split="test")
    people = find_people(asked, adapter, [], {})
    assert sorted(key.participant for key in people.training["keys"]) == sorted(train)
    assert {key.participant for key in people.predicted["keys"]} == set(sessions["participant"][8:].astype(str))
    older = adapter_of(tmp_path / "older", train, data=str(halves))
    with pytest.raises(UserError, match="lacks 8 of 8 people whom the adapter"):
        find_people(asked, older, [], {})
    elsewhere = adapter_of(tmp_path / "elsewhere", train, data=str(data))
    assert len(find_people(asked, elsewhere, [], {}).training["keys"]) == 8


def test_a_folder_of_another_job_is_kept(rows: Path, data: Path) -> None:
    done = centaurlab("baselines", "--data", str(data), "--output_dir", str(rows / "uniform"), *UNTRACKED)
    assert "holds a run of score" in done.error


def test_models_are_held_against_the_rows(rows: Path, data: Path, tmp_path: Path) -> None:
    """Two rows in the place of language models: of one it is known what it differs by from itself, and from chance."""
    models = [f"{name}={rows / row}" for name, row in (("guessing", "uniform"), ("mine", "own-history"))]
    asked = ("--data", str(data), "--models", *models, "--output_dir", str(tmp_path / "rows"))
    done = centaurlab("baselines", *asked, "--resamples", "100", *UNTRACKED)
    assert done.returncode == 0, done.stderr
    assert "the person's own earlier answers" in done.stdout
    against = pd.read_csv(tmp_path / "rows" / "against.csv").set_index(["model", "baseline", "level"])
    assert against.loc[("mine", "own-history", "study"), "difference"] == pytest.approx(0, abs=1e-6)
    nll = {row: read_run(rows / row).table().to_pandas()["nll"].mean() for row in ("uniform", "own-history")}
    expected = nll["uniform"] - nll["own-history"]
    assert against.loc[("guessing", "own-history", "study"), "difference"] == pytest.approx(expected, abs=1e-5)
    chosen = pd.read_csv(tmp_path / "rows" / "selection.csv").set_index(["study", "row"])
    assert chosen.loc["keys", "frequency"].sum() == pytest.approx(1, abs=1e-5)
    assert {"guessing", "mine", "adaptive"} <= set(chosen.loc["keys"].index)
    (section,) = write_report([tmp_path / "rows"], tmp_path / "report.html", "html")
    assert any("mine" in answer for answer in section.answers)
    assert {"against-1", "against-2"} <= {figure.name for figure in section.figures}


def test_folders_of_one_model_are_read_together_and_none_twice(rows: Path, data: Path, tmp_path: Path) -> None:
    asked = ("--data", str(data), "--participants", "train", "--output_dir", str(tmp_path / "train"))
    assert centaurlab("baselines", *asked, *UNTRACKED).returncode == 0
    train, everybody = (read_run(folder / "uniform") for folder in (tmp_path / "train", rows))
    assert language_models([f"mine={train.folder}"])[0].sessions < language_models([str(everybody.folder)])[0].sessions
    with pytest.raises(UserError, match="two folders of mine hold"):
        language_models([f"mine={train.folder}", f"mine={everybody.folder}"])


def test_texts_that_were_scored_otherwise_are_refused(rows: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text(data.read_text().replace("slot machines", "machines"))
    asked = ("--data", str(tmp_path / "other.jsonl"), "--models", f"m={rows / 'uniform'}")
    done = centaurlab("baselines", *asked, "--output_dir", str(tmp_path / "rows"), *UNTRACKED)
    assert "other texts of keys" in done.error
    assert not (tmp_path / "rows" / "uniform").exists()


def test_the_people_of_a_centaur_are_learned_from_and_others_where_it_never_was(tmp_path: Path) -> None:
    records = sessions_of(["keys", "other"], 12, lambda _, person: two_keys(person))
    (tmp_path / "two.jsonl").write_text(json_lines(records))
    (tmp_path / "centaur").mkdir()
    train, test = ([["keys/exp1.csv", str(person)] for person in people] for people in ((1, 2, 3), (4, 5)))
    split = {"data": str(tmp_path / "two.jsonl"), "eval_data": None, "novel_studies": ["other"], "split_seed": 0}
    split |= {"studies": {"keys": {"train": train, "test": test}}, "base_fingerprint": "", "held_out_by": "person"}
    (tmp_path / "centaur" / "split.json").write_text(json.dumps(split))
    asked = ("--data", str(tmp_path / "two.jsonl"), "--adapter", str(tmp_path / "centaur"))
    done = centaurlab("baselines", *asked, "--output_dir", str(tmp_path / "rows"), *UNTRACKED)
    assert done.returncode == 0, done.stderr
    (said,) = read_run(tmp_path / "rows" / "adaptive").record.notes
    assert f"{3 + 11} sessions" in said
    assert "in other, which it never saw, other people of the study" in said
    assert set(pd.read_csv(tmp_path / "rows" / "selection.csv")["study"]) >= {"all novel studies"}


OWN_MODEL = """
import numpy as np
from centaurlab.cognitive.model import CognitiveModel, Prior, log_softmax, most_options

def likelihood(trials, knowledge):
    first = np.zeros((len(trials), most_options(trials)))
    first[:, 0] = 1
    return lambda theta: log_softmax(theta[:, :, None] * first)

MODELS = (CognitiveModel("first", "named first", "me", ("keys",), (Prior("bias", 0, 1),), likelihood),)
"""


def test_a_model_of_ones_own_is_one_file(data: Path, tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(OWN_MODEL)
    asked = ("--data", str(data), "--output_dir", str(tmp_path / "rows"), "--model_file", str(tmp_path / "first.py"))
    done = centaurlab("baselines", *asked, *UNTRACKED)
    assert done.returncode == 0, done.stderr
    (row,) = pd.read_csv(tmp_path / "rows" / "models.csv").to_dict("records")
    assert (row["model"], row["responses"]) == ("first", 144)
    assert row["nll_own"] <= row["nll_adaptive"]
    assert row["nll_adaptive"] == pytest.approx(
        read_run(tmp_path / "rows" / "adaptive").table().to_pandas()["nll"].mean(), abs=1e-5
    )


def test_a_model_of_ones_own_for_which_an_answer_is_impossible_is_told(data: Path, tmp_path: Path) -> None:
    sure = "lambda theta: log_softmax(np.where(first == 1, 0, -np.inf) + 0 * theta[:, :, None])"
    text = OWN_MODEL.replace("lambda theta: log_softmax(theta[:, :, None] * first)", sure)
    assert text != OWN_MODEL
    (tmp_path / "rule.py").write_text(text)
    asked = ("--data", str(data), "--output_dir", str(tmp_path / "rows"), "--model_file", str(tmp_path / "rule.py"))
    done = centaurlab("baselines", *asked, "--participants", "test", *UNTRACKED)
    assert f"{tmp_path / 'rule.py'}: the model 'first' gives " in done.error
    assert "of 'keys' (experiment 'keys/exp1.csv') at trial " in done.error
    assert not (tmp_path / "rows" / "adaptive").exists()


@pytest.mark.parametrize(("text", "says"), [("x = 1", "defines no MODELS"), ("x = ", "fails when it is run")])
def test_a_file_without_models_is_told(data: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    asked = ("--data", str(data), "--output_dir", str(tmp_path / "rows"), "--model_file", str(tmp_path / "mine.py"))
    assert says in centaurlab("baselines", *asked, *UNTRACKED).error
