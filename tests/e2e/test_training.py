"""``recipes/centaur.py`` as a user runs it: killed and started again, on several processes, tracked, in a sweep."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from safetensors.numpy import load_file

from centaurlab.runs.integrity import read_json
from centaurlab.runs.mlflow_store import connect
from centaurlab.runs.tracker import TrackingArguments, track
from helpers.commands import ENVIRONMENT, run_process
from helpers.json_files import losses
from helpers.paths import RECIPES
from helpers.sweeps import start_sweep, trials
from helpers.trackers import MlflowServer, write_empty_store
from helpers.transcripts import sessions_of, two_keys, write_transcripts
from helpers.waiting import wait_until

RECIPE = RECIPES / "centaur.py"


@pytest.fixture
def config(tmp_path: Path, tiny_llama_dir: Path) -> Path:
    """A training run of ten steps that saves after each, on a tiny Llama."""
    rows = sessions_of(("alpha", "beta"), 12, lambda _, person: two_keys(person))
    write_transcripts(tmp_path / "sessions.jsonl", rows)
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


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_adapter(config: Path, tmp_path: Path) -> None:
    assert run_process(*command(config, tmp_path / "whole")).returncode == 0
    killed = subprocess.Popen(
        command(config, tmp_path / "killed"), env=os.environ | ENVIRONMENT, stdout=subprocess.DEVNULL
    )
    wait_until(lambda: any((tmp_path / "killed").glob("checkpoint-[3-9]")), seconds=120, every=0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "run.json").exists()
    assert run_process(*command(config, tmp_path / "killed")).returncode == 0

    np.testing.assert_allclose(losses(tmp_path / "killed"), losses(tmp_path / "whole"), atol=1e-5)
    whole, resumed = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "killed"))
    for name in whole:
        np.testing.assert_allclose(resumed[name], whole[name], atol=1e-6)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(config: Path, tmp_path: Path) -> None:
    assert run_process(*command(config, tmp_path / "one")).returncode == 0
    # With --cpu, accelerate starts one process unless there is an MPI; --multi_gpu starts torchrun, on a CPU too.
    launcher = (sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--multi_gpu")
    done = run_process(*command(config, tmp_path / "two", "--gradient_accumulation_steps", "2", launcher=launcher))
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-4)


@pytest.mark.slow
def test_training_outlives_its_tracking_server_and_is_logged_later(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_empty_store(tmp_path / "mlflow.db")
    server, folder = MlflowServer(tmp_path, store), tmp_path / "run"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    options = ("--report_to", "mlflow", "--max_steps", "600", "--save_steps", "300")
    training = subprocess.Popen(
        command(config, folder, *options),
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: "mlflow" in read_json(folder / "tracking.json"))
    server.kill()
    _, errors = training.communicate()
    assert training.returncode == 0, errors
    (warning,) = (line for line in errors.splitlines() if line.startswith("warning:"))
    assert warning.endswith(f"centaurlab track {folder}")
    assert len(losses(folder)) == 600
    assert (folder / "adapter_model.safetensors").exists()

    again = MlflowServer(tmp_path, store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", again.address)
    try:
        track(folder, TrackingArguments())
        known = read_json(folder / "tracking.json")["mlflow"]["run_id"]
        client = connect(again.address)
        files = {file.path for file in client.list_artifacts(known)}
        (adapter,) = client.get_run(known).outputs.model_outputs
        files |= {file.path for file in client.list_logged_model_artifacts(adapter.model_id)}
    finally:
        again.kill()
    assert {"adapter_model.safetensors", "config.json"} <= files
    assert connect(store).get_run(known).info.status == "FINISHED"
    history = connect(store).get_metric_history(known, "train/loss")
    assert [point.value for point in sorted(history, key=lambda point: point.step)] == losses(folder)


@pytest.mark.slow
def test_a_killed_sweep_of_eight_trainings_resumes_and_runs_none_twice(config: Path, tmp_path: Path) -> None:
    trial = f'exec {sys.executable} {RECIPE} --config {config} --output_dir "$SWEEP_RUNS/$WANDB_RUN_ID" "$@"'
    sweep = {
        "name": "tiny",
        "method": "bayes",
        "metric": {"name": "eval/nll", "goal": "minimize"},
        "parameters": {"lora_r": {"values": [2, 4, 8]}, "learning_rate": {"min": 1e-3, "max": 1e-1}},
        "command": ["${env}", "sh", "-c", trial, "sh", "${args}"],
    }
    settings = yaml.safe_load(config.read_text()) | {"eval_strategy": "steps", "eval_steps": 10}
    config.write_text(yaml.safe_dump(settings))
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(sweep))
    options = ("--count", "8", "--workers", "2")
    first = start_sweep(path, *options, OMP_NUM_THREADS="1")
    finished = tmp_path / "runs"
    wait_until(lambda: len([*finished.glob("tiny-*/run.json")]) >= 3, seconds=240)
    first.kill()
    first.communicate()
    second = start_sweep(path, *options, OMP_NUM_THREADS="1")
    printed, _ = second.communicate(timeout=400)
    assert second.returncode == 0, printed
    assert "best of 8" in printed
    complete = [trial for trial in trials(tmp_path) if trial.state == optuna.trial.TrialState.COMPLETE]
    assert sorted(trial.user_attrs["slot"] for trial in complete) == [*range(8)]
    assert [len(losses(folder.parent)) for folder in finished.glob("tiny-*/run.json")] == [10] * 8
