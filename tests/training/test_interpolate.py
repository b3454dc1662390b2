"""A model between two: at 0 and 1 it is one of them, and its weights lie on the line between."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from centaurlab.models.checkpoints import find_checkpoint
from centaurlab.models.identity import weights_fingerprint
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.encoding import encode
from centaurlab.runtime.errors import UserError
from centaurlab.scoring.scorer import SessionScorer
from centaurlab.training.interpolate import interpolate
from centaurlab.training.merge import merge
from helpers.adapters import save_adapter
from helpers.commands import UNTRACKED, Done, run_script
from helpers.json_files import edit_json, write_json
from helpers.paths import RECIPES
from helpers.tiny_models import in_float32, logits, named, save_tiny_gemma

SESSION = "You will be shown two slot machines, J and F.\n" + "You choose <<J>> and win 3 points. You say <<F>>.\n" * 8


def nlls(model: Path) -> torch.Tensor:
    args = in_float32(model)
    encoding = encode(SESSION, load_tokenizer(args))
    return torch.from_numpy(SessionScorer(load_model(args)).score(encoding).scores.nll_R.copy())


@pytest.fixture
def adapter(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    save_adapter(tiny_llama_dir, tmp_path / "adapter", seed=1, std=0.2, lora_alpha=16, use_rslora=True)
    (tmp_path / "adapter" / "chat_template.jinja").write_text("{{ messages }}")
    return tmp_path / "adapter"


@pytest.fixture
def whole(adapter: Path, tmp_path: Path) -> Path:
    """The adapter merged: another whole model than the base."""
    return merge(str(adapter), None, str(tmp_path / "whole"))


def test_zero_and_one_reproduce_base_and_adapter(adapter: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    zero, one = (nlls(interpolate(str(adapter), None, alpha, tmp_path / f"{alpha}")) for alpha in (0.0, 1.0))
    torch.testing.assert_close(zero, nlls(tiny_llama_dir), atol=1e-5, rtol=0)
    torch.testing.assert_close(one, nlls(adapter), atol=1e-5, rtol=0)
    assert (zero - one).abs().max() > 0.1
    assert (tmp_path / "0.0" / "chat_template.jinja").read_text() == "{{ messages }}"


def test_what_is_made_of_an_adapter_says_whom_that_was_trained_on(adapter: Path, tmp_path: Path) -> None:
    (adapter / "split.json").write_text('{"split_seed": 3}')
    middle, merged = (
        interpolate(str(adapter), None, 0.5, tmp_path / "0.5"),
        merge(str(adapter), None, str(tmp_path / "m")),
    )
    assert {(folder / "split.json").read_text() for folder in (middle, merged)} == {'{"split_seed": 3}'}


def test_an_adapter_remembers_the_weights_of_its_base(adapter: Path, tmp_path: Path) -> None:
    write_json(adapter / "data.json", {"base_weights": weights_fingerprint(named(adapter))})
    middle = interpolate(str(adapter), None, 0.5, tmp_path / "middle")
    assert interpolate(str(adapter), None, 0.5, middle) == middle
    assert find_checkpoint(str(middle), None, True, False).base_weights() == weights_fingerprint(named(adapter))


def test_zero_and_one_reproduce_whole_models(whole: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    zero, one = (
        nlls(interpolate(str(whole), str(tiny_llama_dir), alpha, tmp_path / f"{alpha}")) for alpha in (0.0, 1.0)
    )
    torch.testing.assert_close(zero, nlls(tiny_llama_dir), atol=1e-5, rtol=0)
    torch.testing.assert_close(one, nlls(whole), atol=1e-5, rtol=0)
    assert (zero - one).abs().max() > 0.1


def test_weights_lie_on_the_line_between(adapter: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Of an adapter too, by its effective weights: B A times the scale, computed here."""
    middle = load_file(interpolate(str(adapter), None, 0.3, tmp_path / "middle") / "adapter_model.safetensors")
    known = load_file(adapter / "adapter_model.safetensors")
    for name, a in known.items():
        if ".lora_A." in name:
            b = name.replace("lora_A", "lora_B")
            torch.testing.assert_close(middle[b] @ middle[name], 0.3 * (known[b] @ a))


def test_whole_weights_lie_on_the_line_between(whole: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    middle = load_file(interpolate(str(whole), str(tiny_llama_dir), 0.3, tmp_path / "middle") / "model.safetensors")
    post, base = load_file(whole / "model.safetensors"), load_file(tiny_llama_dir / "model.safetensors")
    for name, tensor in middle.items():
        torch.testing.assert_close(tensor, 0.7 * base[name].float() + 0.3 * post[name].float())


def test_tied_weights_are_mixed_once(tiny_gemma_dir: Path, tmp_path: Path) -> None:
    other = save_tiny_gemma(tmp_path / "other", seed=1)
    middle = load_file(interpolate(str(other), str(tiny_gemma_dir), 0.3, tmp_path / "middle") / "model.safetensors")
    post, base = load_file(other / "model.safetensors"), load_file(tiny_gemma_dir / "model.safetensors")
    assert "lm_head.weight" not in middle, "the head is the embedding"
    for name, tensor in middle.items():
        torch.testing.assert_close(tensor, 0.7 * base[name].float() + 0.3 * post[name].float())


def test_a_merged_model_keeps_the_chat_template(whole: Path) -> None:
    assert load_tokenizer(named(whole)).chat_template == "{{ messages }}"


def test_mistakes(adapter: Path, whole: Path, tiny_gemma_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name the one it was trained from"):
        interpolate(str(whole), None, 0.5, tmp_path / "a")
    with pytest.raises(UserError, match="does not fit"):
        interpolate(str(whole), str(tiny_gemma_dir), 0.5, tmp_path / "b")
    with pytest.raises(UserError, match="give a number"):
        interpolate(str(adapter), None, float("nan"), tmp_path / "c")
    with pytest.raises(UserError, match=r"holds something else; leave 0.5 out of --alpha"):
        interpolate(str(adapter), None, 0.5, adapter)


@pytest.mark.parametrize(
    "setting",
    [
        {"use_dora": True},
        {"kasa_config": {"beta": 1e-4}},
        {"layer_replication": [[0, 1], [0, 2]]},
        *({"init_lora_weights": start} for start in ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga")),
    ],
    ids=str,
)
def test_an_adapter_without_which_its_model_is_not_the_base_is_refused(
    setting: dict[str, object], adapter: Path, tmp_path: Path
) -> None:
    edit_json(adapter / "adapter_config.json", **setting)
    with pytest.raises(UserError, match=rf"not a plain LoRA adapter \({next(iter(setting))}.*; merge it first"):
        interpolate(str(adapter), None, 0.5, tmp_path / "middle")


@pytest.mark.parametrize("start", ["gaussian", "orthogonal", "mica"])
def test_zero_is_the_base_however_the_adapter_began(start: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    save_adapter(tiny_llama_dir, tmp_path / "adapter", std=0.2, init_lora_weights=start)
    zero = interpolate(str(tmp_path / "adapter"), None, 0.0, tmp_path / "zero")
    torch.testing.assert_close(logits(load_model(in_float32(zero))), logits(load_model(in_float32(tiny_llama_dir))))


def test_the_recipe_given_again_makes_what_is_missing(adapter: Path, tmp_path: Path) -> None:
    def recipe(*alphas: str) -> Done:
        options = ("--post", adapter, "--output_dir", tmp_path / "out", *UNTRACKED)
        return run_script(RECIPES / "interpolate.py", *options, "--alpha", *alphas)

    assert recipe("0.5").returncode == 0
    model = tmp_path / "out" / "alpha-0.5" / "adapter_model.safetensors"
    made = model.stat().st_mtime_ns
    (tmp_path / "out" / ".alpha-0.25.tmp").mkdir()  # as a kill would leave it
    again = recipe("0.25", "0.5")
    assert again.returncode == 0
    assert f"kept: {model.parent}" in again.stdout
    assert model.stat().st_mtime_ns == made
    assert sorted(path.name for path in (tmp_path / "out").glob("*alpha-*")) == ["alpha-0.25", "alpha-0.5"]
    edit_json(adapter / "adapter_config.json", lora_alpha=64)
    config = (tmp_path / "out" / "config.json").read_text()
    assert "alpha-0.5 holds something else; leave 0.5 out" in recipe("0.75", "0.5").error
    assert not (tmp_path / "out" / "alpha-0.75").exists()
    assert (tmp_path / "out" / "config.json").read_text() == config
