"""A model is what its files and settings say, is loaded whole or not at all, and keeps its adapter exact."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BloomConfig,
    ByT5Tokenizer,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
)

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.models.loading import _device_map, load_config, load_model, load_tokenizer
from centaurlab.models.shape import context_window, usable_window
from centaurlab.runtime.errors import UserError
from helpers.tiny_models import save_tiny_gemma, save_tiny_llama

IDS = torch.arange(5, 60)[None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTAURLAB_CACHE", str(tmp_path / "cache"))


def arguments(model: Path, **settings: object) -> ModelArguments:
    return ModelArguments(str(model), **settings)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.float()


@pytest.fixture
def copy_of(tiny_llama_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the tiny Llama under a name, to be changed."""
    return lambda name: shutil.copytree(tiny_llama_dir, tmp_path / name)


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def make_adapter(base: Path, folder: Path, seed: int = 0) -> torch.Tensor:
    """Save a LoRA adapter of random weights on ``base``; what base and adapter give in float32."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, lora_dropout=0.5)
    adapted = get_peft_model(model, config).eval()
    adapted.save_pretrained(folder)
    return logits(adapted)


@pytest.fixture(scope="module")
def adapter(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    folder = tmp_path_factory.mktemp("adapter")
    return folder, make_adapter(tiny_llama_dir, folder)


def test_model_is_the_one_in_the_folder(tiny_llama_dir: Path) -> None:
    model = load_model(arguments(tiny_llama_dir, dtype="float32"))
    reference = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32)
    assert torch.equal(logits(model), logits(reference))
    assert not any(module.training for module in model.modules())
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))
    assert load_model(arguments(tiny_llama_dir)).dtype == torch.bfloat16


def test_tokenizer_is_the_one_in_the_folder(tiny_gemma_dir: Path) -> None:
    tokenizer = load_tokenizer(arguments(tiny_gemma_dir))
    assert tokenizer("win").input_ids == AutoTokenizer.from_pretrained(tiny_gemma_dir)("win").input_ids
    assert tokenizer("win").input_ids[0] == tokenizer.bos_token_id


class TestIdentity:
    def test_same_files_anywhere_are_the_same_model(self, tiny_llama_dir: Path, copy_of: Callable[[str], Path]) -> None:
        here, there = identify(arguments(tiny_llama_dir)), identify(arguments(copy_of("elsewhere")))
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
        make_adapter(tiny_llama_dir, other_adapter, seed=1)
        scaled_adapter = shutil.copytree(adapter[0], tmp_path / "scaled_adapter")
        edit_json(scaled_adapter / "adapter_config.json", lora_alpha=99)
        models = [
            arguments(tiny_llama_dir),
            arguments(tiny_llama_dir, dtype="float32"),
            arguments(tiny_llama_dir, load_in_4bit=True),
            arguments(tiny_llama_dir, load_in_8bit=True),
            arguments(other_weights),
            arguments(other_config),
            arguments(adapter[0]),
            arguments(other_adapter),
            arguments(scaled_adapter),
        ]
        fingerprints = [identify(model).fingerprint for model in models]
        assert len(set(fingerprints)) == len(models)

    def test_tokenizer_has_a_fingerprint_of_its_own(self, tiny_llama_dir: Path, copy_of: Callable[[str], Path]) -> None:
        other = copy_of("other_tokenizer")
        edit_json(other / "tokenizer_config.json", chat_template="{{ messages }}")
        here, there = identify(arguments(tiny_llama_dir)), identify(arguments(other))
        assert here.fingerprint == there.fingerprint
        assert here.tokenizer_fingerprint != there.tokenizer_fingerprint

    def test_quantisation_of_the_checkpoint_itself_is_named(self, copy_of: Callable[[str], Path]) -> None:
        folder = copy_of("quantised")
        own = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
        edit_json(folder / "config.json", quantization_config=own)
        assert identify(arguments(folder)).quantization == "nf4"
        with pytest.raises(UserError, match="quantised already"):
            identify(arguments(folder, load_in_4bit=True))
        edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
        assert identify(arguments(folder)).quantization == "gptq"

    def test_needs_no_heavy_library(self, adapter: tuple[Path, torch.Tensor]) -> None:
        code = (
            "import sys; from centaurlab.models.arguments import ModelArguments; "
            "from centaurlab.models.identity import identify; "
            f"identify(ModelArguments({str(adapter[0])!r}, load_in_4bit=True)); "
            "print({'torch', 'transformers', 'peft', 'bitsandbytes'} & set(sys.modules))"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stdout.strip() == "set()"


class TestAdapter:
    @pytest.mark.parametrize("named", ["alone", "with its base"])
    def test_gives_what_peft_gives(self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, named: str) -> None:
        folder, expected = adapter
        args = (
            arguments(folder, dtype="float32")
            if named == "alone"
            else arguments(tiny_llama_dir, dtype="float32", adapter_name_or_path=str(folder))
        )
        model = load_model(args)
        assert torch.equal(logits(model), expected)
        assert not any(module.training for module in model.modules())
        identity = identify(args)
        assert (identity.name, identity.adapter, identity.base) == (str(folder), str(folder), str(tiny_llama_dir))
        assert load_tokenizer(args)("win").input_ids == load_tokenizer(arguments(tiny_llama_dir))("win").input_ids

    def test_is_not_rounded_to_the_dtype_of_the_base(self, adapter: tuple[Path, torch.Tensor]) -> None:
        model = load_model(arguments(adapter[0], dtype="bfloat16"))
        assert {p.dtype for name, p in model.named_parameters() if "lora" in name} == {torch.float32}

    def test_without_its_base_says_how_to_name_it(self, adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
        folder = shutil.copytree(adapter[0], tmp_path / "orphan")
        edit_json(folder / "adapter_config.json", base_model_name_or_path="/gone/model")
        with pytest.raises(UserError, match=r"base of adapter .*/gone/model.* --model_name_or_path BASE"):
            identify(arguments(folder))
        edit_json(folder / "adapter_config.json", base_model_name_or_path=None)
        with pytest.raises(UserError, match="does not say which base"):
            load_tokenizer(arguments(folder))

    def test_moved_base_can_be_named(
        self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(adapter[0], tmp_path / "moved")
        edit_json(folder / "adapter_config.json", base_model_name_or_path="/gone/model")
        args = arguments(tiny_llama_dir, dtype="float32", adapter_name_or_path=str(folder))
        assert torch.equal(logits(load_model(args)), adapter[1])

    def test_of_another_architecture_is_refused(self, adapter: tuple[Path, torch.Tensor], tiny_gemma_dir: Path) -> None:
        with pytest.raises(UserError, match="does not fit"):
            load_model(arguments(tiny_gemma_dir, adapter_name_or_path=str(adapter[0])))

    def test_that_would_be_used_in_part_is_refused(
        self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, tmp_path: Path
    ) -> None:
        weights = load_file(adapter[0] / "adapter_model.safetensors")
        deeper = {name.replace("layers.0", "layers.9"): weight.clone() for name, weight in weights.items()}
        for name, content in (("more", {**weights, **deeper}), ("less", dict(list(weights.items())[2:]))):
            folder = shutil.copytree(adapter[0], tmp_path / name)
            save_file(content, folder / "adapter_model.safetensors")
            with pytest.raises(UserError, match="does not fit"):
                load_model(arguments(folder))

    def test_of_another_named_model_is_refused(
        self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import huggingface_hub
        from test_checkpoints import put_into_hub_cache

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        put_into_hub_cache(tmp_path / "hub", "lab/tiny", tiny_llama_dir)
        folder = shutil.copytree(adapter[0], tmp_path / "renamed")
        edit_json(folder / "adapter_config.json", base_model_name_or_path="lab/tiny-instruct")
        with pytest.raises(UserError, match="was trained on lab/tiny-instruct, not on lab/tiny"):
            identify(ModelArguments("lab/tiny", adapter_name_or_path=str(folder)))

    def test_what_is_none_is_refused(self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path) -> None:
        with pytest.raises(UserError, match="not a PEFT adapter"):
            identify(arguments(tiny_llama_dir, adapter_name_or_path=str(tiny_llama_dir)))
        with pytest.raises(UserError, match="is an adapter itself"):
            identify(arguments(adapter[0], adapter_name_or_path=str(adapter[0])))

    def test_pickled_is_refused(self, adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
        folder = shutil.copytree(adapter[0], tmp_path / "pickled")
        torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
        (folder / "adapter_model.safetensors").unlink()
        with pytest.raises(UserError, match="--allow_pickle"):
            load_model(arguments(folder))
        assert torch.equal(logits(load_model(arguments(folder, dtype="float32", allow_pickle=True))), adapter[1])


@pytest.fixture(scope="module")
def wide_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough for NF4's blocks of 64 values."""
    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=500, **sizes)).to(torch.bfloat16).save_pretrained(folder)
    return folder


class TestQuantised:
    @pytest.mark.parametrize(
        ("setting", "layer", "bound"), [("load_in_4bit", "Linear4bit", 0.3), ("load_in_8bit", "Linear8bitLt", 0.03)]
    )
    def test_is_near_the_unquantised_model(self, wide_llama_dir: Path, setting: str, layer: str, bound: float) -> None:
        whole = load_model(arguments(wide_llama_dir))
        quantised = load_model(arguments(wide_llama_dir, **{setting: True}))
        assert layer in {type(module).__name__ for module in quantised.modules()}
        expected = logits(whole)
        error = (logits(quantised) - expected).std() / expected.std()
        assert 0 < error < bound

    def test_evaluation_leaves_gradients_of_later_training_alone(self, wide_llama_dir: Path) -> None:
        def gradient(evaluated_before: bool) -> torch.Tensor:
            model = load_model(arguments(wide_llama_dir, load_in_4bit=True, dtype="float32"))
            if evaluated_before:
                logits(model)
            embedded = model.get_input_embeddings()(IDS).detach().requires_grad_()
            model(inputs_embeds=embedded, labels=IDS).loss.backward()
            assert embedded.grad is not None
            return embedded.grad

        assert torch.equal(gradient(evaluated_before=False), gradient(evaluated_before=True))

    def test_carries_an_adapter(self, tiny_llama_dir: Path, adapter: tuple[Path, torch.Tensor]) -> None:
        model = load_model(arguments(adapter[0], load_in_4bit=True))
        assert logits(model).isfinite().all()
        assert identify(arguments(adapter[0], load_in_4bit=True)).quantization == "nf4"

    def test_nothing_is_fetched_and_nothing_said(self, tiny_llama_dir: Path, tmp_path: Path) -> None:
        """A ``kernels`` package that is installed is not asked for compiled code."""
        fetched = tmp_path / "fetched"
        (tmp_path / "kernels.py").write_text(f"def get_kernel(*a, **k):\n    open({str(fetched)!r}, 'w')\n")
        code = (
            "import torch; from centaurlab.models.arguments import ModelArguments; "
            "from centaurlab.models.loading import load_model; "
            f"load_model(ModelArguments({str(tiny_llama_dir)!r}, load_in_8bit=True))(torch.arange(9)[None]); "
            "import kernels"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=120
        )
        assert not fetched.exists()
        assert result.stderr == ""


class TestRefused:
    def test_pickled_weights_unless_allowed(self, copy_of: Callable[[str], Path], tiny_llama_dir: Path) -> None:
        folder = copy_of("pickled")
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        for read in (identify, load_model):
            with pytest.raises(UserError, match="--allow_pickle"):
                read(arguments(folder))
        allowed = load_model(arguments(folder, allow_pickle=True))
        assert torch.equal(logits(allowed), logits(load_model(arguments(tiny_llama_dir))))

    def test_code_of_the_checkpoint(self, copy_of: Callable[[str], Path], tmp_path: Path) -> None:
        folder = copy_of("remote")
        ran = tmp_path / "ran"
        (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')")
        classes = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
        edit_json(folder / "config.json", model_type="theirs", auto_map=classes)
        with pytest.raises(UserError, match="--trust_remote_code"):
            load_model(arguments(folder))
        assert not ran.exists()

    def test_slow_tokenizer(self, copy_of: Callable[[str], Path]) -> None:
        folder = copy_of("slow")
        for file in folder.glob("tokenizer*"):
            file.unlink()
        ByT5Tokenizer().save_pretrained(folder)
        with pytest.raises(UserError, match=r"slow tokenizer \(ByT5Tokenizer\), which cannot say"):
            load_tokenizer(arguments(folder))

    def test_absent_tokenizer(self, copy_of: Callable[[str], Path]) -> None:
        folder = copy_of("no_tokenizer")
        (folder / "tokenizer.json").unlink()
        with pytest.raises(UserError, match="cannot load the tokenizer of"):
            load_tokenizer(arguments(folder))

    def test_weights_that_would_stay_random(self, copy_of: Callable[[str], Path]) -> None:
        absent, misshapen = copy_of("absent"), copy_of("misshapen")
        weights = load_file(absent / "model.safetensors")
        del weights["lm_head.weight"]
        save_file(weights, absent / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError, match=r"lm_head\.weight.*not a whole causal language model"):
            load_model(arguments(absent))
        edit_json(misshapen / "config.json", intermediate_size=128)
        with pytest.raises(UserError, match="not a whole causal language model"):
            load_model(arguments(misshapen))

    def test_damaged_weights(self, copy_of: Callable[[str], Path]) -> None:
        folder = copy_of("damaged")
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(UserError, match="cannot load"):
            load_model(arguments(folder))

    def test_model_that_sees_the_answer(self, tmp_path: Path) -> None:
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        BertForMaskedLM(BertConfig(vocab_size=500, **sizes)).save_pretrained(tmp_path / "bert")
        with pytest.raises(UserError, match="does not read from left to right"):
            load_model(arguments(tmp_path / "bert"))

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
            arguments(tiny_llama_dir, **settings)

    def test_attention_kernel_that_is_not_there(self, tiny_llama_dir: Path) -> None:
        with pytest.raises(UserError, match="nonsense"):
            load_model(arguments(tiny_llama_dir, attn_implementation="nonsense"))


class TestDevices:
    def test_each_process_reads_to_its_own_device(self, tiny_llama_dir: Path) -> None:
        args = arguments(tiny_llama_dir)
        assert _device_map(args, torch.device("cuda", 3)) == {"": "cuda:3"}
        assert _device_map(args, None) == {"": "cpu"}

    def test_one_model_over_all_devices_needs_one_process(
        self, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        args = arguments(tiny_llama_dir, device_map="auto")
        monkeypatch.setenv("WORLD_SIZE", "1")
        assert torch.equal(logits(load_model(args)), logits(load_model(arguments(tiny_llama_dir))))
        monkeypatch.setenv("WORLD_SIZE", "8")
        with pytest.raises(UserError, match="single process"):
            load_model(args)


def test_multimodal_checkpoint_reads_text(tmp_path: Path) -> None:
    text_model = load_model(arguments(save_tiny_gemma(tmp_path / "text"), dtype="float32"))
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(text_config=text_model.config.to_dict(), vision_config=vision, mm_tokens_per_image=4)
    multimodal = Gemma3ForConditionalGeneration(config)
    multimodal.model.language_model.load_state_dict(text_model.model.state_dict())
    multimodal.save_pretrained(tmp_path / "multimodal")
    model = load_model(arguments(tmp_path / "multimodal", dtype="float32"))
    assert isinstance(model, Gemma3ForConditionalGeneration)
    torch.testing.assert_close(logits(model), logits(text_model))
    assert context_window(model) == 2048


class TestContextWindow:
    def test_is_the_configs_word(self, tiny_llama_dir: Path) -> None:
        assert context_window(load_config(arguments(tiny_llama_dir))) == 2048
        assert context_window(load_model(arguments(tiny_llama_dir))) == 2048

    def test_yarn_counts_from_the_original_length(self) -> None:
        rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "rope_theta": 1e6}
        assert context_window(LlamaConfig(max_position_embeddings=32768, rope_parameters=rope)) == 131072
        assert context_window(LlamaConfig(max_position_embeddings=131072, rope_parameters=rope)) == 131072

    def test_other_scaling_is_already_in_the_stated_length(self) -> None:
        rope = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
        assert context_window(LlamaConfig(max_position_embeddings=131072, rope_parameters=rope)) == 131072

    def test_a_config_without_one_asks_for_it(self) -> None:
        with pytest.raises(UserError, match="--max_length"):
            context_window(BloomConfig())

    @pytest.mark.parametrize(
        ("config", "max_length", "expected"),
        [
            (LlamaConfig(max_position_embeddings=2048), None, 2048),
            (LlamaConfig(max_position_embeddings=2048), 100, 100),
            (LlamaConfig(max_position_embeddings=2048), 4096, 2048),
            (BloomConfig(), 100, 100),
        ],
    )
    def test_sessions_are_as_long_as_the_window_and_the_option_allow(
        self, config: PretrainedConfig, max_length: int | None, expected: int
    ) -> None:
        assert usable_window(config, max_length) == expected

    @pytest.mark.parametrize(("config", "max_length"), [(BloomConfig(), None), (LlamaConfig(), 0)])
    def test_what_remains_is_asked_for(self, config: PretrainedConfig, max_length: int | None) -> None:
        with pytest.raises(UserError, match="--max_length"):
            usable_window(config, max_length)
