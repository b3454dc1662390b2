"""A folder of scores is read where its run is finished; two are compared where they scored the same alike."""

from pathlib import Path

import pandas as pd
import pytest

from centaurlab.analyses.fidelity import FidelityArguments, find_fidelity
from centaurlab.data.transcripts import SessionKey
from centaurlab.jobs.people import language_models
from centaurlab.results.record import ModelIdentity, ScoredData, ScoredProtocol, ScoreRecord
from centaurlab.results.run import ScoreRun, check_same, is_score_folder, names_apart, read_run
from centaurlab.runtime.errors import UserError
from centaurlab.stats.arguments import EstimateArguments
from helpers.commands import centaurlab
from helpers.json_files import write_json
from helpers.score_folders import Rows, score_folder, table_folder

BASE: Rows = [(SessionKey("s", "s/exp1.csv", "1"), {0: 0.5, 1: 1.0}), (SessionKey("r", "r", "1"), {0: 3.0})]


def test_the_same_data_and_protocol_pass(tmp_path: Path) -> None:
    check_same([read_run(score_folder(tmp_path / name, BASE)) for name in ("base", "post")])


def test_different_protocols_are_refused_by_name(tmp_path: Path) -> None:
    runs = [read_run(score_folder(tmp_path / name, BASE, protocol=name)) for name in ("full", "paper")]
    with pytest.raises(UserError, match=r"protocol 'full' .* 'paper'"):
        check_same(runs)


def test_scores_of_two_engines_are_held_against_each_other_by_no_command(tmp_path: Path) -> None:
    nlls = pd.DataFrame({"study": "s", "experiment": "s", "participant": ["1", "2"], "response": 0, "nll": [0.5, 1.0]})
    ours, theirs = (str(table_folder(tmp_path / str(engine), nlls, engine=engine)) for engine in (None, "vllm 0.33.0"))
    said = r"by our own scorer and .* by vllm 0\.33\.0, which round differently"
    with pytest.raises(UserError, match=said):
        check_same([read_run(Path(folder)) for folder in (ours, theirs)])
    with pytest.raises(UserError, match=said):
        language_models([f"a={ours}", f"b={theirs}"])
    asked = FidelityArguments("nobody", ["a", "b"], str(tmp_path / "out"), scores=[ours, theirs])
    with pytest.raises(UserError, match=said):
        find_fidelity(asked, EstimateArguments())
    done = centaurlab(
        "ceiling", "--data", "starter", "--models", ours, theirs, "--output_dir", str(tmp_path / "ceiling")
    )
    assert "which round differently" in done.error
    assert len(language_models([f"a={theirs}", f"b={theirs}"])) == 2
    chance = table_folder(tmp_path / "chance", nlls, model={"name": "chance", "dtype": "float64"})
    check_same([read_run(folder) for folder in (chance, Path(theirs))])


@pytest.mark.parametrize("prints", [{"r": "1", "s": "9"}, {"r": "1"}, {"r": "1", "s": "2", "t": "3"}])
def test_different_sessions_are_refused_naming_the_study(tmp_path: Path, prints: dict[str, str]) -> None:
    base = read_run(score_folder(tmp_path / "base", BASE))
    post = read_run(score_folder(tmp_path / "post", BASE, prints=prints))
    with pytest.raises(UserError, match=f"different sessions of {'t' if 't' in prints else 's'};"):
        check_same([base, post])


@pytest.mark.parametrize("name", ["run.json", "scores.parquet"])
def test_an_unfinished_run_is_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    folder = score_folder(tmp_path / "base", BASE)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"base .*holds no {name}.*again to finish it"):
        read_run(folder)


def test_a_folder_that_is_not_there_and_one_of_another_job_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="check the name"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a run of 'train'"):
        read_run(score_folder(tmp_path / "trained", BASE, job="train"))
    write_json(tmp_path / "run.json", {"job": "misalignment"})
    with pytest.raises(UserError, match="is a run of 'misalignment'"):  # which writes no scores.parquet
        read_run(tmp_path)


def test_a_score_folder_is_known_by_its_scores_or_store(tmp_path: Path) -> None:
    assert is_score_folder(score_folder(tmp_path / "base", BASE))
    assert not is_score_folder(tmp_path)
    (tmp_path / "store").mkdir()
    assert is_score_folder(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({"name": "a"}, {"name": "b"}, ("a", "b")),
        ({"name": "a", "dtype": "bfloat16"}, {"name": "a", "dtype": "float32"}, ("a (bfloat16)", "a (float32)")),
        (
            {"name": "a", "dtype": "bfloat16", "quantization": "nf4"},
            {"name": "a", "dtype": "bfloat16"},
            ("a (nf4)", "a (bfloat16)"),
        ),
        ({"name": "a", "dtype": "float32"}, {"name": "a", "dtype": "float32"}, ("a (x)", "a (y)")),
    ],
)
def test_one_model_twice_is_told_apart(first: dict[str, str], second: dict[str, str], names: tuple[str, str]) -> None:
    runs = [
        ScoreRun(Path(folder), ScoreRecord(ModelIdentity(**model), ScoredProtocol("full", 8), ScoredData("", "", {})))
        for folder, model in (("x", first), ("y", second))
    ]
    assert names_apart(*runs) == names


def test_log_probabilities_are_not_read_as_nlls(tmp_path: Path) -> None:
    """As another program may write them; by them the worse model would win. What is certain may be rounded below 0."""
    likely: Rows = [(key, {r: -nll for r, nll in nlls.items()}) for key, nlls in BASE]
    mixed: Rows = [(key, {**nlls, 99: 1e-7}) for key, nlls in likely]  # what is certain, rounded
    for name, rows in (("likely", likely), ("mixed", mixed)):
        with pytest.raises(UserError, match="no NLL is above zero, down to -3; these are log-probabilities"):
            read_run(score_folder(tmp_path / name, rows)).table(["nll"])
    certain: Rows = [(BASE[0][0], {0: 0.0, 1: -1e-6})]
    assert len(read_run(score_folder(tmp_path / "certain", certain)).table(["nll"]).to_pandas()) == 2
