"""An adapter's own tokenizer is used where it cuts text otherwise, with room for its tokens, or it is refused."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from centaurlab.data.source import DataArguments
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.identity import identify
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.runtime.errors import UserError
from centaurlab.runtime.quiet import quiet_transformers
from centaurlab.scoring.arguments import ScoreArguments
from centaurlab.scoring.run import measure
from centaurlab.training.merge import merge
from helpers.adapters import save_adapter
from helpers.tiny_models import in_float32, logits
from helpers.transcripts import sessions_of, write_transcripts

pytestmark = pytest.mark.usefixtures("own_cache")

TEXT = "You press <<J>>. You press <<left>>. You press <<F>>."


def adapter_with_tokens(
    base: Path, folder: Path, resize: bool, **lora: object
) -> tuple[PeftModel, PreTrainedTokenizerFast]:
    """An adapter whose tokenizer has two tokens more, in spare rows of its base or in new ones."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["You press", "☃"])
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if resize:
        model.resize_token_embeddings(len(tokenizer))
    torch.manual_seed(0)
    with quiet_transformers():  # PEFT 0.21 uses names that transformers 5.24 gave up
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], **lora)).eval()
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    adapted.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return adapted, tokenizer


def with_spare_rows(base: Path, folder: Path) -> Path:
    """The base with eight rows more than tokens."""
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(model.config.vocab_size + 8)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def plain_nll(model: PeftModel, tokenizer: PreTrainedTokenizerFast) -> list[float]:
    """Of the three responses, by a pass over the whole text."""
    encoded = tokenizer(TEXT, return_offsets_mapping=True)
    ids = torch.tensor(encoded.input_ids)
    with torch.no_grad():
        log_p_TV = model(ids[None]).logits[0].log_softmax(-1)
    found = []
    for answer in ("J", "left", "F"):
        start = TEXT.index(f"<<{answer}>>") + 2
        inside = [t for t, (a, b) in enumerate(encoded.offset_mapping) if start <= a < b <= start + len(answer)]
        found.append(-sum(float(log_p_TV[t - 1, ids[t]]) for t in inside))
    return found


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
@pytest.mark.parametrize("resize", [False, True])
def test_a_tokenizer_with_tokens_of_its_own_is_used(resize: bool, tiny_llama_dir: Path, tmp_path: Path) -> None:
    base = tiny_llama_dir if resize else with_spare_rows(tiny_llama_dir, tmp_path / "base")
    n = len(AutoTokenizer.from_pretrained(base))
    lora = {"modules_to_save": ["embed_tokens", "lm_head"]} if resize else {"trainable_token_indices": [n, n + 1]}
    adapted, tokenizer = adapter_with_tokens(base, tmp_path / "adapter", resize, **lora)
    data = write_transcripts(tmp_path / "data.jsonl", sessions_of(["a2020"], 1, lambda *_: TEXT))
    args = in_float32(tmp_path / "adapter")
    run = measure(args, DataArguments(data=str(data)), ScoreArguments(str(tmp_path / "run")))
    expected = plain_nll(adapted, tokenizer)
    assert pd.read_parquet(run / "scores.parquet")["nll"].tolist() == pytest.approx(expected, abs=1e-4)
    assert identify(args).tokenizer_fingerprint != identify(in_float32(base)).tokenizer_fingerprint
    merged = merge(str(tmp_path / "adapter"), None, str(tmp_path / "merged"))
    torch.testing.assert_close(logits(load_model(in_float32(merged))), logits(load_model(args)), atol=0.4, rtol=0.03)
    assert load_tokenizer(in_float32(merged)).get_vocab() == tokenizer.get_vocab()


def test_tokens_without_weights_are_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    adapter_with_tokens(tiny_llama_dir, tmp_path / "adapter", resize=False)
    with pytest.raises(UserError, match=r"does not bring the missing rows of embed_tokens, lm_head"):
        load_model(in_float32(tmp_path / "adapter"))


def test_a_copy_of_the_base_s_tokenizer_changes_nothing(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Written anew by another library, and with another way of padding."""
    save_adapter(tiny_llama_dir, tmp_path / "adapter")
    args, base = in_float32(tmp_path / "adapter"), in_float32(tiny_llama_dir)
    expected = identify(args).tokenizer_fingerprint
    assert expected == identify(base).tokenizer_fingerprint
    content = json.loads((tiny_llama_dir / "tokenizer.json").read_text())
    content["padding"] = {
        "strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<pad>",
    }  # fmt: skip
    (tmp_path / "adapter" / "tokenizer.json").write_text(json.dumps(content))
    assert identify(args).tokenizer_fingerprint == expected
    assert load_tokenizer(args).name_or_path == str(tiny_llama_dir)


def test_one_that_cuts_numbers_otherwise_is_its_own_unless_it_was_trained_here(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    save_adapter(tiny_llama_dir, tmp_path / "adapter")
    content = json.loads((tiny_llama_dir / "tokenizer.json").read_text())
    digits = {"type": "Digits", "individual_digits": True}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, content["pre_tokenizer"]]}
    content["model"]["merges"] = content["model"]["merges"][:5]
    folder = tmp_path / "adapter"
    shutil.copy(tiny_llama_dir / "tokenizer_config.json", folder)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert load_tokenizer(in_float32(folder)).name_or_path == str(folder)
    (folder / "split.json").write_text("{}")
    assert load_tokenizer(in_float32(folder)).name_or_path == str(tiny_llama_dir)


def test_a_token_that_is_looked_for_first_changes_how_text_is_cut(tiny_llama_dir: Path, tmp_path: Path) -> None:
    save_adapter(tiny_llama_dir, tmp_path / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    known = len(tokenizer)
    tokenizer.add_tokens(["<<"])
    assert len(tokenizer) == known
    tokenizer.save_pretrained(tmp_path / "adapter")
    assert load_tokenizer(in_float32(tmp_path / "adapter")).name_or_path == str(tmp_path / "adapter")


def test_a_damaged_one_is_a_sentence(tiny_llama_dir: Path, tmp_path: Path) -> None:
    save_adapter(tiny_llama_dir, tmp_path / "adapter")
    for damaged in ("{", "[]", '{"model": {"vocab": 3}}'):
        (tmp_path / "adapter" / "tokenizer.json").write_text(damaged)
        with pytest.raises(UserError, match="is no tokenizer"):
            identify(ModelArguments(str(tmp_path / "adapter")))
