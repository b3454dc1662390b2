import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from scipy.stats import entropy
from trl import ModelConfig, SFTConfig, SFTTrainer

from centaurlab.assistant import assistant_items
from centaurlab.chat import PLAIN_TEMPLATE, chat_tokenizer, encode_conversation
from centaurlab.errors import UserError
from centaurlab.models import ModelArguments, load_model, load_tokenizer
from centaurlab.training.base_model import load_base
from centaurlab.training.conversations import encode_conversations, learned_tokens, read_conversations, with_replay
from centaurlab.training.data import IGNORED
from centaurlab.training.posttrain import PostTrainRun, posttrain, prepare_posttraining
from centaurlab.training.posttrain_arguments import PostTrainArguments
from centaurlab.training.posttrainers import kl_divergence
from centaurlab.training.trainer import SessionCollator, sequence_nll


def start(model: Path, output: Path, *, peft: bool = True, **options: object) -> PostTrainRun:
    names = {f: options.pop(f) for f in list(options) if f in PostTrainArguments.__dataclass_fields__}
    training = {
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_steps": 2,
        "disable_tqdm": True,
        "report_to": "none",
        "max_length": 256,
    }
    return prepare_posttraining(
        PostTrainArguments(**{"max_examples": 12} | names),
        SFTConfig(str(output), **training | options),
        ModelConfig(str(model), dtype="float32", use_peft=peft, lora_target_modules=["q_proj", "v_proj"]),
    )


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.jsonl"
    rows = [
        {"text": "Choose J or F. " + f"You choose <<{'JF'[p % 2]}>>. " * 5, "experiment": s, "participant": p}
        for s in ("alpha", "beta")
        for p in range(6)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_labels_are_those_of_the_assistants_turns_alone(tiny_llama_dir: Path) -> None:
    tokenizer = chat_tokenizer(ModelArguments(str(tiny_llama_dir)))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is 2 < 3?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Sure."},
        {"role": "user", "content": "Thanks"},
    ]
    encoded = encode_conversation(messages, tokenizer)
    ids = encoded.input_ids_T
    assert tokenizer.decode(ids[encoded.is_reply_T]) == "Yes.<|end|>\n\nSure.<|end|>\n\n"
    assert tokenizer.decode(ids) == (
        "System:\nBe brief.\n\n"
        "User:\nIs 2 < 3?\n\nAssistant:\nYes.<|end|>\n\nUser:\nSure?\n\nAssistant:\nSure.<|end|>\n\n"
    )
    with pytest.raises(UserError, match="no turn of the role 'assistant'"):
        encode_conversation(messages[:2], tokenizer)


def test_a_template_that_rewrites_history_is_refused(tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_llama_dir)))
    tokenizer.chat_template = "{{ messages | length }}" + PLAIN_TEMPLATE
    with pytest.raises(UserError, match="changes earlier turns"):
        encode_conversation([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2, tokenizer)


def test_loss_is_that_of_trl_on_the_same_conversations(tiny_llama_dir: Path, tmp_path: Path) -> None:
    args = ModelArguments(str(tiny_llama_dir), dtype="float32")
    tokenizer = chat_tokenizer(args)
    rows = read_conversations(PostTrainArguments(max_examples=6), seed=0)
    config = SFTConfig(
        str(tmp_path), use_cpu=True, bf16=False, per_device_eval_batch_size=6, report_to="none", max_length=512
    )
    trl = SFTTrainer(load_model(args), config, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer)
    encoded = encode_conversations(rows, tokenizer, 512)
    batch = SessionCollator(tokenizer.pad_token_id)(list(encoded))
    with torch.no_grad():
        nll = sequence_nll(load_model(args), batch).sum() / learned_tokens(encoded)
    assert float(nll) == pytest.approx(trl.evaluate()["eval_loss"], abs=2e-5)


@pytest.mark.parametrize("model", ["tiny_llama_dir", "tiny_gemma_dir"])
def test_without_padding_each_conversation_still_sees_itself_alone(model: str, request: pytest.FixtureRequest) -> None:
    args = ModelArguments(str(request.getfixturevalue(model)), dtype="float32")
    tokenizer, loaded = chat_tokenizer(args), load_base(args, torch.device("cpu"))
    rows = list(encode_conversations(read_conversations(PostTrainArguments(max_examples=5), seed=0), tokenizer, 512))
    joined = SessionCollator(0, padding_free=True)(rows)
    assert joined["input_ids"].shape == (1, sum(len(row["input_ids"]) for row in rows))
    with torch.no_grad():
        alone = torch.cat([sequence_nll(loaded, SessionCollator(0)([row]))[0] for row in rows])
        torch.testing.assert_close(sequence_nll(loaded, joined)[0], alone, atol=1e-5, rtol=1e-5)


def test_replay_of_nothing_is_plain_post_training_bit_for_bit(
    tiny_llama_dir: Path, tmp_path: Path, people: Path
) -> None:
    posttrain(start(tiny_llama_dir, tmp_path / "plain"))
    posttrain(start(tiny_llama_dir, tmp_path / "none", replay_share=0.0, replay_data=str(people)))
    posttrain(start(tiny_llama_dir, tmp_path / "half", replay_share=0.5, replay_data=str(people)))
    plain, none, half = (adapter(tmp_path / name) for name in ("plain", "none", "half"))
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert any(not torch.equal(plain[name], half[name]) for name in plain)


def test_replay_mixes_in_training_participants_responses(tiny_llama_dir: Path, tmp_path: Path, people: Path) -> None:
    run = start(tiny_llama_dir, tmp_path / "run", replay_share=0.25, replay_data=str(people))
    rows, tokenizer = run.trainer.train_dataset, run.trainer.processing_class
    replayed = [row for row in rows if tokenizer.decode(row["input_ids"]).startswith("Choose J or F.")]
    assert (len(rows), len(replayed)) == (16, 4)
    for row in replayed:
        learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED]
        assert tokenizer.decode(learned) in ("JJJJJ", "FFFFF")
    assert run.about["replay"]["examples"] == 4


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_share_of_examples(share: float) -> None:
    conversations = Dataset.from_dict({"input_ids": [[1, 2]] * 40, "labels": [[1, 2]] * 40})
    sessions = Dataset.from_dict({"input_ids": [[3, 4]] * 3, "labels": [[3, 4]] * 3, "study": [0] * 3})
    mixed = with_replay(conversations, sessions, share)
    assert sum(row["input_ids"][0] == 3 for row in mixed) / len(mixed) == pytest.approx(share, abs=0.01)


def test_kl_is_scipys() -> None:
    logits, base = torch.randn(2, 7, 30, generator=torch.Generator().manual_seed(0)) * 3
    p, q = (torch.softmax(x.double(), -1).numpy() for x in (logits, base))
    np.testing.assert_allclose(kl_divergence(logits, base), entropy(p, q, axis=1), rtol=1e-5)


def test_kl_penalty_keeps_the_model_nearer_to_its_base(tiny_llama_dir: Path, tmp_path: Path) -> None:
    runs = {weight: start(tiny_llama_dir, tmp_path / str(weight), kl_to_base=weight) for weight in (1e-6, 5.0)}
    last = {}
    for weight, run in runs.items():
        posttrain(run)
        lines = [json.loads(line) for line in (run.folder.path / "metrics.jsonl").read_text().splitlines()]
        kl = [line["train/kl_to_base"] for line in lines if "train/kl_to_base" in line]
        assert kl[0] == pytest.approx(0, abs=1e-6)  # a fresh adapter is the base model
        last[weight] = kl[-1]
    assert last[5.0] < 0.7 * last[1e-6]


@pytest.mark.parametrize("peft", [True, False])
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    method: str, peft: bool, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    posttrain(start(tiny_llama_dir, tmp_path / "whole", method=method, peft=peft))
    first = start(tiny_llama_dir, tmp_path / "parts", method=method, peft=peft)
    first.trainer.train()
    for path in (tmp_path / "parts").glob("checkpoint-4/*"):
        path.unlink()
    again = start(tiny_llama_dir, tmp_path / "parts", method=method, peft=peft)
    assert again.checkpoint == tmp_path / "parts" / "checkpoint-2"
    posttrain(again)
    name = "adapter_model.safetensors" if peft else "model.safetensors"
    whole, parts = (load_file(tmp_path / run / name) for run in ("whole", "parts"))
    base = load_model(ModelArguments(str(tiny_llama_dir), dtype="float32")).state_dict()
    assert whole.keys() == parts.keys()
    for tensor in whole:
        torch.testing.assert_close(whole[tensor], parts[tensor])
    moved = [key for key in whole if key not in base or not torch.equal(whole[key], base[key])]
    assert moved
    about = json.loads((tmp_path / "parts" / "run.json").read_text())
    assert (about["job"], about["steps"], about["conversations"]) == ("posttrain", 4, 12)
    assert chat_tokenizer(ModelArguments(str(tmp_path / "parts"))).chat_template == PLAIN_TEMPLATE


def test_dpo_raises_the_margin_of_chosen_over_rejected(tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = start(tiny_llama_dir, tmp_path / "run", method="dpo", max_steps=8, save_steps=8)
    posttrain(run)
    lines = [json.loads(line) for line in (run.folder.path / "metrics.jsonl").read_text().splitlines()]
    margins = [line["train/rewards/margins"] for line in lines if "train/rewards/margins" in line]
    assert margins[0] == pytest.approx(0, abs=1e-4)
    assert margins[-1] > 0.05


def test_a_folder_of_another_run_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    posttrain(start(tiny_llama_dir, tmp_path / "run", max_steps=2))
    with pytest.raises(UserError, match="whose learning_rate differs"):
        start(tiny_llama_dir, tmp_path / "run", max_steps=2, learning_rate=2e-2)
    with pytest.raises(UserError, match="whose conversations differs"):
        start(tiny_llama_dir, tmp_path / "run", max_steps=2, max_examples=10)


def test_local_data_in_trls_formats(tmp_path: Path) -> None:
    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    rows = {
        "sft": {"messages": turn("user", "a") + turn("assistant", "b")},
        "dpo": {"prompt": turn("user", "a"), "chosen": turn("assistant", "b"), "rejected": turn("assistant", "c")},
    }
    for method, row in rows.items():
        path = tmp_path / f"{method}.jsonl"
        path.write_text(json.dumps(row) + "\n")
        args = PostTrainArguments(method=method, dataset=str(path))
        assert read_conversations(args, 0)[0] == row
        other = replace(args, method="dpo" if method == "sft" else "sft")
        with pytest.raises(UserError, match="needs"):
            read_conversations(other, 0)
    (tmp_path / "text.jsonl").write_text('{"messages": "hello"}\n')
    with pytest.raises(UserError, match="not a list of messages"):
        read_conversations(PostTrainArguments(dataset=str(tmp_path / "text.jsonl")), 0)
    with pytest.raises(UserError, match="does not exist"):
        read_conversations(PostTrainArguments(dataset=str(tmp_path / "absent.jsonl")), 0)


def test_dpo_examples_prefer_the_normative_reply() -> None:
    rows = read_conversations(PostTrainArguments(method="dpo", max_examples=30), seed=4)
    for row, item in zip(rows, assistant_items("train", 30, seed=4), strict=True):
        assert row["chosen"][0]["content"].startswith(item.answer)
        assert row["rejected"][0]["content"].startswith(item.foil)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"replay_share": 1.0}, "below 1"),
        ({"kl_to_base": -1.0}, "at least 0"),
        ({"method": "dpo", "kl_to_base": 0.1}, "--beta"),
        ({"method": "ppo"}, "choose sft or dpo"),
        ({"max_examples": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        PostTrainArguments(**options)


def test_full_training_with_a_kl_penalty_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set use_peft: true"):
        start(tiny_llama_dir, tmp_path / "run", peft=False, kl_to_base=0.1)
