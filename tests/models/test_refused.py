"""What is no whole causal language model, or would run its own code, is refused before anything is loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ByT5Tokenizer,
)

from centaurlab.models.identity import identify
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.runtime.errors import UserError
from helpers.json_files import edit_json
from helpers.tiny_models import logits, named

pytestmark = pytest.mark.usefixtures("own_cache")


class TestRefused:
    def test_pickled_weights_unless_allowed(self, copy_of: Callable[[str], Path], tiny_llama_dir: Path) -> None:
        folder = copy_of("pickled")
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        for read in (identify, load_model):
            with pytest.raises(UserError, match="--allow_pickle"):
                read(named(folder))
        allowed = load_model(named(folder, allow_pickle=True))
        assert torch.equal(logits(allowed), logits(load_model(named(tiny_llama_dir))))

    def test_code_of_the_checkpoint(self, copy_of: Callable[[str], Path], tmp_path: Path) -> None:
        folder = copy_of("remote")
        ran = tmp_path / "ran"
        (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')")
        classes = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
        edit_json(folder / "config.json", model_type="theirs", auto_map=classes)
        with pytest.raises(UserError, match="--trust_remote_code"):
            load_model(named(folder))
        assert not ran.exists()

    def test_slow_tokenizer(self, copy_of: Callable[[str], Path]) -> None:
        folder = copy_of("slow")
        for file in folder.glob("tokenizer*"):
            file.unlink()
        ByT5Tokenizer().save_pretrained(folder)
        with pytest.raises(UserError, match=r"slow tokenizer \(ByT5Tokenizer\), which cannot say"):
            load_tokenizer(named(folder))

    def test_absent_tokenizer(self, copy_of: Callable[[str], Path]) -> None:
        folder = copy_of("no_tokenizer")
        (folder / "tokenizer.json").unlink()
        with pytest.raises(UserError, match="cannot load the tokenizer of"):
            load_tokenizer(named(folder))

    def test_weights_that_would_stay_random(self, copy_of: Callable[[str], Path]) -> None:
        absent, misshapen = copy_of("absent"), copy_of("misshapen")
        weights = load_file(absent / "model.safetensors")
        del weights["lm_head.weight"]
        save_file(weights, absent / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError, match=r"lm_head\.weight.*not a whole causal language model"):
            load_model(named(absent))
        edit_json(misshapen / "config.json", intermediate_size=128)
        with pytest.raises(UserError, match="not a whole causal language model"):
            load_model(named(misshapen))

    def test_damaged_weights(self, copy_of: Callable[[str], Path]) -> None:
        folder = copy_of("damaged")
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(UserError, match="cannot load"):
            load_model(named(folder))

    def test_model_that_sees_the_answer(self, tmp_path: Path) -> None:
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        BertForMaskedLM(BertConfig(vocab_size=500, **sizes)).save_pretrained(tmp_path / "bert")
        with pytest.raises(UserError, match="does not read from left to right"):
            load_model(named(tmp_path / "bert"))

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"dtype": "float8"}, "none of bfloat16, float16, float32"),
            ({"load_in_4bit": True, "load_in_8bit": True}, "exclude each other"),
            ({"device_map": "balanced"}, "is not 'auto'"),
        ],
    )
    def test_settings_that_make_no_sense(self, tiny_llama_dir: Path, settings: dict, said: str) -> None:
        with pytest.raises(UserError, match=said):
            named(tiny_llama_dir, **settings)

    def test_attention_kernel_that_is_not_there(self, tiny_llama_dir: Path) -> None:
        with pytest.raises(UserError, match="nonsense"):
            load_model(named(tiny_llama_dir, attn_implementation="nonsense"))
