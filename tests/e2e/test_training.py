"""``recipes/centaur.py`` as a user runs it: killed and started again, and on several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "centaur.py"


def session(person: int) -> str:
    rng = np.random.default_rng(person)
    trials = "".join(f"Trial {i}: you choose <<{'JF'[rng.integers(2)]}>>.\n" for i in range(12))
    return f"You will be shown two slot machines, J and F.\n{trials}"


@pytest.fixture
def config(tmp_path: Path, tiny_llama_dir: Path) -> Path:
    """A training run of ten steps that saves after each, on a tiny Llama."""
    rows = [
        {"text": session(person), "experiment": f"{study}/exp1.csv", "participant": person}
        for study in ("alpha", "beta")
        for person in range(12)
    ]
    (tmp_path / "sessions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "model_name_or_path": str(tiny_llama_dir),
        "data": str(tmp_path / "sessions.jsonl"),
        "dtype": "float32",
        "use_peft": True,
        "lora_target_modules": ["q_proj", "v_proj", "down_proj"],
        "lora_dropout": 0.0,
        "max_steps": 10,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_steps": 1,
        "activation_checkpointing": False,
        "bf16": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
    path = tmp_path / "centaur.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def command(config: Path, output: Path, *more: str, launcher: tuple[str, ...] = (sys.executable,)) -> list[str]:
    return [*launcher, str(RECIPE), "--config", str(config), "--output_dir", str(output), *more]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["train/loss"] for line in lines if "train/loss" in line]


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_adapter(config: Path, tmp_path: Path) -> None:
    assert run(command(config, tmp_path / "whole")).returncode == 0
    killed = subprocess.Popen(command(config, tmp_path / "killed"), env=environment(), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("checkpoint-[3-9]")) and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "run.json").exists()
    assert run(command(config, tmp_path / "killed")).returncode == 0

    np.testing.assert_allclose(losses(tmp_path / "killed"), losses(tmp_path / "whole"), atol=1e-5)
    whole, resumed = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "killed"))
    for name in whole:
        np.testing.assert_allclose(resumed[name], whole[name], atol=1e-6)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(config: Path, tmp_path: Path) -> None:
    assert run(command(config, tmp_path / "one")).returncode == 0
    # With --cpu, accelerate starts one process unless there is an MPI; --multi_gpu starts torchrun, on a CPU too.
    launcher = (sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--multi_gpu")
    done = run(command(config, tmp_path / "two", "--gradient_accumulation_steps", "2", launcher=launcher))
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-4)
