"""The scripts for clusters and rented GPUs, with the commands they call replaced by ones that write down their call."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.paths import ROOT

SLURM = ROOT / "recipes/slurm/score_pairs.sbatch"
SKY = ROOT / "recipes/sky/score_pairs.yaml"
CALLS = """accelerate {launch} -m centaurlab score --model_name_or_path Qwen/Qwen1.5-1.8B --data people --output_dir \
runs/pairs/Qwen_Qwen1.5-1.8B --protocol paper
accelerate {launch} -m centaurlab score --model_name_or_path Qwen/Qwen1.5-1.8B-Chat --data people --output_dir \
runs/pairs/Qwen_Qwen1.5-1.8B-Chat --protocol paper
centaurlab misalignment --base runs/pairs/Qwen_Qwen1.5-1.8B --post runs/pairs/Qwen_Qwen1.5-1.8B-Chat --output_dir \
runs/pairs/effects/Qwen_Qwen1.5-1.8B-Chat
"""


def calls(script: str, folder: Path, *arguments: str, **variables: str) -> str:
    """What the bash ``script`` calls, run in ``folder`` with the catalog that is tested."""
    commands = folder / "commands"
    commands.mkdir()
    for name in ("accelerate", "centaurlab"):
        (commands / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/calls\n')
    (commands / "python").symlink_to(sys.executable)
    for name in ("accelerate", "centaurlab"):
        (commands / name).chmod(0o755)
    environment = {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src"), **variables}
    subprocess.run(["bash", "-c", script, "script", *arguments], cwd=folder, env=environment, check=True)
    return (folder / "calls").read_text()


def launched(n: int) -> str:
    launch = f"launch --num_machines 1 --num_processes {n} --mixed_precision no --dynamo_backend no"
    return CALLS.format(launch=launch)


@pytest.mark.skipif(sys.platform != "linux", reason="flock")
def test_a_task_of_the_array_scores_its_pair_and_compares_them(tmp_path: Path) -> None:
    of_slurm = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_GPUS_ON_NODE": "4"}
    assert calls(SLURM.read_text(), tmp_path, "people", "--protocol", "paper", **of_slurm) == launched(4)


@pytest.mark.skipif(sys.platform != "linux", reason="flock")
def test_a_rented_machine_does_what_a_task_of_the_array_does(tmp_path: Path) -> None:
    task = yaml.safe_load(SKY.read_text())
    (tmp_path / ".venv").mkdir()
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    given = task["envs"] | {"PAIR": "2", "DATA": "people", "SKYPILOT_NUM_GPUS_PER_NODE": "1"}
    script = task["run"].replace("cd /outputs", f"cd {tmp_path}")
    assert calls(script, tmp_path, **given) == launched(1)
