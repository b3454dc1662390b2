"""An adapter whose files say what PEFT would pass over, fill in, or draw anew is refused in a sentence."""

import shutil
import time
from pathlib import Path

import pytest
import torch
from peft import LilyConfig, get_peft_model
from safetensors.torch import load_file, save_file

from centaurlab.models import adapter_config
from centaurlab.models.checkpoints import Checkpoint
from centaurlab.models.loading import load_model
from centaurlab.models.tokenizers import tokenizer_home
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.quiet import quiet_transformers
from centaurlab.training.merge import merge
from helpers.json_files import edit_json, read_json, write_json
from helpers.tiny_models import in_float32, logits

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def copied(adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter[0], tmp_path / "copied"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora2": True}, "PEFT does not know the setting 'use_dora2'"),
        ({"lora_scaling": 7.0}, "PEFT does not know the setting 'lora_scaling'"),
        ({"of_tomorrow": {"a": 1}}, "PEFT does not know the setting 'of_tomorrow'"),
        ({"use_rslora": "false"}, "use_rslora is 'false', not true or false"),
        ({"use_dora": "no"}, "use_dora is 'no', not true or false"),
        ({"lora_alpha": None}, "lacks 'lora_alpha'"),
        ({"lora_alpha": 0}, "lora_alpha is 0"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'"),
        ({"alpha_pattern": {"q_proj": float("inf")}}, "lora_alpha is inf"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed its base when it began"),
        ({"init_lora_weights": "lora_ga"}, "changed its base when it began"),
        ({"target_modules": "(.*.*.*.*.*.*.*.*)*x"}, "its patterns need more than"),
        ({"target_modules": "(("}, "missing \\), unterminated subpattern"),
    ],
)
def test_a_setting_that_would_count_for_nothing_is_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], said: str
) -> None:
    monkeypatch.setattr(adapter_config, "_PATTERN_SECONDS", 0.2)
    edit_json(copied / "adapter_config.json", **settings)
    started = time.monotonic()
    with pytest.raises(UserError, match=said):
        load_model(in_float32(copied))
    assert time.monotonic() - started < 5


def test_settings_of_another_version_that_say_nothing_change_nothing(
    copied: Path, adapter: tuple[Path, torch.Tensor]
) -> None:
    edit_json(copied / "adapter_config.json", of_tomorrow=None, use_more=False, parts=[], peft_version="99.0")
    assert torch.equal(logits(load_model(in_float32(copied))), adapter[1])


def test_a_setting_that_stands_twice_is_refused(copied: Path) -> None:
    path = copied / "adapter_config.json"
    path.write_text(path.read_text().replace('"lora_alpha":', '"lora_alpha": 99, "lora_alpha":'))
    with pytest.raises(UserError, match="the key 'lora_alpha' stands twice"):
        load_model(in_float32(copied))


def test_matrices_of_whole_numbers_are_refused(copied: Path) -> None:
    weights = load_file(copied / "adapter_model.safetensors")
    save_file({n: (w * 100).to(torch.int8) for n, w in weights.items()}, copied / "adapter_model.safetensors")
    with pytest.raises(UserError, match="has numbers of the type I8; save it as floats"):
        load_model(in_float32(copied))


def test_a_kind_that_peft_does_not_merge_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    settings = LilyConfig(target_modules=["q_proj"])
    with quiet_transformers():
        get_peft_model(load_model(in_float32(tiny_llama_dir)), settings).save_pretrained(tmp_path / "unmerged")
    with pytest.raises(UserError, match=r"cannot be merged: .*; use it as an adapter"):
        merge(str(tmp_path / "unmerged"), None, str(tmp_path / "merged"))


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {"normalizer": {"type": "NFKC"}},
        {"normalizer": {"type": "Lowercase"}},
        {"normalizer": {"type": "Replace", "pattern": {"String": "\u2019"}, "content": "'"}},
        {"merges": 1},
    ],
)
def test_a_tokenizer_that_cuts_rare_characters_otherwise_is_the_adapters_own(
    copied: Path, tiny_llama_dir: Path, change: dict[str, object]
) -> None:
    shutil.copyfile(tiny_llama_dir / "tokenizer.json", copied / "tokenizer.json")
    base, adapter = Checkpoint("base", tiny_llama_dir), Checkpoint("adapter", copied)
    assert tokenizer_home(base, adapter) is base
    content = read_json(copied / "tokenizer.json")
    if "merges" in change:
        content["model"]["merges"] = content["model"]["merges"][::-1]
    else:
        content |= change
    write_json(copied / "tokenizer.json", content)
    assert tokenizer_home(base, adapter) is adapter
