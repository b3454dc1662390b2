"""A model in memory instead of a name: the same NLLs, an identity of its own, and left as it was."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from peft import LoraConfig, PeftConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

import centaurlab as cl
from centaurlab.models.loaded import LoadedModel
from centaurlab.runtime.errors import UserError
from helpers.architectures import build, byte_tokenizer

ROWS = [
    {"study": "slots", "participant": f"p{i}", "text": "Machines J and F. " + "You press <<J>>. " * 3} for i in (1, 2)
]

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def held(tiny_llama_dir: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(tiny_llama_dir)


def nlls(scores: cl.Scores) -> pd.Series:
    return scores.table()["nll"]


def test_it_scores_as_its_folder_does_and_is_left_as_it_was(
    held: tuple[PreTrainedModel, PreTrainedTokenizerFast], tiny_llama_dir: Path
) -> None:
    model, tokenizer = held
    model.name_or_path = ""  # as of one that was built from a config
    model.train()
    attention = model.config._attn_implementation
    scores = cl.score(model, ROWS, tokenizer=tokenizer)
    pd.testing.assert_series_equal(nlls(scores), nlls(cl.score(tiny_llama_dir, ROWS, dtype="float32")), rtol=0, atol=0)
    assert model.training
    assert all(module.training for module in model.modules())
    assert model.config._attn_implementation == attention
    assert scores.record.model.dtype == "float32"


def test_other_weights_are_another_model(held: tuple[PreTrainedModel, PreTrainedTokenizerFast], tmp_path: Path) -> None:
    model, tokenizer = held
    before = cl.score(model, ROWS, tmp_path / "scores", tokenizer=tokenizer)
    known = before.record.model.fingerprint
    with torch.no_grad():
        model.get_output_embeddings().weight[0, 0] += 0.5
    with pytest.raises(UserError, match="scores"):
        cl.score(model, ROWS, tmp_path / "scores", tokenizer=tokenizer)
    after = cl.score(model, ROWS, tokenizer=tokenizer)
    assert after.record.model.fingerprint != known
    assert not nlls(after).equals(nlls(before))


def test_other_rope_frequencies_are_another_model(
    held: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    before = LoadedModel(*held).identity().fingerprint
    held[0].model.rotary_emb.inv_freq *= 0.5  # which no file would hold
    assert LoadedModel(*held).identity().fingerprint != before


@pytest.mark.parametrize("name", ["llama_dynamic_rope", "phi3_longrope", "gemma3"])
def test_a_pass_makes_no_other_model(name: str) -> None:
    loaded = LoadedModel(build(name), byte_tokenizer())
    before = loaded.identity().fingerprint
    loaded.model(torch.arange(3, 203)[None])  # longer than the short rope
    assert loaded.identity().fingerprint == before


def test_a_hook_makes_another_model_and_one_of_a_library_does_not(
    held: tuple[PreTrainedModel, PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    """A steered model has the same weights, and nobody can know whether a later hook steers alike."""
    model, tokenizer = held
    plain = cl.score(model, ROWS, tmp_path / "scores", tokenizer=tokenizer)
    model.enable_input_require_grads()  # what training with an adapter leaves behind
    again = cl.score(model, ROWS, tmp_path / "scores", tokenizer=tokenizer)
    assert nlls(again).equals(nlls(plain))
    layer = model.get_decoder().layers[0].mlp
    hook = layer.register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(UserError, match="scores"):
        cl.score(model, ROWS, tmp_path / "scores", tokenizer=tokenizer)
    steered = cl.score(model, ROWS, tokenizer=tokenizer)
    assert steered.record.model.fingerprint != plain.record.model.fingerprint
    assert not nlls(steered).equals(nlls(plain))
    hook.remove()
    pd.testing.assert_series_equal(nlls(cl.score(model, ROWS, tmp_path / "scores", tokenizer=tokenizer)), nlls(plain))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by PEFT
def test_an_adapter_acts_where_it_is_switched_on(held: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    model, tokenizer = held
    plain = nlls(cl.score(model, ROWS, tokenizer=tokenizer))
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    on = cl.score(adapted, ROWS, tokenizer=tokenizer)
    with adapted.disable_adapter():
        off = cl.score(adapted, ROWS, tokenizer=tokenizer)
    assert not nlls(on).equals(plain)
    assert nlls(off).equals(plain)
    assert on.record.model.fingerprint != off.record.model.fingerprint


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by PEFT
@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")  # by PEFT
@pytest.mark.parametrize(
    "config",
    [
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], alora_invocation_tokens=[5]),
    ],
)
def test_an_adapter_around_the_layers_is_refused(
    config: PeftConfig, held: tuple[PreTrainedModel, PreTrainedTokenizerFast]
) -> None:
    """What PEFT puts in front of the text is in no layer: without it the model is its base."""
    model, tokenizer = held
    with pytest.raises(UserError, match="acts outside the model's layers"):
        cl.score(get_peft_model(model, config), ROWS, tokenizer=tokenizer)


def test_what_cannot_be_scored_is_said(
    held: tuple[PreTrainedModel, PreTrainedTokenizerFast], tiny_llama_dir: Path
) -> None:
    model, tokenizer = held
    with pytest.raises(UserError, match="needs its tokenizer"):
        cl.score(model, ROWS)
    with pytest.raises(UserError, match="Linear is no causal language model"):
        cl.score(torch.nn.Linear(2, 2), ROWS, tokenizer=tokenizer)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="goes with a model in memory"):
        cl.score(tiny_llama_dir, ROWS, tokenizer=tokenizer)
    with pytest.raises(UserError, match="no option 'dtype'"):
        cl.score(model, ROWS, tokenizer=tokenizer, dtype="bfloat16")
