"""An adapter is loaded whole on its own base, exactly, or not at all."""

import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from peft import (
    AutoPeftModelForCausalLM,
    IA3Config,
    LoHaConfig,
    LoraConfig,
    PeftModel,
    TrainableTokensConfig,
    VBLoRAConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import base_notes
from centaurlab.models.gguf import _gemma_key
from centaurlab.models.identity import identify, weights_fingerprint
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.quiet import quiet_transformers
from centaurlab.training.base_model import name_published_base
from centaurlab.training.interpolate import interpolate
from centaurlab.training.merge import merge
from helpers.adapters import save_adapter
from helpers.architectures import save
from helpers.hub_cache import put_into_hub_cache
from helpers.json_files import edit_json, write_json
from helpers.tiny_models import in_float32, logits, named, save_tiny_llama

pytestmark = pytest.mark.usefixtures("own_cache")


class TestAdapter:
    @pytest.mark.parametrize("given", ["alone", "with its base"])
    def test_gives_what_peft_gives(self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, given: str) -> None:
        folder, expected = adapter
        args = in_float32(folder) if given == "alone" else in_float32(tiny_llama_dir, adapter_name_or_path=str(folder))
        model = load_model(args)
        assert torch.equal(logits(model), expected)
        assert not any(module.training for module in model.modules())
        identity = identify(args)
        assert (identity.name, identity.adapter, identity.base) == (str(folder), str(folder), str(tiny_llama_dir))
        assert load_tokenizer(args)("win").input_ids == load_tokenizer(named(tiny_llama_dir))("win").input_ids

    def test_is_not_rounded_to_the_dtype_of_the_base(self, adapter: tuple[Path, torch.Tensor]) -> None:
        model = load_model(named(adapter[0], dtype="bfloat16"))
        assert {p.dtype for name, p in model.named_parameters() if "lora" in name} == {torch.float32}

    def test_without_its_base_says_how_to_name_it(self, adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
        folder = shutil.copytree(adapter[0], tmp_path / "orphan")
        edit_json(folder / "adapter_config.json", base_model_name_or_path="/gone/model")
        with pytest.raises(UserError, match=r"base of adapter .*/gone/model.* --model_name_or_path BASE"):
            identify(named(folder))
        edit_json(folder / "adapter_config.json", base_model_name_or_path=None)
        with pytest.raises(UserError, match="does not say which base"):
            load_tokenizer(named(folder))

    def test_moved_base_can_be_named(
        self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(adapter[0], tmp_path / "moved")
        edit_json(folder / "adapter_config.json", base_model_name_or_path="/gone/model")
        args = in_float32(tiny_llama_dir, adapter_name_or_path=str(folder))
        assert torch.equal(logits(load_model(args)), adapter[1])

    def test_of_another_architecture_is_refused(self, adapter: tuple[Path, torch.Tensor], tiny_gemma_dir: Path) -> None:
        with pytest.raises(UserError, match="does not fit"):
            load_model(named(tiny_gemma_dir, adapter_name_or_path=str(adapter[0])))

    def test_that_would_be_used_in_part_is_refused(
        self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, tmp_path: Path
    ) -> None:
        weights = load_file(adapter[0] / "adapter_model.safetensors")
        deeper = {name.replace("layers.0", "layers.9"): weight.clone() for name, weight in weights.items()}
        for name, content in (("more", {**weights, **deeper}), ("less", dict(list(weights.items())[2:]))):
            folder = shutil.copytree(adapter[0], tmp_path / name)
            save_file(content, folder / "adapter_model.safetensors")
            with pytest.raises(UserError, match="does not fit"):
                load_model(named(folder))

    def test_on_a_base_of_another_name_is_used_with_a_note(
        self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        put_into_hub_cache(tmp_path / "hub", "lab/tiny", tiny_llama_dir)
        folder = shutil.copytree(adapter[0], tmp_path / "renamed")
        edit_json(folder / "adapter_config.json", base_model_name_or_path="lab/tiny-instruct")
        args = ModelArguments("lab/tiny", adapter_name_or_path=str(folder), dtype="float32")
        assert base_notes(args) == (f"adapter {folder} names lab/tiny-instruct as its base; it is used on lab/tiny",)
        torch.testing.assert_close(logits(load_model(args)), adapter[1])
        assert identify(args).base == "lab/tiny"
        edit_json(folder / "adapter_config.json", base_model_name_or_path="lab/tiny", revision="v1")
        assert base_notes(args) == (f"adapter {folder} was trained on revision v1 of lab/tiny; it is used on main",)
        edit_json(folder / "adapter_config.json", revision="main")
        assert base_notes(args) == ()
        assert base_notes(named(tiny_llama_dir, adapter_name_or_path=str(adapter[0]))) == ()

    @pytest.mark.parametrize("kept_in", ["adapter", "checkpoint-2", "alpha-0.5"])
    @pytest.mark.parametrize(
        ("trained", "asked", "said"),
        [
            ("load_in_4bit", None, "a 4-bit base (load_in_4bit); it is used on an unquantised base"),
            ("load_in_8bit", "load_in_4bit", "an 8-bit base (load_in_8bit); it is used on a 4-bit base (load_in_4bit)"),
            (None, "load_in_8bit", "an unquantised base; it is used on an 8-bit base (load_in_8bit)"),
            ("load_in_4bit", "load_in_4bit", None),
            (None, None, None),
        ],
    )
    def test_on_a_base_quantised_otherwise_than_in_training_is_used_with_a_note(
        self,
        kept_in: str,
        trained: str | None,
        asked: str | None,
        said: str | None,
        tiny_llama_dir: Path,
        tmp_path: Path,
    ) -> None:
        folder = tmp_path / "adapter"
        save_adapter(tiny_llama_dir, folder)
        write_json(folder / "config.json", {"model": {n: n == trained for n in ("load_in_4bit", "load_in_8bit")}})
        if kept_in == "alpha-0.5":
            folder = interpolate(str(folder), None, 0.5, tmp_path / "other" / kept_in)
        elif kept_in == "checkpoint-2":
            save_adapter(tiny_llama_dir, folder := folder / kept_in)
        expected = (f"adapter {folder} was trained on {said}",) if said else ()
        assert base_notes(named(folder, **({asked: True} if asked else {}))) == expected
        if not asked and kept_in == "adapter":
            notes: list[str] = []
            merge(str(folder), None, str(tmp_path / "merged"), tell=notes.append)
            assert tuple(notes) == expected

    def test_on_other_weights_than_it_was_trained_on_is_refused_or_said(
        self, tiny_llama_dir: Path, tmp_path: Path
    ) -> None:
        """Whatever the base is called, how it is loaded, and whether the adapter is a checkpoint's."""
        base, folder = Path(shutil.copytree(tiny_llama_dir, tmp_path / "base")), tmp_path / "adapter"
        save_adapter(base, folder)
        write_json(folder / "split.json", {"base_weights": weights_fingerprint(in_float32(base))})
        shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("split.json"))
        (tmp_path / "copy").rename(folder / "checkpoint-2")
        renamed = shutil.copytree(base, tmp_path / "renamed")
        for known in (folder, folder / "checkpoint-2"):
            load_model(named(known))
            for asked in (base, renamed):
                assert base_notes(named(asked, adapter_name_or_path=str(known), load_in_4bit=True)) == ()
        save_tiny_llama(base, seed=1)
        for known in (folder, folder / "checkpoint-2"):
            for use in (load_model, identify):
                with pytest.raises(UserError, match=rf"{known} was trained on other weights than {base} holds now"):
                    use(named(known))
            explicit = named(base, adapter_name_or_path=str(known))
            sentence = f"adapter {known} was trained on other weights than those of {base}; it is used on these"
            assert base_notes(explicit) == (sentence,)
            load_model(explicit)
            assert base_notes(named(renamed, adapter_name_or_path=str(known))) == ()

    def test_that_acts_from_certain_tokens_on_is_refused(self, tiny_llama_dir: Path, tmp_path: Path) -> None:
        """PEFT tells its layers from where on, around the model, where nothing of it is seen."""
        save_adapter(tiny_llama_dir, tmp_path / "activated", alora_invocation_tokens=[5, 6], task_type="CAUSAL_LM")
        with pytest.raises(UserError, match="is an activated LoRA, which acts from certain tokens on"):
            load_model(named(tmp_path / "activated"))

    def test_whose_layers_the_model_reads_past_is_refused_unless_they_are_zero(self, tmp_path: Path) -> None:
        """Falcon-Mamba multiplies with the weight of ``dt_proj`` itself; in 4 bits, where it is trained, it cannot."""
        base = save("falcon_mamba", tmp_path / "base")
        for std in (0.0, 0.1):
            save_adapter(base, tmp_path / f"{std}", std=std, target_modules=["dt_proj", "x_proj"])
        load_model(in_float32(tmp_path / "0.0"))
        with pytest.raises(UserError, match=r"has weights for dt_proj, which the code of .*base does not use in this"):
            load_model(in_float32(tmp_path / "0.1"))
        load_model(in_float32(tmp_path / "0.1", load_in_4bit=True))
        loha = LoHaConfig(r=4, target_modules=["dt_proj", "x_proj"], init_weights=False)
        dora = LoraConfig(target_modules=["dt_proj"], use_dora=True)
        for settings in (loha, dora):  # LoRA's own weights begin at zero, DoRA's magnitudes need not
            with quiet_transformers():
                adapted = get_peft_model(load_model(in_float32(base)), settings)
            for name, parameter in adapted.named_parameters():
                if "lora_magnitude_vector" in name:
                    parameter.data.fill_(3.0)
            adapted.save_pretrained(tmp_path / "other")
            with pytest.raises(UserError, match=r"has weights for dt_proj, which the code of .*base does not use in"):
                load_model(in_float32(tmp_path / "other"))

    def test_of_another_kind_gives_what_peft_gives_or_is_refused(
        self, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
        with quiet_transformers():
            adapted = get_peft_model(load_model(in_float32(tiny_llama_dir)), settings).eval()
        for name, parameter in adapted.named_parameters():
            if "ia3" in name:
                parameter.data.normal_(1, 0.5)
        adapted.save_pretrained(tmp_path / "scaled")
        assert torch.equal(logits(load_model(in_float32(tmp_path / "scaled"))), logits(adapted))

        def forward(self: PeftModel, **inputs: torch.Tensor) -> object:
            output = self.get_base_model()(**inputs)
            output.logits = output.logits * 1.5
            return output

        monkeypatch.setattr(PeftModel, "forward", forward)
        with pytest.raises(UserError, match="is IA3, part of which acts outside the model's layers"):
            load_model(in_float32(tmp_path / "scaled"))

    @pytest.mark.parametrize("top_alone", [True, False])
    def test_whose_layers_share_a_bank_of_vectors_gives_what_peft_gives(
        self, tiny_llama_dir: Path, tmp_path: Path, top_alone: bool
    ) -> None:
        torch.manual_seed(0)
        settings = VBLoRAConfig(
            target_modules=["q_proj"], vector_length=8, num_vectors=16, save_only_topk_weights=top_alone
        )
        with quiet_transformers():
            adapted = get_peft_model(load_model(in_float32(tiny_llama_dir)), settings).eval()
        for name, parameter in adapted.named_parameters():
            if "vblora" in name:
                parameter.data.normal_()
        adapted.save_pretrained(tmp_path / "bank")
        torch.testing.assert_close(
            logits(load_model(in_float32(tmp_path / "bank"))), logits(adapted), rtol=0, atol=1e-3
        )
        assert not torch.equal(logits(adapted), logits(load_model(in_float32(tiny_llama_dir))))

    @pytest.mark.parametrize("which", ["tiny_llama_dir", "tiny_gemma_dir"])
    def test_of_single_tokens_gives_what_peft_gives(
        self, which: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """Gemma's head is its embedding: PEFT computes it from the rows itself, and never calls the layer."""
        base = in_float32(request.getfixturevalue(which))
        with quiet_transformers():
            adapted = get_peft_model(load_model(base), TrainableTokensConfig(token_indices=[*range(1, 17)])).eval()
        for name, parameter in adapted.named_parameters():
            if "trainable_tokens_delta" in name:
                parameter.data.normal_()
        adapted.save_pretrained(tmp_path / "tokens")
        assert torch.equal(logits(load_model(in_float32(tmp_path / "tokens"))), logits(adapted))
        assert not torch.equal(logits(adapted), logits(load_model(base)))

    def test_trained_on_the_alias_names_the_hubs_model_and_finds_the_alias_again(
        self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("centaurlab.models.checkpoints.gemma_folder", lambda: tiny_llama_dir)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        run = Path(shutil.copytree(adapter[0], tmp_path / "run"))
        checkpoint = shutil.copytree(adapter[0], run / "checkpoint-2")
        (run / "config.json").write_text('{"model": {"model_name_or_path": "gemma-3-270m"}}')
        moved = tmp_path / "moved"
        for folder in (run, checkpoint):
            edit_json(folder / "adapter_config.json", base_model_name_or_path=f"/home/me/models/{_gemma_key()}")
            name_published_base(folder)
            assert '"google/gemma-3-270m"' in (folder / "adapter_config.json").read_text()
            args = in_float32(folder)
            assert (identify(args).base, base_notes(args)) == ("gemma-3-270m", ())
            assert torch.equal(logits(load_model(args)), adapter[1])
        shutil.copytree(checkpoint, moved)  # without the run that says which copy it was
        said = "names google/gemma-3-270m as its base; it is used on gemma-3-270m"
        assert said in " ".join(base_notes(in_float32(moved)))

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        put_into_hub_cache(tmp_path / "hub", "google/gemma-3-270m", tiny_llama_dir)
        with quiet_transformers():  # PEFT 0.21 uses names that transformers 5.24 gave up
            plain = AutoPeftModelForCausalLM.from_pretrained(moved, dtype=torch.float32).eval()
        assert torch.equal(logits(plain), adapter[1]), "as somebody with PEFT alone has it"
        assert (identify(in_float32(moved)).base, base_notes(in_float32(moved))) == ("google/gemma-3-270m", ())

    def test_what_is_none_is_refused(self, adapter: tuple[Path, torch.Tensor], tiny_llama_dir: Path) -> None:
        with pytest.raises(UserError, match="not a PEFT adapter"):
            identify(named(tiny_llama_dir, adapter_name_or_path=str(tiny_llama_dir)))
        with pytest.raises(UserError, match="is an adapter itself"):
            identify(named(adapter[0], adapter_name_or_path=str(adapter[0])))

    def test_pickled_is_refused(self, adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
        folder = shutil.copytree(adapter[0], tmp_path / "pickled")
        torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
        (folder / "adapter_model.safetensors").unlink()
        with pytest.raises(UserError, match="--allow_pickle"):
            load_model(named(folder))
        assert torch.equal(logits(load_model(in_float32(folder, allow_pickle=True))), adapter[1])
