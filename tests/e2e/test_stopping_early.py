"""``--precision`` as a user gives it to ``eval/score.py`` and ``eval/misalignment.py``, on tiny models."""

import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from centaurlab.data.persons import SEPARATE
from centaurlab.data.source import DataArguments
from centaurlab.data.splits import person_order
from centaurlab.data.transcripts import SessionKey
from centaurlab.models.arguments import ModelArguments
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure
from centaurlab.scoring.scorer import SessionScorer
from helpers.commands import UNTRACKED, evaluate, installed, run_process
from helpers.json_files import run_json
from helpers.paths import EVAL
from helpers.servers import free_port
from helpers.tiny_models import save_tiny_llama
from helpers.transcripts import INSTRUCTIONS, write_transcripts

pytestmark = pytest.mark.usefixtures("own_cache")

KEY = ["study", "experiment", "participant"]
N_STUDIES, N_PEOPLE = 2, 40


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("data") / "sessions.jsonl"
    rows = []
    for study in range(N_STUDIES):
        for person in range(N_PEOPLE):
            keys = (draw.choice(["J", "F", "-3", "left"]) for _ in range(draw.randint(2, 4)))
            trials = "".join(f"You choose <<{key}>> and win {i}. " for i, key in enumerate(keys))
            rows.append(
                {"text": INSTRUCTIONS * 3 + trials, "study": f"study{study}", "experiment": "e", "participant": person}
            )
    return write_transcripts(path, rows)


@pytest.fixture(scope="module")
def other_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("other"), seed=1)


FLOAT32 = ("--dtype", "float32")


def score_options(model: Path, data: Path, output: Path) -> list[str]:
    return ["--model_name_or_path", str(model), "--data", str(data), "--output_dir", str(output), *FLOAT32]


def scores(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "scores.parquet").astype(dict.fromkeys(KEY, str))


def people_of(table: pd.DataFrame) -> set[SessionKey]:
    return {SessionKey(*row) for row in table[KEY].drop_duplicates().itertuples(index=False)}


@pytest.fixture(scope="module")
def measured(
    tiny_llama_dir: Path, sessions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[float | None], Path]:
    """Scores of the sessions until some precision."""
    folder = tmp_path_factory.mktemp("measured")

    def run(precision: float | None) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CENTAURLAB_CACHE", str(folder / "cache"))
            model, data = ModelArguments(str(tiny_llama_dir), dtype="float32"), DataArguments(data=str(sessions))
            return measure(model, data, ScoreArguments(str(folder / str(precision)), precision=precision))

    return run


@pytest.fixture(scope="module")
def full(measured: Callable[[float | None], Path]) -> Path:
    """Everybody scored; read only."""
    return measured(None)


@pytest.fixture(scope="module")
def stopped(measured: Callable[[float | None], Path]) -> Path:
    """Content with anything, and so with one round of twenty people; read only."""
    return measured(50.0)


def later_target(folder: Path, part: float) -> str:
    """Some part of the half-width after the one round of the run in ``folder``: a target that takes more rounds."""
    (only,) = run_json(folder)["sample"]["rounds"]
    return str(part * only["half_width"])


def test_a_run_stops_early_with_the_scores_of_a_full_run(
    full: Path,
    stopped: Path,
    tiny_llama_dir: Path,
    sessions: Path,
    tmp_path: Path,
) -> None:
    options = score_options(tiny_llama_dir, sessions, tmp_path / "run")
    target = later_target(stopped, 0.6)
    done = evaluate("score.py", *options, "--precision", target)
    assert done.returncode == 0
    sample, table = run_json(tmp_path / "run")["sample"], scores(tmp_path / "run")
    assert sample["reached"]
    assert sample["half_width"] <= float(target) < sample["rounds"][-2]["half_width"]
    assert 20 < sample["sessions"] < sample["of_sessions"] == N_STUDIES * N_PEOPLE
    n = sample["rounds"][-1]["participants_per_study"]
    everybody = person_order(people_of(scores(full)), SEPARATE, seed=0)
    assert people_of(table) == {key for people in everybody.values() for (key,) in people[:n]}
    common = scores(full).merge(table[[*KEY, "response"]], on=[*KEY, "response"])
    pd.testing.assert_frame_equal(common, table)
    by_study = table.groupby("study")["nll"].apply(lambda nll: nll.astype(float).mean())
    assert sample["value"] == pytest.approx(by_study.mean(), abs=1e-6)
    assert run_json(tmp_path / "run")["data"]["fingerprint"] == run_json(full)["data"]["fingerprint"]
    round_said = f"round {len(sample['rounds'])}: {n} participants per study, {sample['sessions']} of 80 sessions"
    assert round_said in done.stdout
    assert f"a sample: {sample['sessions']} of 80 sessions scored; NLL over 2 studies" in done.stdout


def test_a_target_out_of_reach_is_said_to_be(full: Path, tiny_llama_dir: Path, sessions: Path, tmp_path: Path) -> None:
    options = score_options(tiny_llama_dir, sessions, tmp_path / "run")
    done = evaluate("score.py", *options, "--precision", "0.0001")
    assert done.returncode == 0
    sample = run_json(tmp_path / "run")["sample"]
    assert (sample["reached"], sample["sessions"]) == (False, N_STUDIES * N_PEOPLE)
    assert "(target 0.0001 not reached, as there is nobody left to score)" in done.stdout
    assert (tmp_path / "run/scores.parquet").read_bytes() == (full / "scores.parquet").read_bytes()


def test_an_interrupted_run_ends_as_one_that_was_not(
    stopped: Path,
    tiny_llama_dir: Path,
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    precision = ["--precision", later_target(stopped, 0.6)]
    assert (
        evaluate("score.py", *score_options(tiny_llama_dir, sessions, tmp_path / "whole"), *precision).returncode == 0
    )
    real, calls = SessionScorer.score_pieces, iter(range(100))

    def stop_in_the_second_round(*arguments: Any) -> Any:
        if next(calls) == 22:
            raise KeyboardInterrupt
        return real(*arguments)

    options = [*score_options(tiny_llama_dir, sessions, tmp_path / "cut"), *precision]
    with monkeypatch.context() as cut:
        cut.setattr(SessionScorer, "score_pieces", stop_in_the_second_round)
        assert evaluate("score.py", *options).returncode == 130
    assert not (tmp_path / "cut/scores.parquet").exists()
    assert evaluate("score.py", *options).returncode == 0
    assert (tmp_path / "cut/scores.parquet").read_bytes() == (tmp_path / "whole/scores.parquet").read_bytes()
    assert run_json(tmp_path / "cut")["sample"] == run_json(tmp_path / "whole")["sample"]
    assert run_json(tmp_path / "cut")["speed"]["tokens_computed_now"] < run_json(tmp_path / "whole")["speed"]["tokens"]


def test_without_precision_the_rest_is_scored(
    full: Path, stopped: Path, tiny_llama_dir: Path, sessions: Path, tmp_path: Path
) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    options = score_options(tiny_llama_dir, sessions, tmp_path / "run")
    assert evaluate("score.py", *options).returncode == 0
    assert run_json(tmp_path / "run")["sample"] is None
    assert (tmp_path / "run/scores.parquet").read_bytes() == (full / "scores.parquet").read_bytes()


def test_folders_that_stopped_at_different_people_are_compared_on_what_is_common(
    full: Path, stopped: Path, tmp_path: Path
) -> None:
    assert (run_json(stopped)["sample"]["sessions"], run_json(stopped)["sample"]["reached"]) == (20, True)
    both = ["--base", stopped, "--post", full, "--resamples", "50"]
    done = evaluate("misalignment.py", *both, "--output_dir", tmp_path / "effect")
    assert done.returncode == 0
    first = pd.read_csv(tmp_path / "effect/effects.csv").iloc[0]
    n_common, n_full = len(scores(stopped)), len(scores(full))
    assert (first["n_responses"], first["unmatched_base"], first["unmatched_post"]) == (n_common, 0, n_full - n_common)
    assert first["n_participants"] == 20
    assert "was scored on a sample, 20 of 80 sessions, until its NLL was known" in done.stdout
    assert len(run_json(tmp_path / "effect")["notes"]) == 1


def test_two_models_are_scored_on_the_same_people_until_d_is_known(
    tiny_llama_dir: Path,
    other_llama_dir: Path,
    sessions: Path,
    tmp_path: Path,
) -> None:
    models = ["--base", tiny_llama_dir, "--post", other_llama_dir, "--data", sessions, "--resamples", "50", *FLOAT32]
    output = ["--output_dir", tmp_path / "effect"]
    assert evaluate("misalignment.py", *models, "--precision", "50", *output).returncode == 0
    done = evaluate("misalignment.py", *models, "--precision", later_target(tmp_path / "effect", 0.45), *output)
    assert done.returncode == 0
    sample = run_json(tmp_path / "effect")["sample"]
    assert (sample["quantity"], sample["reached"]) == ("d", True)
    assert len(sample["rounds"]) > 1
    base, post = (scores(folder.parent) for folder in sorted((tmp_path / "effect/scores").glob("*/scores.parquet")))
    assert people_of(base) == people_of(post)
    assert len(people_of(base)) == sample["sessions"] < sample["of_sessions"]
    first = pd.read_csv(tmp_path / "effect/effects.csv").iloc[0]
    assert sample["value"] == pytest.approx(first["d"], abs=1e-9)
    assert f"a sample, the same of all models: {sample['sessions']} of 80" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "0"], "--precision is 0.0; it is the half-width"),
        (["--precision", "0.1", "--post", "{base}"], "--precision needs two models"),
        (["--precision", "0.1", "--post", "{folder}"], "is a folder of scores; name its model"),
    ],
)
def test_what_cannot_be_sampled_is_one_sentence(
    options: list[str],
    message: str,
    tiny_llama_dir: Path,
    other_llama_dir: Path,
    sessions: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "folder/store").mkdir(parents=True)
    given = [option.format(base=tiny_llama_dir, folder=tmp_path / "folder") for option in options]
    models = ["--base", tiny_llama_dir, *([] if "--post" in given else ["--post", other_llama_dir])]
    asked = (*models, "--data", sessions, *given, "--output_dir", tmp_path / "effect")
    assert message in evaluate("misalignment.py", *asked).error
    assert not (tmp_path / "effect/scores").exists()


def test_many_pairs_with_precision_are_refused(tmp_path: Path) -> None:
    asked = ("--pairs", "qwen3", "--precision", "0.1", "--output_dir", tmp_path / "e")
    assert "--precision is for one pair of models" in evaluate("misalignment.py", *asked).error


@pytest.mark.slow
def test_two_processes_stop_where_one_does(
    tiny_llama_dir: Path, other_llama_dir: Path, sessions: Path, tmp_path: Path
) -> None:
    models = ["--base", tiny_llama_dir, "--post", other_llama_dir, "--data", sessions, "--resamples", "50", *FLOAT32]
    assert evaluate("misalignment.py", *models, "--precision", "50", "--output_dir", tmp_path / "first").returncode == 0
    command = [EVAL / "misalignment.py", *models, "--precision", later_target(tmp_path / "first", 0.45), *UNTRACKED]
    torchrun = [installed("torchrun"), "--nproc_per_node", "2", "--master_port", free_port()]
    for name, launch in (("one", [sys.executable]), ("two", torchrun)):
        done = run_process(*launch, *command, "--output_dir", tmp_path / name)
        assert done.returncode == 0, done.stderr
    for table in sorted((tmp_path / "one/scores").glob("*/scores.parquet")):
        assert (tmp_path / "two/scores" / table.parent.name / table.name).read_bytes() == table.read_bytes()
    assert run_json(tmp_path / "two")["sample"] == run_json(tmp_path / "one")["sample"]
    assert (tmp_path / "two/effects.csv").read_bytes() == (tmp_path / "one/effects.csv").read_bytes()
