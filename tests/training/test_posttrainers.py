"""Losses, rewards and gradients of the post-trainers are those of TRL's own, and the penalty is SciPy's KL."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.stats import entropy
from trl import DPOTrainer, SFTTrainer, get_peft_config

from centaurlab.models.loading import load_model
from centaurlab.prompts.chat import chat_tokenizer
from centaurlab.training.conversations import (
    Preference,
    conversation_of,
    encode_conversations,
    learned_tokens,
    preference_of,
    read_conversations,
)
from centaurlab.training.options import PostTrainArguments
from centaurlab.training.posttrain import posttrain
from centaurlab.training.posttrainers import kl_divergence, stop_dropout
from centaurlab.training.trainer import SessionCollator, sequence_nll
from helpers.architectures import class_of, config_of
from helpers.json_files import edit_json, metrics
from helpers.tiny_models import in_float32, logits
from helpers.trainings import lora_on, on_cpu, start_posttraining


@pytest.mark.parametrize(
    ("peft", "padding_free"),
    [
        (True, True),
        (False, False),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in ((True, False), (False, True))),
    ],
)
def test_preference_training_is_trls(peft: bool, padding_free: bool, tiny_gemma_dir: Path, tmp_path: Path) -> None:
    """TRL's own trainer, on the same pairs in the same order, has the same losses and rewards at every step."""
    options = {"method": "dpo", "gradient_accumulation_steps": 2, "save_strategy": "no"}
    ours = start_posttraining(tiny_gemma_dir, tmp_path / "ours", peft=peft, padding_free=padding_free, **options)
    ours.trainer.train()
    rows = read_conversations(PostTrainArguments(method="dpo", max_examples=12), seed=ours.trainer.args.seed)
    args = in_float32(tiny_gemma_dir)
    theirs = DPOTrainer(
        load_model(args),
        ref_model=None if peft else load_model(args),
        args=ours.trainer.args,
        train_dataset=Dataset.from_list([Preference(*preference_of(row))._asdict() for row in rows]),
        processing_class=chat_tokenizer(args),
        peft_config=get_peft_config(lora_on(tiny_gemma_dir, use_peft=peft)),
    )
    theirs.train()
    names = ("loss", *(f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")))
    logged = [
        [[line[name] for name in names] for line in trainer.state.log_history if "loss" in line]
        for trainer in (ours.trainer, theirs)
    ]
    assert len(logged[0]) == 4
    assert logged[0][0][0] == pytest.approx(np.log(2), abs=1e-4)
    assert logged[0][-1][0] < 0.6
    np.testing.assert_allclose(logged[0], logged[1], atol=2e-4)


def test_loss_is_that_of_trl_on_the_same_conversations(tiny_llama_dir: Path, tmp_path: Path) -> None:
    args = in_float32(tiny_llama_dir)
    tokenizer = chat_tokenizer(args)
    rows = read_conversations(PostTrainArguments(max_examples=6), seed=0)
    turns = Dataset.from_list([dict(zip(("prompt", "completion"), conversation_of(row), strict=True)) for row in rows])
    config = on_cpu(tmp_path, per_device_eval_batch_size=6, max_length=512)
    trl = SFTTrainer(load_model(args), config, train_dataset=turns, eval_dataset=turns, processing_class=tokenizer)
    encoded = encode_conversations(rows, "sft", tokenizer, 512).examples
    batch = SessionCollator(tokenizer.pad_token_id)(list(encoded))
    with torch.no_grad():
        nll = sequence_nll(load_model(args), batch).sum() / learned_tokens(encoded)
    assert float(nll) == pytest.approx(trl.evaluate()["eval_loss"], abs=2e-5)


def test_kl_is_scipys() -> None:
    logits, base = torch.randn(2, 7, 30, generator=torch.Generator().manual_seed(0)) * 3
    p, q = (torch.softmax(x.double(), -1).numpy() for x in (logits, base))
    np.testing.assert_allclose(kl_divergence(logits, base), entropy(p, q, axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "opt", "gpt_neo", "bloom", "starcoder2", "mixtral"])
def test_a_model_without_dropout_is_in_training_what_it_is_in_use(name: str) -> None:
    config = config_of(name)
    for noise in [one for one in vars(config) if "drop" in one or "jitter" in one]:
        setattr(config, noise, 0.5)
    model = class_of(config).from_config(config).eval()
    in_use = logits(model)
    assert not torch.allclose(logits(model.train()), in_use)
    stop_dropout(model)
    torch.testing.assert_close(logits(model), in_use)


@pytest.mark.parametrize(("method", "weight"), [("sft", 1.0), ("dpo", 0.0)])
def test_a_model_that_learned_nothing_has_not_left_its_base(
    method: str, weight: float, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_llama_dir, tmp_path / "base"))
    edit_json(base / "config.json", attention_dropout=0.5)
    options = {"method": method, "kl_to_base": weight, "max_steps": 1, "learning_rate": 1e-12, "save_strategy": "no"}
    trainer = start_posttraining(base, tmp_path / "run", **options).trainer
    trainer.train()
    logged = trainer.state.log_history[0]
    if method == "sft":
        assert logged["kl_to_base"] == pytest.approx(0, abs=1e-6)
    else:
        assert (logged["rewards/margins"], logged["loss"]) == pytest.approx((0, np.log(2)), abs=1e-4)


def test_dpo_raises_the_margin_of_chosen_over_rejected(tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = start_posttraining(tiny_llama_dir, tmp_path / "run", method="dpo", max_steps=8, save_steps=8)
    posttrain(run)
    margins = metrics(run.folder.path, "train/rewards/margins")
    assert margins[0] == pytest.approx(0, abs=1e-4)
    assert margins[-1] > 0.05


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_an_adapter_on_quantised_weights_is_trained_in_float32(
    method: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    trainer = start_posttraining(tiny_llama_dir, tmp_path, method=method, load_in_4bit=True).trainer
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
