"""A card says what the hub reads, by the hub's own classes, and names nothing of the machine that wrote it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from centaurlab.models.loading import load_model
from centaurlab.runtime.quiet import quiet_transformers
from centaurlab.training.model_card import HeldOutResult, card_data, how_to_load, published
from helpers.adapters import save_adapter
from helpers.tiny_models import named

RESULTS = [
    HeldOutResult("shelf", 4, 80, 1.5, 1.25, -0.17, -0.3, -0.05),
    HeldOutResult("bandit", 3, 60, 0.7, 0.6, -0.14, -0.2, -0.01),
    HeldOutResult("empty", 1, 0, float("nan"), float("nan"), float("nan"), float("nan"), float("nan")),
]


def card_of(base: str, data: str, **others: object) -> ModelCard:
    """A card as the hub's library reads it back."""
    text = f"---\n{card_data(base, data, ('centaur',), RESULTS, **others).to_yaml()}\n---\n\n# A card\n"  # type: ignore[arg-type]
    return ModelCard(text, ignore_metadata_errors=False)


def test_licence_data_language_base_and_results_are_read_back() -> None:
    data = card_of("gemma-3-270m", "marcelbinz/Psych-101", revision="v2").data
    assert (data.license, data.language, data.datasets) == ("gemma", "en", ["marcelbinz/Psych-101"])
    assert (data.base_model, data.library_name) == ("google/gemma-3-270m", "peft")
    results = {
        one.dataset_config: (one.metric_value, one.dataset_type, one.dataset_revision) for one in data.eval_results
    }
    assert results == {name: (nll, "marcelbinz/Psych-101", "v2") for name, nll in (("shelf", 1.25), ("bandit", 0.6))}


def test_what_is_not_known_is_left_out_and_no_folder_is_named(tmp_path: Path) -> None:
    base, sessions = tmp_path / "models" / "own-base", tmp_path / "secret" / "sessions.jsonl"
    sessions.parent.mkdir()
    sessions.touch()
    card = card_of(str(base), str(sessions))
    assert (card.data.license, card.data.license_name) == ("other", "that-of-the-base-model")
    assert not any((card.data.base_model, card.data.datasets, card.data.language))
    written = str(card) + how_to_load(str(base)) + published(str(base))
    assert str(tmp_path) not in written
    assert "secret" not in written
    assert published(str(base)) == "own-base"


def test_the_code_loads_the_base_by_its_name_on_the_hub() -> None:
    code = how_to_load("gemma-3-270m")
    assert 'AutoModelForCausalLM.from_pretrained("google/gemma-3-270m"' in code
    assert "copy of google/gemma-3-270m in four bits" in code
    assert "four bits" not in how_to_load("Qwen/Qwen3-0.6B-Base")
    assert "PeftModel" not in how_to_load("Qwen/Qwen3-0.6B-Base", is_adapter=False)


@pytest.mark.parametrize("option", ["load_in_4bit", "load_in_8bit"])
def test_the_code_quantises_the_base_as_it_was_trained_on(
    option: str, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_llama_dir, tmp_path / "base")
    save_adapter(tiny_llama_dir, tmp_path / "THIS FOLDER OR REPOSITORY")
    monkeypatch.chdir(tmp_path)
    code = how_to_load("base", loading={option: True}).partition("```python")[2].partition("```")[0]
    found: dict[str, Any] = {}
    with quiet_transformers():  # PEFT 0.21 uses names that transformers 5.24 gave up
        exec(code, found)
    expected = load_model(named(tiny_llama_dir, **{option: True})).config.quantization_config
    assert found["model"].config.quantization_config.to_dict() == expected.to_dict()
    assert "quantised" not in how_to_load("base", loading={option: False})
