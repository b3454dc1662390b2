"""A model is known by what decides its numbers, wherever it lies, and so is its tokenizer."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from centaurlab.models.identity import identify
from centaurlab.runtime.errors import UserError
from helpers.adapters import save_adapter
from helpers.commands import run_python
from helpers.json_files import edit_json
from helpers.tiny_models import in_float32, named, save_tiny_llama

pytestmark = pytest.mark.usefixtures("own_cache")


class TestIdentity:
    def test_same_files_anywhere_are_the_same_model(self, tiny_llama_dir: Path, copy_of: Callable[[str], Path]) -> None:
        here, there = identify(named(tiny_llama_dir)), identify(named(copy_of("elsewhere")))
        assert (here.fingerprint, here.tokenizer_fingerprint) == (there.fingerprint, there.tokenizer_fingerprint)
        assert (here.name, here.dtype, here.quantization) == (str(tiny_llama_dir), "bfloat16", "none")
        assert (here.base, here.adapter) == (None, None)
        assert here.as_dict()["fingerprint"] == here.fingerprint

    def test_whatever_changes_the_numbers_changes_the_fingerprint(
        self, tiny_llama_dir: Path, copy_of: Callable[[str], Path], adapter: tuple[Path, torch.Tensor], tmp_path: Path
    ) -> None:
        other_weights = save_tiny_llama(tmp_path / "other_weights", seed=1)
        other_config = copy_of("other_config")
        edit_json(other_config / "config.json", rms_norm_eps=1e-5)
        other_adapter = tmp_path / "other_adapter"
        save_adapter(tiny_llama_dir, other_adapter, seed=1)
        scaled_adapter = shutil.copytree(adapter[0], tmp_path / "scaled_adapter")
        edit_json(scaled_adapter / "adapter_config.json", lora_alpha=99)
        models = [
            named(tiny_llama_dir),
            in_float32(tiny_llama_dir),
            named(tiny_llama_dir, load_in_4bit=True),
            named(tiny_llama_dir, load_in_8bit=True),
            named(other_weights),
            named(other_config),
            named(adapter[0]),
            named(other_adapter),
            named(scaled_adapter),
        ]
        fingerprints = [identify(model).fingerprint for model in models]
        assert len(set(fingerprints)) == len(models)

    def test_tokenizer_has_a_fingerprint_of_its_own(self, tiny_llama_dir: Path, copy_of: Callable[[str], Path]) -> None:
        other = copy_of("other_tokenizer")
        edit_json(other / "tokenizer_config.json", chat_template="{{ messages }}")
        here, there = identify(named(tiny_llama_dir)), identify(named(other))
        assert here.fingerprint == there.fingerprint
        assert here.tokenizer_fingerprint != there.tokenizer_fingerprint

    def test_quantisation_of_the_checkpoint_itself_is_named(self, copy_of: Callable[[str], Path]) -> None:
        folder = copy_of("quantised")
        own = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
        edit_json(folder / "config.json", quantization_config=own)
        assert identify(named(folder)).quantization == "nf4"
        with pytest.raises(UserError, match="quantised already"):
            identify(named(folder, load_in_4bit=True))
        edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
        assert identify(named(folder)).quantization == "gptq"

    def test_needs_no_heavy_library(self, adapter: tuple[Path, torch.Tensor]) -> None:
        code = (
            "import sys; from centaurlab.models.arguments import ModelArguments; "
            "from centaurlab.models.identity import identify; "
            f"identify(ModelArguments({str(adapter[0])!r}, load_in_4bit=True)); "
            "print({'torch', 'transformers', 'peft', 'bitsandbytes'} & set(sys.modules))"
        )
        assert run_python("-c", code).stdout.strip() == "set()"
