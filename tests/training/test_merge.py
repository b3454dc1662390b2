"""Training on from an adapter: it is merged into its base in the run's folder."""

import errno
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from centaurlab.models.arguments import ModelArguments
from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.loading import load_model
from centaurlab.runtime.errors import UserError
from centaurlab.training.base_model import base_arguments
from centaurlab.training.merge import merge
from helpers.adapters import save_adapter
from helpers.tiny_models import in_float32, logits
from helpers.trainings import lora_on, on_cpu


def begin(adapter: Path, run: Path) -> ModelArguments:
    """The model that a training on from ``adapter`` begins with."""
    return base_arguments(lora_on(adapter), on_cpu(run))


def test_training_goes_on_from_the_model_that_an_adapter_makes(tiny_llama_dir: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    save_adapter(tiny_llama_dir, adapter)
    run = tmp_path / "run"
    (run / ".merged-base.tmp").mkdir(parents=True)
    (run / ".merged-base.tmp" / "model.safetensors").write_text("cut off")
    args = begin(adapter, run)
    assert args.model_name_or_path == str(run / "merged-base")
    known = (args, in_float32(adapter), in_float32(tiny_llama_dir))
    merged, whole, base = (logits(load_model(model)) for model in known)
    torch.testing.assert_close(merged, whole, atol=0.1, rtol=0)  # merged weights are bfloat16
    assert (merged - base).abs().max() > 1

    written = (run / "merged-base" / "model.safetensors").stat().st_mtime_ns
    assert begin(adapter, run) == args
    assert (run / "merged-base" / "model.safetensors").stat().st_mtime_ns == written
    save_adapter(tiny_llama_dir, tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="another adapter"):
        begin(tmp_path / "other", run)


def test_a_merge_that_a_full_disk_ends_leaves_no_part_of_a_model(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    save_adapter(tiny_llama_dir, tmp_path / "adapter")
    asked = (str(tmp_path / "adapter"), None, str(tmp_path / "merged"))
    with monkeypatch.context() as patch:
        patch.setattr(PreTrainedTokenizerFast, "save_pretrained", full)
        with pytest.raises(OSError, match="no space"):
            merge(*asked)
    assert not (tmp_path / "merged").exists()
    merge(*asked)


def test_a_whole_model_stays_where_it_is(tiny_llama_dir: Path, tmp_path: Path) -> None:
    assert find_checkpoint(begin(tiny_llama_dir, tmp_path / "run").model_name_or_path, None, True, False).folder == (
        tiny_llama_dir.resolve()
    )
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_of_another_model_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama_dir, base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["choose"])
    tokenizer.save_pretrained(base)
    save_adapter(base, tmp_path / "adapter")
    with pytest.raises(UserError, match=r"none of the \d+ that the model has embeddings of"):
        merge(str(tmp_path / "adapter"), None, str(tmp_path / "merged"))


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_modules_that_an_adapter_replaces_are_merged_too(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(f"tiny_{name}_dir")  # the Gemma's head is its embedding until it is replaced
    save_adapter(base, tmp_path / "adapter", modules_to_save=["lm_head"])
    folder = merge(str(tmp_path / "adapter"), None, str(tmp_path / "merged"))
    merged, whole = (logits(load_model(in_float32(path))) for path in (folder, tmp_path / "adapter"))
    torch.testing.assert_close(merged, whole, atol=0.1, rtol=0.02)


@pytest.mark.parametrize(
    "lora",
    [
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [30, 31, 77]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj"], "use_dora": True},
        {"target_modules": ["q_proj"], "use_rslora": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["llama", "gemma"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_embeddings_and_head_of_one_matrix_are_merged_into_two(
    name: str, lora: dict[str, object], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The Gemma's head is its embedding, the Llama's is not."""
    base = request.getfixturevalue(f"tiny_{name}_dir")
    save_adapter(base, tmp_path / "adapter", std=0.3, **lora)
    folder = merge(str(tmp_path / "adapter"), None, str(tmp_path / "merged"))
    merged, whole, alone = (logits(load_model(in_float32(path))) for path in (folder, tmp_path / "adapter", base))
    torch.testing.assert_close(merged, whole, atol=0.3, rtol=0.03)  # merged weights are bfloat16
    assert (whole - alone).abs().max() > 1


def test_a_merge_that_changes_the_logits_is_refused(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_adapter(tiny_llama_dir, tmp_path / "adapter")
    monkeypatch.setattr("peft.tuners.lora.layer.Linear.merge", lambda _: None)
    with pytest.raises(UserError, match="the logits would differ by"):
        merge(str(tmp_path / "adapter"), None, str(tmp_path / "merged"))
    assert not list((tmp_path / "merged").iterdir())


@pytest.mark.parametrize("std", [0.001, 0.1])
def test_a_merge_says_what_rounding_loses_of_the_adapter(std: float, tiny_llama_dir: Path, tmp_path: Path) -> None:
    adapter, notes = tmp_path / "adapter", []
    save_adapter(tiny_llama_dir, adapter, std=std)
    folder = merge(str(adapter), None, str(tmp_path / "merged"), tell=notes.append)
    merged, whole, base = (logits(load_model(in_float32(path))) for path in (folder, adapter, tiny_llama_dir))
    lost = float((merged - whole).std() / (whole - base).std())
    assert lost > 0.5 or lost < 0.05
    assert [note.startswith("rounding to bfloat16 changes") for note in notes] == [True] * (lost > 0.5)
