"""The list of models says what can be named and what is on this machine."""

import re
import shutil
from pathlib import Path

import huggingface_hub.utils._cache_manager as _cache_manager
import pytest

from centaurlab.cli.models import print_models
from centaurlab.models.gguf import GEMMA, gemma_is_installed
from helpers.hub_cache import put_into_hub_cache


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches."""
    monkeypatch.setenv("COLUMNS", "170")
    monkeypatch.setattr(_cache_manager, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    table, _, _ = capsys.readouterr().out.partition("\n\n")
    cells = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[2:]]
    return {name: others for name, *others in cells}


def test_an_empty_machine_has_the_alias_and_the_catalog(capsys: pytest.CaptureFixture[str]) -> None:
    print_models()
    table = rows(capsys)
    assert table[GEMMA][-1] == ("installed" if gemma_is_installed() else "–")
    assert table["Qwen/Qwen3-8B-Base"] == ["base", "qwen3", "8 B", "–", "–"]
    assert table["Qwen/Qwen3-8B"] == ["reasoning", "qwen3", "8 B", "Qwen/Qwen3-8B-Base", "–"]
    # 65 post-trained models and as many bases as the published list names, and the alias.
    assert len([cells for cells in table.values() if cells[0] not in ("base", "base (starter)")]) == 65


def test_what_is_here_is_shown_with_its_size(
    machine: Path, tiny_llama_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Qwen/Qwen3-8B-Base", "lab/other"):
        snapshot = put_into_hub_cache(machine / "hub", name, tiny_llama_dir)
        (snapshot / "model.safetensors").write_bytes(bytes(30_000_000))
    shutil.copytree(tiny_llama_dir, machine / "cache" / "models" / "mine-0123")
    shutil.copytree(tiny_llama_dir, machine / "cache" / "models" / f"{GEMMA}-0123")
    (machine / "cache" / "models" / ".unfinished.partial").mkdir()
    print_models()
    out = capsys.readouterr().out
    (here,) = [line for line in out.splitlines() if "Qwen/Qwen3-8B-Base" in line and " base " in line]
    assert "0.03 GB" in here
    assert "lab/other (from the hub, 0.03 GB)" in out
    assert f"{machine / 'cache' / 'models' / 'mine-0123'} (converted GGUF, 0.00 GB)" in out
    assert "unfinished" not in out
    (alias,) = [line for line in out.splitlines() if line.startswith(f"{GEMMA} ")]
    assert "0.00 GB" in alias


def test_a_family_lists_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    print_models("olmo3")
    assert {cells[1] for cells in rows(capsys).values()} == {"olmo3"}
