"""Files of two runs exchanged, each sound as it is: a file is never taken for the run's in whose folder it lies."""

import gzip
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from centaurlab.analyses.finished import find_runs
from centaurlab.analyses.generalisation import section
from centaurlab.data.files import SIMULATED, list_files
from centaurlab.data.held_out import read_split
from centaurlab.data.transcripts import SessionKey
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.reporting import sections
from centaurlab.results.record import Coverage, ModelIdentity, ScoredData, ScoredProtocol, ScoredStudy, ScoreRecord
from centaurlab.results.run import write_record
from centaurlab.results.table import write_scores
from centaurlab.runs.folder import WRITTEN, RunFolder
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.store import ScoreStore, SessionResult
from centaurlab.simulation.answers import Answer
from centaurlab.simulation.player import Simulated
from centaurlab.simulation.store import SimulationStore
from centaurlab.stats.estimate import Estimate
from helpers.adapters import save_adapter
from helpers.commands import UNTRACKED, centaurlab
from helpers.effect_rows import effects_of
from helpers.finished_runs import effect_run, gain_run, score_run
from helpers.json_files import run_json, write_json
from helpers.score_folders import random_scores

DIGEST = "ab" * 32
MODELS = {name: {"model": {"name": name, "fingerprint": name}, "max_tokens": 512} for name in ("base", "post")}


def scored(folder: Path) -> None:
    """A store of scores in ``folder``, of the model that it is named after."""
    store = ScoreStore(folder, dict(MODELS[folder.name]))
    store.add(DIGEST, SessionResult(random_scores(1), Coverage(4, 4), 90, 80, 0.5))
    store.close()


@pytest.mark.parametrize("file", ["process-0.sqlite", "identity.json"])
def test_results_of_another_model_are_refused(tmp_path: Path, file: str) -> None:
    for name in MODELS:
        scored(tmp_path / name)
    shutil.copy(tmp_path / "post" / file, tmp_path / "base" / file)
    asked = MODELS["base" if file == "process-0.sqlite" else "post"]
    with pytest.raises(UserError, match=r"process-0\.sqlite is of another run: it holds scores with another model"):
        ScoreStore(tmp_path / "base", dict(asked))


def test_results_of_another_process_and_the_same_model_are_taken(tmp_path: Path) -> None:
    scored(tmp_path / "base")
    shutil.copy(tmp_path / "base" / "process-0.sqlite", tmp_path / "base" / "process-3.sqlite")
    (tmp_path / "base" / "process-0.sqlite").unlink()
    store = ScoreStore(tmp_path / "base", dict(MODELS["base"]))
    assert store.find(DIGEST)
    store.close()


def simulated(folder: Path) -> SimulationStore:
    """A store of simulated sessions in ``folder``, of the model that it is named after."""
    store = SimulationStore(folder, MODELS[folder.name])
    answers = (Answer("J", 0.5, 0.1, 2, True),)
    store.add(DIGEST, Simulated(f"<<J>> by {folder.name}", answers, 0, True))
    return store


@pytest.mark.parametrize("file", ["process-0.jsonl", "identity.json"])
def test_sessions_of_another_simulation_are_refused(tmp_path: Path, file: str) -> None:
    for name in MODELS:
        simulated(tmp_path / name)
    shutil.copy(tmp_path / "post" / file, tmp_path / "base" / file)
    asked = MODELS["base" if file == "process-0.jsonl" else "post"]
    with pytest.raises(UserError, match=r"process-0\.jsonl is of another simulation"):
        SimulationStore(tmp_path / "base", asked).read()


@pytest.mark.parametrize("damage", ["", "{", "{}x"])
def test_a_damaged_identity_costs_no_simulated_session(tmp_path: Path, damage: str) -> None:
    known = simulated(tmp_path / "base").read()
    sound = (tmp_path / "base" / "identity.json").read_text()
    (tmp_path / "base" / "identity.json").write_text(damage)
    again = SimulationStore(tmp_path / "base", MODELS["base"]).read()
    assert [asdict(session) for session in again.values()] == [asdict(session) for session in known.values()]
    assert (tmp_path / "base" / "identity.json").read_text() == sound


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of scoring, base and post, on the same sessions of different data."""
    folder = tmp_path_factory.mktemp("runs")
    keys = [SessionKey("shelf", "exp1", str(person)) for person in range(6)]
    for seed, name in enumerate(MODELS):
        run = RunFolder(folder / name, "score")
        write_scores(run.path, [(key, random_scores(seed + n)) for n, key in enumerate(keys)])
        run.write_json("config.json", {"data": f"{name}.jsonl", "max_length": 512 + seed})
        (run.path / "table.csv").write_text(f"study,d\nshelf,0.2{seed}\n")
        run.log({"nll/mean": 1.5 + seed}, 1)
        run.log({"nll/mean": 1.25 + seed}, 2)
        data = ScoredData("people", "f", {"shelf": ScoredStudy("00", 6, 6, 24, 1.5, 0.5)})
        write_record(run, ScoreRecord(ModelIdentity(name, name), ScoredProtocol("full", 512), data))
    return folder


READERS = {
    "report": ("report", "base", "--output", "page.html"),
    "compare": ("compare", "base", "post"),
    "misalignment": ("misalignment", "--base", "base", "--post", "post", "--output_dir", "out", *UNTRACKED),
    "export": ("export", "base"),
    "push": ("push", "base", "--repo", "a/b", "--dry_run"),
}
READ = {  # what each reads, of the files that can change places
    "report": {"scores.parquet", "run.json", "config.json", "metrics.jsonl"},
    "compare": {"run.json", "config.json", "metrics.jsonl"},
    "misalignment": {"scores.parquet", "run.json"},
    "export": {"scores.parquet", "run.json"},
    "push": {"scores.parquet", "run.json"},
}


@pytest.mark.parametrize("change", ["another run's", "gone"])
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_is_another_run_s_or_gone_is_missed(
    reader: str, change: str, two_runs: Path, tmp_path: Path
) -> None:
    for name in sorted(READ[reader]):
        folder = shutil.copytree(two_runs, tmp_path / name)
        (folder / "base" / name).unlink()
        if change == "another run's":
            shutil.copy(folder / "post" / name, folder / "base" / name)
        done = centaurlab(*READERS[reader], cwd=folder)
        if reader != "compare" or (name, change) == ("config.json", "gone"):
            assert done.error, name
        else:  # it shows the run as unfinished, and without what could be another's
            assert done.stdout.count("unfinished") == done.stdout.count("2.250") == 1, name
            assert ("1.250" in done.stdout) == ((name, change) == ("run.json", "gone"))


def test_a_line_of_metrics_that_is_lost_is_missed_and_one_that_follows_is_not(two_runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(two_runs / "base", tmp_path / "base")
    RunFolder(folder, "score").log({"nll/mean": 1.0}, 3)
    assert "1.000" in centaurlab("compare", folder).stdout
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text(lines[0])
    done = centaurlab("compare", folder)
    assert "metrics.jsonl is not that of the finished run" in done.stderr
    assert "1.500" not in done.stdout


def test_the_sessions_of_another_simulation_are_refused(tmp_path: Path) -> None:
    for name in MODELS:
        run = RunFolder(tmp_path / name, "simulate")
        with gzip.open(run.path / SIMULATED, "wt") as file:
            file.write(json.dumps({"text": f"You press <<{name}>>.", "study": "a", "participant": "1"}))
        run.finish({"job": "simulate"})
    assert list_files(tmp_path / "base")
    shutil.copy(tmp_path / "post" / SIMULATED, tmp_path / "base" / SIMULATED)
    for asked in (tmp_path / "base", tmp_path / "base" / SIMULATED):
        with pytest.raises(UserError, match=r"simulated\.jsonl\.gz is damaged"):
            list_files(asked)


def test_a_split_of_another_adapter_judges_nobody(tmp_path: Path) -> None:
    for name in MODELS:
        run = RunFolder(tmp_path / name, "train")
        about = {"data": "p.jsonl", "eval_data": None, "novel_studies": [], "split_seed": 0, "base_fingerprint": "f"}
        people = {side: [["e", f"{name} {side}"]] for side in ("train", "test")}
        run.write_json("split.json", about | {"studies": {"shelf": people}})
        run.finish({"job": "train"})
    assert read_split(tmp_path / "base").test == {SessionKey("shelf", "e", "base test")}
    shutil.copy(tmp_path / "post" / "split.json", tmp_path / "base" / "split.json")
    with pytest.raises(UserError, match=r"split\.json is not that of the finished run beside it"):
        read_split(tmp_path / "base")


def test_an_adapter_that_lost_its_tokenizer_is_not_read_with_its_base_s(
    tiny_llama_dir: Path, tmp_path: Path, own_cache: Path
) -> None:
    run = RunFolder(tmp_path / "adapter", "train")
    save_adapter(tiny_llama_dir, run.path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_llama_dir / name, run.path)
    run.finish({"job": "train"})
    assert identify(ModelArguments(str(run.path)))
    (run.path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json is gone, .* copy the rest elsewhere without run\.json"):
        identify(ModelArguments(str(run.path)))
    rest = shutil.copytree(run.path, tmp_path / "rest", ignore=shutil.ignore_patterns("run.json"))
    assert identify(ModelArguments(str(rest)))


def test_a_report_needs_what_the_comparison_wrote_and_nothing_else(two_runs: Path, tmp_path: Path) -> None:
    scores = [shutil.copytree(two_runs / name, tmp_path / name) for name in MODELS]
    run = effect_run(tmp_path / "effect", effects_of(["shelf"], Estimate(0.4, 0.1, 0.7)), scores)
    for name in ("notes", "gap"):  # somebody's own, and an earlier call's
        (run / f"{name}.csv").write_text(f"{name}\n1\n")
    RunFolder(run, "misalignment").finish(run_json(run) | {WRITTEN: ["effects.csv"]})
    (run / "notes.csv").unlink()
    (scores[0] / "scores.parquet").unlink()
    titles = [table.title for table in sections(find_runs([run]))[0].tables]
    assert [title for title in titles if title.split(":")[0] in ("Coverage", "Gap")] == ["Coverage: base, post"]
    (run / "effects.csv").unlink()
    with pytest.raises(UserError, match=r"effects\.csv is gone, of which run\.json beside it tells"):
        find_runs([run])


def test_the_report_says_nothing_of_models_that_an_earlier_call_scored(tmp_path: Path) -> None:
    run = gain_run(tmp_path / "gain")
    for seed, name in enumerate(("now", "earlier")):
        score_run(run / name, f"org/{name}", ["a2020"], seed)
    write_json(run / "run.json", run_json(run) | {"models": [{"name": "org/now", "fingerprint": "f0"}]})
    titles = [table.title for table in section(*find_runs([run])).tables]
    assert [title for title in titles if title.startswith("Coverage")] == ["Coverage: now"]
