"""``centaurlab plan`` prints the plan, what it assumes, and the command that scores as planned."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from centaurlab.catalog.tables import devices
from centaurlab.cli.plan_table import print_plan
from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import ModelArguments
from centaurlab.runtime.arguments import parse_arguments
from centaurlab.scoring import cost
from centaurlab.scoring.arguments import ScoreArguments, ScoringArguments
from centaurlab.scoring.cost import (
    Plan,
    PlanArguments,
    Work,
    assumed_speed,
    estimate_memory,
    make_plan,
)
from helpers.architectures import save
from helpers.commands import centaurlab
from helpers.shapes import QWEN3_32B, config_shape
from helpers.transcripts import write_ever_longer


@pytest.fixture
def data(tmp_path: Path) -> DataArguments:
    return DataArguments(str(write_ever_longer(tmp_path / "data.jsonl")))


def planned(*options: object) -> str:
    """What ``centaurlab plan`` prints."""
    done = centaurlab("plan", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_prints_the_plan_and_what_it_assumes(data: DataArguments, tiny_llama_dir: Path) -> None:
    asked = ("--model", tiny_llama_dir, "--data", data.data, "--devices", "4xH100")
    printed = planned(*asked)
    for expected in ("4 different ones with 66 responses", "4 processes, a copy of the model each", "assumed: 0.45 of"):
        assert expected in printed
    assert "--num_processes 4 -m centaurlab score" in printed
    assert "assumptions:" in printed
    paper = planned(*asked, "--protocol", "paper", "--utilisation", "0.5")
    assert "assumed: 0.5 of" in paper
    assert "--protocol paper" in paper


@pytest.mark.parametrize(
    ("devices", "options"),
    [
        ("H100", []),
        ("4xH100", ["--load_in_8bit", "--protocol", "paper", "--max_participants", "3"]),
        ("4xH100", ["--tensor_parallel", "2", "--on_malformed", "skip"]),
        ("H100", ["--no_long_options", "--chunk_tokens", "512", "--deterministic", "--engine", "vllm"]),
        ("H100", ["--dtype", "float16", "--max_length", "512", "--studies", "a2020, a2020", "--participants", "train"]),
    ],
)
def test_the_command_of_a_plan_is_the_scoring_that_was_planned(
    data: DataArguments, tiny_llama_dir: Path, devices: str, options: list[str]
) -> None:
    given = ["--data", data.data, *options]
    said, _, line = planned("--model", tiny_llama_dir, "--devices", devices, *given).partition("the command: ")
    assert ("with and without --chunk_tokens, --batch_tokens, --deterministic, " in said) is ("--engine" in options)
    launch, _, printed = line.partition(" -m centaurlab score ")
    assert launch == "accelerate launch" + (" --num_processes 4" if devices == "4xH100" else "")
    kinds = [ModelArguments, DataArguments, ScoreArguments]
    asked = ["--model_name_or_path", str(tiny_llama_dir), *given, "--output_dir", "…"]
    assert parse_arguments(kinds, None, shlex.split(printed)) == parse_arguments(kinds, None, asked)


def test_the_command_spreads_a_model_that_is_too_large_for_one_device(
    data: DataArguments, capsys: pytest.CaptureFixture[str]
) -> None:
    device = devices()["H100"]
    work = Work(flops=4e18, flops_each=4e18, loads=[1.0], n_tokens=1e6, longest_tokens=4096)
    shape = config_shape(QWEN3_32B)
    memory = estimate_memory(shape, work, device, "float32", "none")
    plan = Plan(shape, work, memory, assumed_speed(device, shape, 0.25), 4, device, n_copies=1)
    print_plan(plan, ModelArguments("org/large", dtype="float32"), data, ScoringArguments())
    printed = capsys.readouterr().out
    assert "launch --num_processes 1 -m centaurlab score" in printed
    assert "--dtype float32 --device_map auto --data" in printed


@pytest.mark.parametrize(
    ("n_devices", "settings", "is_named"),
    [(2, {}, True), (4, {}, False), (2, {"load_in_4bit": True}, False), (2, {"device_map": "auto"}, False)],
)
def test_dividing_is_named_only_where_scoring_does_not_refuse_it(
    data: DataArguments,
    tiny_llama_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    n_devices: int,
    settings: dict[str, Any],
    is_named: bool,
) -> None:
    """On devices too small for a model of two key-value heads, which four processes cannot share out."""
    small = replace(devices()["H100"], memory_bytes=2**30)
    monkeypatch.setattr(cost, "parse_devices", lambda _: (n_devices, small))
    model = ModelArguments(str(tiny_llama_dir), **settings)
    print_plan(make_plan(model, data, PlanArguments("…")), model, data, ScoringArguments())
    placement = capsys.readouterr().out.partition("placement")[2].partition("speed")[0]
    assert "one copy spread over 2 devices" in placement
    assert (f"--tensor_parallel {n_devices}" in " ".join(placement.split())) is is_named


@pytest.mark.parametrize(
    ("name", "n_parts"),
    [("llama", 2), ("gpt_neox", 2), ("olmo2", 1), ("phi3", 1), ("deepseek_v2", 2), ("deepseek_v3", 1)],
)
def test_attention_and_cache_count_as_divided_where_each_process_has_its_own_heads(
    data: DataArguments, tmp_path: Path, name: str, n_parts: int
) -> None:
    """OLMo 2 and Phi 3 gather what their parts give before they cache it; of DeepSeek-V3 experts alone are divided."""
    model = ModelArguments(str(save(name, tmp_path)))
    whole, part = (make_plan(model, data, PlanArguments("2xH100", tensor_parallel=n)) for n in (1, 2))
    assert whole.memory.cache / part.memory.cache == n_parts
    assert whole.work.flops_each == whole.work.flops == part.work.flops
    share = part.work.flops_each / part.work.flops
    assert share == pytest.approx(0.5) if name in ("llama", "gpt_neox") else 0.5 < share < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "cpu"], "--calibrate"),
        (["--devices", "toaster"], "4xH100"),
        (["--devices", "H100", "--utilisation", "1.5"], "--utilisation"),
        (["--devices", "H100", "--protocol", "papr"], "--protocol"),
        (["--devices", "H100", "--dtype", "float32"], "--calibrate"),
        (["--devices", "3xH100", "--tensor_parallel", "2"], "needs 2 devices, or a multiple of it, not 3"),
        (["--devices", "4xH100", "--tensor_parallel", "4"], "has 2 key-value heads"),
    ],
)
def test_mistakes_are_one_sentence(data: DataArguments, tiny_llama_dir: Path, options: list[str], message: str) -> None:
    done = centaurlab("plan", "--model", tiny_llama_dir, "--data", data.data, *options)
    assert message in done.error
    assert done.stderr.splitlines()[-1] == done.error
