"""A plan agrees with the run that it is the plan of, and its arithmetic with one's own."""

import math
from pathlib import Path

import pytest
from transformers import Qwen3Config
from transformers.distributed import DistributedConfig

from centaurlab.catalog.tables import devices
from centaurlab.data.source import DataArguments
from centaurlab.results.record import ModelIdentity, ScoredData, ScoredProtocol, ScoreRecord, ScoringSpeed
from centaurlab.results.run import write_record
from centaurlab.results.table import write_scores
from centaurlab.runs.folder import RunFolder
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.cost import (
    CPU,
    Plan,
    PlanArguments,
    Work,
    _passes,
    assumed_speed,
    estimate_memory,
    make_plan,
    measured_speed,
    parse_devices,
)
from centaurlab.scoring.run import measure
from helpers.json_files import run_json
from helpers.shapes import QWEN3_06B, QWEN3_8B, QWEN3_32B, config_shape
from helpers.tiny_models import named
from helpers.transcripts import sessions_of, write_ever_longer, write_transcripts


@pytest.fixture
def data(tmp_path: Path) -> DataArguments:
    return DataArguments(str(write_ever_longer(tmp_path / "data.jsonl")))


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
    tmp_path: Path, data: DataArguments, tiny_gemma_dir: Path, own_cache: Path
) -> None:
    model = named(tiny_gemma_dir)
    run = measure(model, data, ScoreArguments(str(tmp_path / "run")))
    speed = run_json(run)["speed"]
    plan = make_plan(model, data, PlanArguments("cpu", calibrate=run))
    assert (plan.work.n_sessions, plan.work.n_responses) == (4, 9 + 14 + 19 + 24)
    assert plan.work.n_tokens == pytest.approx(speed["tokens"], rel=0.01)
    assert 0.05 < speed["tokens_reused"] / speed["tokens"] < 0.5, "or sharing is not tested"
    assert plan.work.n_computed == pytest.approx(speed["tokens"] - speed["tokens_reused"], rel=0.03)
    assert plan.work.flops == pytest.approx(speed["flops"], rel=0.03)
    assert plan.hours * 3600 == pytest.approx(speed["scoring_seconds"], rel=0.05)


def test_equal_texts_are_planned_once(tmp_path: Path, tiny_llama_dir: Path) -> None:
    rows = sessions_of(["a2020"], 5, lambda *_: "You press <<J>> and <<F>>.")
    path = write_transcripts(tmp_path / "data.jsonl", rows)
    plan = make_plan(named(tiny_llama_dir), DataArguments(str(path)), PlanArguments("H100"))
    assert (plan.work.n_sessions, plan.work.n_responses) == (1, 2)


def test_data_whose_responses_a_protocol_cuts_is_refused(tmp_path: Path, tiny_llama_dir: Path) -> None:
    rows = sessions_of(["a2020"], 1, lambda *_: "word " * 7_000 + "<<J>>")
    path = write_transcripts(tmp_path / "data.jsonl", rows)
    with pytest.raises(UserError, match="--protocol full"):
        make_plan(named(tiny_llama_dir), DataArguments(str(path)), PlanArguments("H100", "paper"))


def test_devices_are_a_number_and_a_name() -> None:
    assert parse_devices("4xH100") == (4, devices()["H100"])
    assert parse_devices("a100-80gb") == (1, devices()["A100-80GB"])
    assert parse_devices("cpu")[1].name == CPU
    for wrong in ("4x", "0xH100", "2xcpu", "H1000", "", "4x\nH100"):
        with pytest.raises(UserError, match="4xH100"):
            parse_devices(wrong)


def test_a_32_billion_model_fits_on_an_h100_in_bfloat16_and_on_a_4090_in_four_bits() -> None:
    shape = config_shape(QWEN3_32B)
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
    shape, device = config_shape(QWEN3_32B), devices()["H100"]
    work = Work(flops_each=4e18, loads=[1.0, 1.0, 1.0, 1.2], n_tokens=1e6, longest_tokens=4096)
    memory = estimate_memory(shape, work, device, "bfloat16", "none")
    speed = assumed_speed(device, shape, 0.25)
    seconds = 4e18 / (0.25 * 989e12)
    four = Plan(shape, work, memory, speed, 4, device, n_copies=4)
    assert four.hours == pytest.approx(seconds / 4 * (1.2 / 1.05) / 3600)
    assert Plan(shape, work, memory, speed, 2, device, n_copies=1).hours == pytest.approx(seconds / 3600)
    assert math.isnan(Plan(shape, work, memory, speed, 1, device, n_copies=0).hours)


def test_devices_that_have_a_model_together_hold_and_compute_their_part() -> None:
    """Two groups of four, against arithmetic: 64 layers with two sums of 5,120 numbers of two bytes for each token."""
    shape, device = config_shape(QWEN3_32B), devices()["RTX4090"]
    work = Work(flops_each=1e18, loads=[1.0, 1.0], n_tokens=1e6, n_computed=1e6, n_passes=1_000, longest_tokens=4096)
    whole, part = (estimate_memory(config_shape(QWEN3_32B, n), work, device, "bfloat16", "none") for n in (1, 4))
    everywhere = 2 * (64 * (2 * 5_120 + 2 * 128) + 5_120)  # norms
    if not hasattr(DistributedConfig, "dp_size"):  # releases before 5.24, where each process has all embeddings
        everywhere += 2 * 151_936 * 5_120
    assert part.weights == (whole.weights - everywhere) / 4 + everywhere
    assert part.cache == whole.cache / 4
    assert (part.activations, part.n_devices) == (whole.activations, 1)
    speed = assumed_speed(device, shape)
    plan = Plan(shape, work, part, speed, 8, device, n_copies=2, shards=4)
    passes = 1_000 * 64 * 60 * 15e-6
    assert plan.hours * 3600 == pytest.approx((4e18 / 4 / speed.flops_per_second + passes) / 2)
    assert plan.bytes_exchanged == pytest.approx(0.5e6 * 64 * 2 * 5_120 * 2 * 2 * 3 / 4)


@pytest.mark.parametrize(
    ("sizes", "n_layers", "n_tokens", "n_passes"),
    [(QWEN3_06B, 28, 600, 1.46), (QWEN3_06B, 28, 3_000, 10), (QWEN3_8B, 36, 600, 1.46), (QWEN3_8B, 36, 5_000, 20)],
)
def test_small_models_reach_less_of_a_peak_than_large_ones_and_short_sessions_share_their_passes(
    sizes: Qwen3Config, n_layers: int, n_tokens: int, n_passes: float
) -> None:
    """Ten sessions against arithmetic: 0.45 of the peak while kernels run, 60 launches of 15 microseconds a layer."""
    shape, device = config_shape(sizes), devices()["H100"]
    flops = 10 * shape.flops(n_tokens, n_tokens, 50)
    work = Work(flops_each=flops, n_passes=10 * _passes(n_tokens), n_tokens=10 * n_tokens)
    seconds = flops / 0.45 / 989e12 + n_passes * n_layers * 60 * 15e-6
    assert assumed_speed(device, shape).seconds(work) == pytest.approx(seconds, rel=0.01)
    if n_tokens == 3_000:
        assert flops / seconds / 989e12 == pytest.approx(0.11, abs=0.02), "arithmetic by hand gave 6 to 11 %"


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
