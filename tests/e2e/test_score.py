"""``eval/score.py`` as a user runs it: interrupted, repeated, grown, on several processes, and with bad input."""

import errno
import gzip
import json
import os
import random
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from transformers import ByT5Tokenizer

from helpers.commands import Done, installed, run_process, run_script
from helpers.json_files import run_json
from helpers.score_runs import SCRIPT, command, ended, n_stored, options, start, table_bytes
from helpers.servers import free_port
from helpers.transcripts import session, write_bandits

pytestmark = pytest.mark.usefixtures("offline")


def score(model: Path, data: Path, output: Path, *more: str) -> Done:
    """The script in this process."""
    return run_script(SCRIPT, *options(model, data, output, *more))


def test_a_run_writes_its_table_and_where_it_comes_from(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 6)
    done = score(tiny_llama_dir, data, tmp_path / "run")
    assert done.returncode == 0
    table = pq.read_table(tmp_path / "run" / "scores.parquet").to_pandas()
    assert len(table) == 6 * 5
    assert table["nll"].notna().all()
    run = run_json(tmp_path / "run")
    assert run["job"] == "score"
    assert {study: c["scored"] for study, c in run["coverage"].items()} == {"study0": 15, "study1": 15}
    for study, about in run["data"]["studies"].items():
        nll = table.loc[table["study"] == study, "nll"].astype("float64").mean()
        assert about["nll"] == pytest.approx(nll, abs=1e-9)
    assert run["speed"]["tokens_reused"] > 0
    assert "mean over studies" in done.stdout


def test_the_same_command_again_computes_nothing(
    tmp_path: Path, tiny_gemma_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 4)
    assert score(tiny_gemma_dir, data, tmp_path / "run").returncode == 0
    before = table_bytes(tmp_path / "run")

    def no_model(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("centaurlab.scoring.worker.load_model", no_model)
    assert score(tiny_gemma_dir, data, tmp_path / "run").returncode == 0
    assert table_bytes(tmp_path / "run") == before
    assert run_json(tmp_path / "run")["speed"]["tokens_computed_now"] == 0


def test_more_participants_reuse_those_already_scored(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 8)
    assert score(tiny_llama_dir, data, tmp_path / "run", "--max_participants", "2").returncode == 0
    first = pq.read_table(tmp_path / "run" / "scores.parquet").to_pandas()
    computed = run_json(tmp_path / "run")["speed"]["tokens_computed_now"]
    assert score(tiny_llama_dir, data, tmp_path / "run", "--max_participants", "4").returncode == 0
    grown = pq.read_table(tmp_path / "run" / "scores.parquet").to_pandas()
    assert len(grown) == 2 * len(first)
    keys = ["study", "participant", "response"]
    both = first.astype({k: str for k in keys}).merge(grown.astype({k: str for k in keys}), on=keys)
    assert len(both) == len(first)
    assert (both["nll_x"] == both["nll_y"]).all()
    assert 0 < run_json(tmp_path / "run")["speed"]["tokens_computed_now"] < 2 * computed


@pytest.mark.slow
def test_fifty_kills_change_nothing(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 24)
    started = time.monotonic()
    assert ended(start(command(tiny_llama_dir, data, tmp_path / "whole"))) == 0
    seconds = time.monotonic() - started
    expected = table_bytes(tmp_path / "whole")

    draw, run, partial = random.Random(0), tmp_path / "run", 0
    for _ in range(50):
        child = start(command(tiny_llama_dir, data, run))
        time.sleep(draw.uniform(0.3, 1.0) * seconds)
        child.kill()
        child.join()
        if (run / "scores.parquet").exists():
            assert table_bytes(run) == expected
            shutil.rmtree(run)
        partial += 0 < n_stored(run) < 24
    assert partial >= 5, "the kills missed the scoring"
    assert ended(start(command(tiny_llama_dir, data, run))) == 0
    assert table_bytes(run) == expected


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_give_the_table_of_one(tmp_path: Path, tiny_gemma_dir: Path, launcher: str) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 20)
    assert ended(start(command(tiny_gemma_dir, data, tmp_path / "one"))) == 0
    two = tmp_path / "two"
    launch = {
        "torchrun": ["--nproc_per_node", "2", "--master_port", str(free_port())],
        "accelerate": ["launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", str(free_port())],
    }[launcher]
    done = run_process(installed(launcher), *launch, *command(tiny_gemma_dir, data, two))
    assert done.returncode == 0, done.stderr
    assert table_bytes(two) == table_bytes(tmp_path / "one")
    assert run_json(two)["speed"]["processes"] == 2


@pytest.mark.slow
def test_what_a_lost_process_had_is_divided_among_another_number_of_them(tmp_path: Path, tiny_gemma_dir: Path) -> None:
    """Of three processes one dies before its results are on disk; two then share what is missing, and that alone."""

    def scored(process: int) -> set[str]:
        with closing(sqlite3.connect(tmp_path / "run" / "store" / f"process-{process}.sqlite")) as part:
            return {digest for (digest,) in part.execute("SELECT digest FROM results")}

    data = write_bandits(tmp_path / "data.jsonl", 24)

    def run(processes: str) -> None:
        launch = (installed("torchrun"), "--master_port", free_port(), "--nproc_per_node", processes)
        done = run_process(*launch, *command(tiny_gemma_dir, data, tmp_path / "run"))
        assert done.returncode == 0, done.stderr

    run("3")
    complete = table_bytes(tmp_path / "run")
    before = [scored(process) for process in range(3)]
    assert [len(part) for part in before] == [8, 8, 8]
    (tmp_path / "run" / "store" / "process-2.sqlite").unlink()
    run("2")
    new = [scored(process) - before[process] for process in range(2)]
    assert new[0] | new[1] == before[2]
    assert [len(part) for part in new] == [4, 4]
    assert table_bytes(tmp_path / "run") == complete


def line(**fields: object) -> str:
    return json.dumps(session(1, **({"text": "You press <<J>>."} | fields)))


BAD_DATA = {
    "invalid JSON": (line() + "\n{bad\n", "data.jsonl:2: invalid JSON"),
    "no text": ('{"experiment": "a", "participant": 1}', "data.jsonl:1: no `text`"),
    "unclosed": (line(text="You press <<J>> and <<F"), "unclosed '<<'"),
    "nested": (line(text="You press <<J <<F>>>>"), "nested '<<'"),
    "no response": (line(text="You press J."), "no response"),
    "empty response": (line(text="You press << >>."), "empty response"),
    "duplicate": (line() + "\n" + line(), "duplicate session"),
    "study is a path": (line(study="a/.."), "cannot name a study"),
    "too long": (line(text="You press a button. " * 2000 + "<<J>>"), "context window"),
}


def refused(done: Done, output: Path, message: str) -> None:
    assert message in done.error
    assert not (output / "scores.parquet").exists()


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_sentence(case: str, tmp_path: Path, tiny_llama_dir: Path) -> None:
    content, message = BAD_DATA[case]
    data = tmp_path / "data.jsonl"
    data.write_text(content)
    refused(score(tiny_llama_dir, data, tmp_path / "run"), tmp_path / "run", message)


def test_a_missing_file_is_one_sentence(tmp_path: Path, tiny_llama_dir: Path) -> None:
    done = score(tiny_llama_dir, tmp_path / "absent.jsonl", tmp_path / "run")
    refused(done, tmp_path / "run", "absent.jsonl")


def test_damaged_compression_is_one_sentence(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = tmp_path / "data.jsonl.gz"
    data.write_bytes(gzip.compress(line().encode() * 9)[:-12])
    refused(score(tiny_llama_dir, data, tmp_path / "run"), tmp_path / "run", "damaged")


@pytest.mark.parametrize("case", ["wrong name", "adapter without base", "slow tokenizer", "other dtype"])
def test_a_bad_model_is_one_sentence(case: str, tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 1)
    model, more, message = tmp_path / "model", [], "model"
    if case == "adapter without base":
        model.mkdir()
        (model / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": null}')
        (model / "adapter_model.safetensors").write_bytes(b"")
        message = "base model"
    elif case == "slow tokenizer":
        shutil.copytree(tiny_llama_dir, model)
        for file in model.glob("*token*"):
            file.unlink()
        ByT5Tokenizer().save_pretrained(model)
        message = "slow tokenizer"
    elif case == "other dtype":
        model, more, message = tiny_llama_dir, ["--dtype", "int3"], "int3"
    refused(score(model, data, tmp_path / "run", *more), tmp_path / "run", message)


def test_an_output_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 1)
    (tmp_path / "file").write_text("")
    done = score(tiny_llama_dir, data, tmp_path / "file" / "run")
    refused(done, tmp_path / "file" / "run", "cannot write")


def test_a_full_disk_is_one_sentence_and_what_is_scored_is_kept(
    tmp_path: Path,
    tiny_llama_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 4)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr("centaurlab.results.table.pq.ParquetWriter", full)
        refused(score(tiny_llama_dir, data, tmp_path / "run"), tmp_path / "run", "No space left")
    assert score(tiny_llama_dir, data, tmp_path / "run").returncode == 0
    assert run_json(tmp_path / "run")["speed"]["tokens_computed_now"] == 0


def test_the_paper_protocol_and_the_full_one_do_not_mix_in_a_folder(tmp_path: Path, tiny_llama_dir: Path) -> None:
    data = write_bandits(tmp_path / "data.jsonl", 1)
    assert score(tiny_llama_dir, data, tmp_path / "run").returncode == 0
    done = score(tiny_llama_dir, data, tmp_path / "run", "--protocol", "paper")
    assert "protocol 'full', not 'paper'" in done.error
