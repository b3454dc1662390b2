"""What a run says of where it comes from: its own commit alone, and no secret of its command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from centaurlab.runs.provenance import provenance


def test_provenance_masks_secrets_in_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ["hf_" + "aB3" * 9, "0123456789abcdef" * 2 + "01234567", "local-" + "ab" * 20]
    monkeypatch.setattr(sys, "argv", ["score.py", "--data", "starter", *(f"--key={secret}" for secret in secrets)])
    about = provenance()
    assert about["command"][:3] == ["score.py", "--data", "starter"]
    assert not any(secret in json.dumps(about["command"]) for secret in secrets)
    assert about["git"] is None or len(about["git"]["commit"]) == 40
    assert {"torch", "transformers", "python"} <= about["versions"].keys()
    assert about["hardware"]["cpus"] == os.cpu_count()


def test_a_package_installed_below_another_checkout_does_not_claim_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "mine"]
    for command in (["init", "-q"], commit):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    (tmp_path / "runs.py").write_text("")
    monkeypatch.setattr("centaurlab.runs.provenance.__file__", str(tmp_path / "runs.py"))
    assert provenance()["git"] is None
    subprocess.run(["git", "-C", str(tmp_path), "add", "runs.py"], check=True)
    assert provenance()["git"]["dirty"] is True
