"""A plan agrees with the run that it is the plan of, and its arithmetic with one's own."""

import json
import math
import shlex
import sys
from pathlib import Path

import pytest
from test_shape import from_config
from transformers import Qwen3Config

from centaurlab.catalog.tables import devices
from centaurlab.cli.plan import COMMAND
from centaurlab.cli.plan_table import print_plan
from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import ModelArguments
from centaurlab.results.record import ModelIdentity, ScoredData, ScoredProtocol, ScoreRecord, ScoringSpeed
from centaurlab.results.run import write_record
from centaurlab.results.table import write_scores
from centaurlab.runs.folder import RunFolder
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.cost import (
    CPU,
    Plan,
    PlanArguments,
    Work,
    assumed_speed,
    estimate_memory,
    make_plan,
    measured_speed,
    parse_devices,
)
from centaurlab.scoring.run import measure

INSTRUCTIONS = "You will be shown two slot machines, J and F, and win or lose points with each of them. " * 6
QWEN3_32B = Qwen3Config(
    vocab_size=151_936, hidden_size=5_120, intermediate_size=25_600, num_hidden_layers=64,
    num_attention_heads=64, num_key_value_heads=8, head_dim=128, tie_word_embeddings=False,
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> DataArguments:
    path = tmp_path / "data.jsonl"
    with path.open("w") as file:
        for person in range(4):
            trials = "".join(f"You choose <<{'JF'[(person + t) % 2]}>> and win {t}. " for t in range(9 + 5 * person))
            text = INSTRUCTIONS + f"You are person {person}. {trials}"
            file.write(json.dumps({"text": text, "experiment": "a2020/1", "participant": person}) + "\n")
    return DataArguments(str(path))


def write_run(folder: Path, flops: float, seconds: float, gpus: list[str]) -> Path:
    record = ScoreRecord(
        ModelIdentity("some"),
        ScoredProtocol("full"),
        ScoredData(),
        speed=ScoringSpeed(flops=flops, scoring_seconds=seconds),
        provenance={"hardware": {"gpus": gpus}},
    )
    write_record(RunFolder(folder, "score"), record)
    write_scores(folder, [])
    return folder


def test_a_plan_is_what_the_run_then_computes_and_takes(
    tmp_path: Path, data: DataArguments, tiny_gemma_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CENTAURLAB_CACHE", str(tmp_path / "cache"))
    model = ModelArguments(str(tiny_gemma_dir))
    run = measure(model, data, ScoreArguments(str(tmp_path / "run")))
    speed = json.loads((run / "run.json").read_text())["speed"]
    plan = make_plan(model, data, PlanArguments("cpu", calibrate=run))
    assert (plan.work.n_sessions, plan.work.n_responses) == (4, 9 + 14 + 19 + 24)
    assert plan.work.n_tokens == pytest.approx(speed["tokens"], rel=0.01)
    assert 0.05 < speed["tokens_reused"] / speed["tokens"] < 0.5, "or sharing is not tested"
    assert plan.work.n_computed == pytest.approx(speed["tokens"] - speed["tokens_reused"], rel=0.03)
    assert plan.work.flops == pytest.approx(speed["flops"], rel=0.03)
    assert plan.hours * 3600 == pytest.approx(speed["scoring_seconds"], rel=0.05)


def test_equal_texts_are_planned_once(tmp_path: Path, tiny_llama_dir: Path) -> None:
    row = {"text": "You press <<J>> and <<F>>.", "experiment": "a2020/1"}
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row | {"participant": i}) + "\n" for i in range(5)))
    plan = make_plan(ModelArguments(str(tiny_llama_dir)), DataArguments(str(path)), PlanArguments("H100"))
    assert (plan.work.n_sessions, plan.work.n_responses) == (1, 2)


def test_data_whose_responses_a_protocol_cuts_is_refused(tmp_path: Path, tiny_llama_dir: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"text": "word " * 7_000 + "<<J>>", "experiment": "a2020/1", "participant": 1}) + "\n")
    with pytest.raises(UserError, match="--protocol full"):
        make_plan(ModelArguments(str(tiny_llama_dir)), DataArguments(str(path)), PlanArguments("H100", "paper"))


def test_devices_are_a_number_and_a_name() -> None:
    assert parse_devices("4xH100") == (4, devices()["H100"])
    assert parse_devices("a100-80gb") == (1, devices()["A100-80GB"])
    assert parse_devices("cpu")[1].name == CPU
    for wrong in ("4x", "0xH100", "2xcpu", "H1000", "", "4x\nH100"):
        with pytest.raises(UserError, match="4xH100"):
            parse_devices(wrong)


def test_a_32_billion_model_fits_on_an_h100_in_bfloat16_and_on_a_4090_in_four_bits() -> None:
    shape = from_config(QWEN3_32B)
    work = Work(n_tokens=1e6, longest_tokens=16_384, most_response_tokens=0.05, flops=1.0)
    h100, rtx = devices()["H100"], devices()["RTX4090"]
    memory = estimate_memory(shape, work, h100, "bfloat16", "none")
    assert memory.weights == 2 * 32_762_123_264
    assert memory.cache == 2 * 64 * 16_384 * 2 * 8 * 128, "keys and values of 8 heads of 128 in 64 layers, in bfloat16"
    assert memory.n_devices == 1
    quantised = estimate_memory(shape, work, rtx, "bfloat16", "nf4")
    embeddings = 2 * 151_936 * 5_120
    assert quantised.weights == pytest.approx(0.516 * (32.762e9 - embeddings) + 2 * embeddings, rel=1e-3)
    assert estimate_memory(shape, work, rtx, "bfloat16", "none").n_devices == math.ceil(
        memory.total / (0.9 * 24 * 2**30)
    )


def test_hours_are_operations_over_speed_and_copies() -> None:
    shape, device = from_config(QWEN3_32B), devices()["H100"]
    work = Work(flops=4e18, loads=[1.0, 1.0, 1.0, 1.2], n_tokens=1e6, longest_tokens=4096)
    memory = estimate_memory(shape, work, device, "bfloat16", "none")
    speed = assumed_speed(device, 0.25)
    seconds = 4e18 / (0.25 * 989e12)
    four = Plan(shape, work, memory, speed, 4, device, n_copies=4)
    assert four.hours == pytest.approx(seconds / 4 * (1.2 / 1.05) / 3600)
    assert Plan(shape, work, memory, speed, 2, device, n_copies=1).hours == pytest.approx(seconds / 3600)
    assert math.isnan(Plan(shape, work, memory, speed, 1, device, n_copies=0).hours)


def test_a_measured_speed_carries_over_by_the_peaks(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a100", 2.4e15, 20, ["NVIDIA A100-SXM4-80GB"] * 2)
    assert measured_speed(run, devices()["A100-80GB"]).flops_per_second == pytest.approx(1.2e14)
    assert measured_speed(run, devices()["H100"]).flops_per_second == pytest.approx(1.2e14 / 312 * 989)
    with pytest.raises(UserError, match="says nothing of cpu"):
        measured_speed(run, parse_devices("cpu")[1])


@pytest.mark.parametrize("gpus", [[], ["NVIDIA Unheard-of"]])
def test_a_run_on_something_else_says_nothing_of_an_h100(tmp_path: Path, gpus: list[str]) -> None:
    with pytest.raises(UserError, match="says nothing of H100"):
        measured_speed(write_run(tmp_path / "run", 1.0, 1.0, gpus), devices()["H100"])


def test_a_run_without_speed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not say how fast it was"):
        measured_speed(write_run(tmp_path / "run", 0.0, 0.0, []), devices()["H100"])


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "typo"):
        with pytest.raises(UserError, match=f"{folder} is not a finished run"):
            measured_speed(folder, devices()["H100"])


def planned(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What ``centaurlab plan`` prints."""
    COMMAND.run(*parse_arguments(COMMAND.arguments, None, options))
    return capsys.readouterr().out


def test_the_command_prints_the_plan_and_what_it_assumes(
    data: DataArguments, tiny_llama_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--model", str(tiny_llama_dir), "--data", data.data, "--devices", "4xH100"]
    printed = planned(capsys, *command)
    for expected in ("4 different ones with 66 responses", "4 processes, a copy of the model each", "assumed: 0.3 of"):
        assert expected in printed
    assert "--num_processes 4 -m centaurlab score" in printed
    assert "assumptions:" in printed
    paper = planned(capsys, *command, "--protocol", "paper", "--utilisation", "0.5")
    assert "assumed: 0.5 of" in paper
    assert "--protocol paper" in paper


@pytest.mark.parametrize(
    ("devices", "options"),
    [
        ("H100", []),
        ("4xH100", ["--load_in_8bit", "--protocol", "paper", "--max_participants", "3"]),
        ("H100", ["--dtype", "float16", "--max_length", "512", "--studies", "a2020, a2020", "--participants", "train"]),
    ],
)
def test_the_command_of_a_plan_is_the_scoring_that_was_planned(
    data: DataArguments, tiny_llama_dir: Path, devices: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", data.data, *options]
    _, _, line = planned(capsys, "--model", str(tiny_llama_dir), "--devices", devices, *given).partition("command: ")
    launch, _, printed = line.partition(" -m centaurlab score ")
    assert launch == "accelerate launch" + (" --num_processes 4" if devices == "4xH100" else "")
    kinds = [ModelArguments, DataArguments, ScoreArguments]
    asked = ["--model_name_or_path", str(tiny_llama_dir), *given, "--output_dir", "…"]
    assert parse_arguments(kinds, None, shlex.split(printed)) == parse_arguments(kinds, None, asked)


def test_the_command_spreads_a_model_that_is_too_large_for_one_device(
    data: DataArguments, capsys: pytest.CaptureFixture[str]
) -> None:
    device = devices()["H100"]
    work = Work(flops=4e18, loads=[1.0], n_tokens=1e6, longest_tokens=4096)
    shape = from_config(QWEN3_32B)
    memory = estimate_memory(shape, work, device, "float32", "none")
    plan = Plan(shape, work, memory, assumed_speed(device, 0.25), 4, device, n_copies=1)
    print_plan(plan, ModelArguments("org/large", dtype="float32"), data, PlanArguments("4xH100"))
    printed = capsys.readouterr().out
    assert "launch --num_processes 1 -m centaurlab score" in printed
    assert "--dtype float32 --device_map auto --data" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "cpu"], "--calibrate"),
        (["--devices", "toaster"], "4xH100"),
        (["--devices", "H100", "--utilisation", "1.5"], "--utilisation"),
        (["--devices", "H100", "--protocol", "papr"], "--protocol"),
        (["--devices", "H100", "--dtype", "float32"], "--calibrate"),
    ],
)
def test_mistakes_are_one_sentence(
    data: DataArguments,
    tiny_llama_dir: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["centaurlab", "plan"])
    with pytest.raises(SystemExit) as exited:
        COMMAND.main(["--model", str(tiny_llama_dir), "--data", data.data, *options])
    assert exited.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
