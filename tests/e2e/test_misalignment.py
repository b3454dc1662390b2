"""``eval/misalignment.py`` as a user runs it: on folders of scores, on models, and on what cannot be compared."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from centaurlab.cli.commands import find_command
from centaurlab.runtime.arguments import parse_arguments
from helpers.commands import UNTRACKED, Done, evaluate, run_python
from helpers.json_files import read_json, run_json
from helpers.paths import EVAL
from helpers.tiny_models import save_tiny_llama
from helpers.transcripts import sessions_of, write_transcripts


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people in each of two studies, who press one of two keys eight times."""
    draw = np.random.default_rng(0)

    def text(_study: str, _person: int) -> str:
        return "You see two keys.\n" + "".join(f"You press <<{key}>>.\n" for key in draw.choice(["J", "F"], 8))

    rows = sessions_of(("keys2020", "again2021"), 12, text)
    return write_transcripts(tmp_path_factory.mktemp("data") / "sessions.jsonl", rows)


def misalignment(*arguments: object, cwd: Path) -> Done:
    return evaluate("misalignment.py", *arguments, cwd=cwd)


def score_folders(folder: Path) -> list[Path]:
    """Where ``run.json`` says that the models' scores are: base, then post."""
    return [folder.parent / model["folder"] for model in run_json(folder)["models"]]


@pytest.fixture(scope="module")
def finished(
    sessions: Path, tiny_llama_dir: Path, tiny_gemma_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done]:
    """Two models compared by name, in a process of its own: scored first, in the output folder."""
    folder = tmp_path_factory.mktemp("runs")
    models = ("--base", tiny_llama_dir, "--post", tiny_gemma_dir, "--dtype", "float32")
    arguments = (*models, "--data", sessions, "--resamples", "200", "--output_dir", "effect", *UNTRACKED)
    done = run_python(EVAL / "misalignment.py", *arguments, cwd=folder, CENTAURLAB_CACHE=str(folder / "cache"))
    return folder / "effect", done


def test_models_are_scored_first_and_then_compared(finished: tuple[Path, Done]) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "scores").glob("*/scores.parquet"))) == 2
    table = pd.read_csv(folder / "effects.csv")
    pd.testing.assert_frame_equal(table, pd.read_parquet(folder / "effects.parquet"), check_dtype=False)
    assert table.loc[0, ["level", "name", "n_studies"]].tolist() == ["overall", "all studies", 2]
    assert set(table.query("level == 'study'")["name"]) == {"keys2020", "again2021"}
    assert table.query("level == 'study'")["n_responses"].tolist() == [96, 96]
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"{name}.{kind}" for name in ("nats", "forest") for kind in ("pdf", "png")
    }
    assert (table["d_low"] <= table["d"]).all()
    assert (table["d"] <= table["d_high"]).all()


def test_the_effects_are_those_of_the_scores(finished: tuple[Path, Done]) -> None:
    folder, _ = finished
    base, post = (pd.read_parquet(scores / "scores.parquet") for scores in score_folders(folder))
    for _, row in pd.read_csv(folder / "effects.csv").query("level == 'study'").iterrows():
        x, y = (scores.loc[scores["study"] == row["name"], "nll"].astype(float) for scores in (base, post))
        assert row["d"] == pytest.approx((y.mean() - x.mean()) / np.sqrt((x.var() + y.var()) / 2))
        assert (row["nll_base"], row["nll_post"]) == pytest.approx((x.mean(), y.mean()))


def test_the_terminal_says_which_model_is_worse(finished: tuple[Path, Done]) -> None:
    folder, done = finished
    overall = run_json(folder)["overall"]
    assert re.sub(r"/\S*/", "", overall["verdict"]) in done.stdout, "models that are files by their names"
    excludes = overall["d"]["low"] > 0 or overall["d"]["high"] < 0
    assert ("exclude" if excludes else "include") in overall["verdict"]
    assert "keys2020" in done.stdout


def test_folders_of_scores_give_the_same_effects(finished: tuple[Path, Done], tmp_path: Path) -> None:
    folder, _ = finished
    base, post = score_folders(folder)
    arguments = ["--base", base, "--post", post, "--resamples", "200", "--output_dir", "again"]
    done = misalignment(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again/effects.csv").read_bytes() == (folder / "effects.csv").read_bytes()


def test_what_is_said_of_scoring_has_no_place_where_nothing_is_scored(
    finished: tuple[Path, Done], tmp_path: Path
) -> None:
    folder, _ = finished
    assert read_json(folder / "config.json")["dtype"] == "float32"
    base, post = score_folders(folder)
    arguments = ["--base", base, "--post", post, "--resamples", "50", "--output_dir", "effect"]
    for given in (["--studies", "keys2020"], ["--protocol", "paper"], ["--load_in_4bit"]):
        done = misalignment(*arguments, *given, cwd=tmp_path)
        assert f"error: {given[0]} is for models that are scored first, and these are folders" in done.error
    assert not (tmp_path / "effect").exists()
    assert misalignment(*arguments, cwd=tmp_path).returncode == 0
    recorded = read_json(tmp_path / "effect/config.json")
    assert recorded.keys() == {"base", "post", "pairs", "resamples", "seed", "precision", "output_dir", "digest"}


@pytest.mark.parametrize(
    ("script", "given"),
    [("diagnosis.py", ["--base", "a", "--post", "b"]), ("generations.py", ["--pairs", "pairs.csv"])],
)
def test_so_it_is_in_the_other_comparisons(script: str, given: list[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "store").mkdir(parents=True)
    (tmp_path / "pairs.csv").write_text("post_trained,base\nb,a\n")
    arguments = [*given, "--max_length", "100", "--output_dir", "out"]
    done = evaluate(script, *arguments, cwd=tmp_path)
    assert "error: --max_length is for models that are scored first" in done.error


def test_an_unfinished_run_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "unfinished/store").mkdir(parents=True)
    done = misalignment("--base", "unfinished", "--post", "unfinished", "--output_dir", "effect", cwd=tmp_path)
    assert done.error.startswith("error: unfinished is not a finished run of 'centaurlab score'")
    assert done.stderr.splitlines()[-1] == done.error


@pytest.fixture(scope="module")
def many(
    sessions: Path, tiny_llama_dir: Path, tiny_gemma_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done]:
    """Four pairs of a table: a base with two others, one of these with itself, and a base with what is no model."""
    folder = tmp_path_factory.mktemp("pairs")
    other = save_tiny_llama(folder / "other", seed=1)
    pairs = [
        (other, tiny_llama_dir, "chat", "tiny1"),
        (tiny_gemma_dir, tiny_llama_dir, "chat", "tiny2"),
        (folder / "nothing", tiny_llama_dir, "code", "tiny1"),
        (other, other, "code", "tiny2"),
    ]
    rows = [",".join(map(str, row)) for row in [("post_trained", "base", "post_training", "family"), *pairs]]
    (folder / "pairs.csv").write_text("\n".join(rows))
    arguments = ["--pairs", "pairs.csv", "--data", sessions, "--resamples", "100", "--output_dir", "effect"]
    return folder / "effect", misalignment(*arguments, "--dtype", "float32", cwd=folder)


def test_many_pairs_survive_a_model_that_cannot_be_loaded(many: tuple[Path, Done]) -> None:
    folder, done = many
    assert done.error.startswith("error: 1 of the models could not be scored and are left out")
    assert done.stderr.splitlines()[-1] == done.error
    assert str(folder.parent / "nothing") in done.error
    assert len(pd.read_csv(folder / "effects.csv").query("group == 'pair' and level == 'overall'")) == 3


def test_every_model_is_scored_once_whatever_pairs_it_serves(
    many: tuple[Path, Done],
) -> None:
    folder, done = many
    assert len(list((folder / "scores").glob("*/scores.parquet"))) == 3
    assert done.stdout.count("\nscored ") + done.stdout.startswith("scored ") == 3
    assert "are the same model, by the fingerprint" in done.stdout


def test_pairs_are_averaged_by_kind_family_and_altogether(many: tuple[Path, Done]) -> None:
    folder, _ = many
    table = pd.read_csv(folder / "effects.csv")
    groups = table.query("level == 'overall' and group != 'pair'")[["group", "group_name", "n_pairs"]]
    assert groups.values.tolist() == [
        ["all", "all pairs", 3],
        ["post_training", "chat", 2],
        ["post_training", "code", 1],
        ["family", "tiny1", 1],
        ["family", "tiny2", 2],
    ]
    for (level, name), rows in table.groupby(["level", "name"]):
        of_pairs = rows.loc[rows["group"] == "pair", "d"]
        assert len(of_pairs) == 3, (level, name)
        assert rows.loc[rows["group"] == "all", "d"].item() == pytest.approx(of_pairs.mean())
        assert rows.loc[rows["group_name"] == "chat", "d"].item() == pytest.approx(of_pairs.iloc[:2].mean())


def test_pairs_of_folders_are_compared_without_scoring(many: tuple[Path, Done], tmp_path: Path) -> None:
    folder, _ = many
    base, post = score_folders(folder)[:2]
    (tmp_path / "mine.csv").write_text(f"post_trained,base\n{post},{base}\n{base},{post}\n")
    done = misalignment("--pairs", "mine.csv", "--resamples", "50", "--output_dir", "effect", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "effect/scores").exists()
    there, back, both = pd.read_csv(tmp_path / "effect/effects.csv").query("level == 'overall'")["d"].iloc[[1, 2, 0]]
    assert there == pytest.approx(-back)
    assert both == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "a"], "error: give both --base and --post, or --pairs instead"),
        (["--base", "a", "--post", "b", "--pairs", "all"], "error: give both --base and --post, or --pairs instead"),
        (["--pairs", "qwen"], "error: the catalog has no family 'qwen'; did you mean"),
        (["--pairs", "qwen3", "--resamples", "0"], "error: --resamples must be at least 1"),
    ],
)
def test_arguments_that_make_no_sense_are_one_sentence(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = misalignment(*arguments, "--output_dir", "effect", cwd=tmp_path)
    assert done.error.startswith(message)
    assert done.stderr.splitlines()[-1] == done.error


@pytest.mark.parametrize("config", sorted((EVAL / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_the_configs_name_pairs_that_there_are(config: Path) -> None:
    arguments, *_ = parse_arguments(find_command("misalignment").arguments, "", ["--config", str(config)])
    assert len(arguments.asked_pairs()) == 65
