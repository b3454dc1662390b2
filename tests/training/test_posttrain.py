import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from scipy.stats import entropy
from trl import DPOConfig, DPOTrainer, ModelConfig, SFTConfig, SFTTrainer, get_peft_config

from centaurlab.data.assistant.generator import assistant_items
from centaurlab.data.source import DataArguments, open_source
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.chat import PLAIN_TEMPLATE, chat_tokenizer, encode_conversation
from centaurlab.runtime.errors import UserError
from centaurlab.training.base_model import load_base
from centaurlab.training.conversations import (
    Preference,
    conversation_of,
    encode_conversations,
    learned_tokens,
    preference_of,
    read_conversations,
    with_replay,
)
from centaurlab.training.data import IGNORED
from centaurlab.training.options import PostTrainArguments
from centaurlab.training.posttrain import PostTrainRun, posttrain, prepare_posttraining
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
        "activation_checkpointing": False,
        "save_steps": 2,
        "disable_tqdm": True,
        "report_to": "none",
        "max_length": 256,
    }
    return prepare_posttraining(
        PostTrainArguments(**{"max_examples": 12} | names),
        SFTConfig(str(output), **training | options),
        model_config(model, peft),
    )


def model_config(model: Path, peft: bool) -> ModelConfig:
    return ModelConfig(str(model), dtype="float32", use_peft=peft, lora_target_modules=["q_proj", "v_proj"])


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


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_conversation_that_the_template_refuses_is_named_or_left_out(method: str, tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(ModelArguments(str(tiny_llama_dir)))
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + PLAIN_TEMPLATE
    )

    def row(role: str) -> dict[str, object]:
        prompt = [{"role": role, "content": "Be brief."}, {"role": "user", "content": "a"}]
        if method == "dpo":
            return {"prompt": prompt, "chosen": "b", "rejected": "c"}
        return {"prompt": prompt, "completion": "b"}

    rows = Dataset.from_list([row("user"), row("system"), row("user")])
    with pytest.raises(UserError, match=r"conversation 2: .*refuses it \(no system role\).*--on_malformed skip"):
        encode_conversations(rows, method, tokenizer, 64)
    encoded = encode_conversations(rows, method, tokenizer, 64, skip_malformed=True)
    assert (len(encoded.examples), len(encoded.left_out)) == (2, 1)
    with pytest.raises(UserError, match="none of 1 conversations can be used; conversation 1"):
        encode_conversations(rows.select([1]), method, tokenizer, 64, skip_malformed=True)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_what_does_not_fit_is_cut_or_named(method: str, tiny_llama_dir: Path) -> None:
    tokenizer = chat_tokenizer(ModelArguments(str(tiny_llama_dir)))
    replies = {"chosen": "no " * 30, "rejected": "no"} if method == "dpo" else {"completion": "no " * 30}
    encoded = encode_conversations(Dataset.from_list([{"prompt": "a"} | replies]), method, tokenizer, 24)
    (row,) = encoded.examples
    assert len(row["prompt_ids"] + row["chosen_ids"] if method == "dpo" else row["input_ids"]) == 24
    with pytest.raises(UserError, match=r"conversation 1: .*--max_length"):
        encode_conversations(Dataset.from_list([{"prompt": "a " * 30} | replies]), method, tokenizer, 24)


def test_preferences_are_tokens_as_trl_makes_them(tiny_gemma_dir: Path, tmp_path: Path) -> None:
    args = ModelArguments(str(tiny_gemma_dir), dtype="float32")
    tokenizer = chat_tokenizer(args)
    rows = read_conversations(PostTrainArguments(method="dpo", max_examples=40), seed=0)
    turns = Dataset.from_list([Preference(*preference_of(row))._asdict() for row in rows])
    config = DPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", activation_checkpointing=False)
    trl = DPOTrainer(load_model(args), args=config, train_dataset=turns, processing_class=tokenizer)
    ours = encode_conversations(rows, "dpo", tokenizer, 512).examples
    assert list(ours) == list(trl.train_dataset.select_columns(ours.column_names))


@pytest.mark.parametrize("padding_free", [True, False])
@pytest.mark.parametrize("peft", [True, False])
def test_preference_training_is_trls(peft: bool, padding_free: bool, tiny_gemma_dir: Path, tmp_path: Path) -> None:
    """TRL's own trainer, on the same pairs in the same order, has the same losses and rewards at every step."""
    options = {"method": "dpo", "gradient_accumulation_steps": 2, "save_strategy": "no"}
    ours = start(tiny_gemma_dir, tmp_path / "ours", peft=peft, padding_free=padding_free, **options)
    ours.trainer.train()
    rows = read_conversations(PostTrainArguments(method="dpo", max_examples=12), seed=ours.trainer.args.seed)
    args = ModelArguments(str(tiny_gemma_dir), dtype="float32")
    theirs = DPOTrainer(
        load_model(args),
        ref_model=None if peft else load_model(args),
        args=ours.trainer.args,
        train_dataset=Dataset.from_list([Preference(*preference_of(row))._asdict() for row in rows]),
        processing_class=chat_tokenizer(args),
        peft_config=get_peft_config(model_config(tiny_gemma_dir, peft)),
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
    args = ModelArguments(str(tiny_llama_dir), dtype="float32")
    tokenizer = chat_tokenizer(args)
    rows = read_conversations(PostTrainArguments(max_examples=6), seed=0)
    turns = Dataset.from_list([dict(zip(("prompt", "completion"), conversation_of(row), strict=True)) for row in rows])
    config = SFTConfig(
        str(tmp_path), use_cpu=True, bf16=False, per_device_eval_batch_size=6, report_to="none", max_length=512
    )
    trl = SFTTrainer(load_model(args), config, train_dataset=turns, eval_dataset=turns, processing_class=tokenizer)
    encoded = encode_conversations(rows, "sft", tokenizer, 512).examples
    batch = SessionCollator(tokenizer.pad_token_id)(list(encoded))
    with torch.no_grad():
        nll = sequence_nll(load_model(args), batch).sum() / learned_tokens(encoded)
    assert float(nll) == pytest.approx(trl.evaluate()["eval_loss"], abs=2e-5)


@pytest.mark.parametrize("model", ["tiny_llama_dir", "tiny_gemma_dir"])
def test_without_padding_each_conversation_still_sees_itself_alone(model: str, request: pytest.FixtureRequest) -> None:
    args = ModelArguments(str(request.getfixturevalue(model)), dtype="float32")
    tokenizer, loaded = chat_tokenizer(args), load_base(args, torch.device("cpu"))
    conversations = read_conversations(PostTrainArguments(max_examples=5), seed=0)
    rows = list(encode_conversations(conversations, "sft", tokenizer, 512).examples)
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


def test_replay_leaves_out_whom_evaluations_call_held_out(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "forty.jsonl"
    rows = [{"text": f"Person {p}. You choose <<J>>.", "experiment": "alpha", "participant": p} for p in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = start(tiny_llama_dir, tmp_path / "run", replay_share=0.8, replay_data=str(data), seed=3)
    texts = [run.trainer.processing_class.decode(row["input_ids"]) for row in run.trainer.train_dataset]
    replayed = {text.partition(".")[0] for text in texts if text.startswith("Person")}
    test = open_source(DataArguments(str(data), participants="test"))
    held_out = {transcript.text.partition(".")[0] for transcript in test}
    assert len(replayed) == 36
    assert len(held_out) == 4
    assert not replayed & held_out


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


QUESTION, RIGHT, WRONG = ({"role": r, "content": c} for r, c in (("user", "a"), ("assistant", "b"), ("assistant", "c")))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [QUESTION, RIGHT], "prompt": "something else"},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"prompt": [QUESTION], "completion": [RIGHT]},
        {"prompt": "a", "completion": "b"},
    ],
)
def test_layouts_of_supervised_data(row: dict[str, object]) -> None:
    prompt, rest = conversation_of(row)
    assert prompt + rest == [QUESTION, RIGHT]
    assert prompt == ([QUESTION] if "completion" in row else [])


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [QUESTION], "chosen": [RIGHT], "rejected": [WRONG]},
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"chosen": [QUESTION, RIGHT], "rejected": [QUESTION, WRONG]},
        {"prompt": "a", "chosen": [QUESTION, RIGHT], "rejected": [QUESTION, WRONG]},
    ],
)
def test_layouts_of_preferences(row: dict[str, object]) -> None:
    assert preference_of(row) == ([QUESTION], [RIGHT], [WRONG])


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"messages": 3}, "neither text nor a list"),
        ({"messages": []}, "neither text nor a list"),
        ({"messages": [{"role": "user", "content": None}]}, "no 'role' and 'content' that are text, but role, content"),
        ({"chosen": "b", "rejected": "c"}, "replies without a prompt"),
        ({"chosen": [QUESTION, RIGHT], "rejected": [QUESTION | {"content": "z"}, WRONG]}, "the same prompt"),
    ],
)
def test_rows_that_are_no_conversations(row: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        preference_of(row) if "chosen" in row else conversation_of(row)


def test_only_the_completion_of_a_prompt_is_learned(tiny_llama_dir: Path) -> None:
    tokenizer = chat_tokenizer(ModelArguments(str(tiny_llama_dir)))
    rows = Dataset.from_list([{"prompt": [QUESTION, RIGHT, QUESTION], "completion": [WRONG]}])
    (row,) = encode_conversations(rows, "sft", tokenizer, 64).examples
    assert tokenizer.decode([label for label in row["labels"] if label != IGNORED]) == "c<|end|>\n\n"


@pytest.mark.parametrize(
    "place", ["rows.jsonl", "rows.json", "rows.parquet", "folder/train.jsonl", "folder/data/train.parquet"]
)
def test_data_in_files_and_folders(place: str, tmp_path: Path) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = Dataset.from_list([{"messages": [QUESTION, RIGHT]}] * 3)
    rows.to_parquet(path) if path.suffix == ".parquet" else rows.to_json(path)
    source = tmp_path / place.partition("/")[0]
    assert list(read_conversations(PostTrainArguments(dataset=str(source), max_examples=2), 0)) == list(rows)[:2]
    with pytest.raises(UserError, match="has the columns messages; --method dpo needs 'chosen' and 'rejected'"):
        read_conversations(PostTrainArguments(method="dpo", dataset=str(source)), 0)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "does not exist"), ("", "has no rows"), ('{"messages":\n', "cannot read the data set .*JSON")],
)
def test_data_that_cannot_be_read(content: str | None, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=complaint):
        read_conversations(PostTrainArguments(dataset=str(path)), 0)


def test_dpo_examples_prefer_the_normative_reply() -> None:
    rows = read_conversations(PostTrainArguments(method="dpo", max_examples=30), seed=4)
    for row, item in zip(rows, assistant_items("train", 30, seed=4), strict=True):
        assert row["chosen"].startswith(item.answer)
        assert row["rejected"].startswith(item.foil)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"replay_share": 1.0}, "below 1"),
        ({"kl_to_base": -1.0}, "at least 0"),
        ({"method": "dpo", "kl_to_base": 0.1}, "--beta"),
        ({"method": "ppo"}, "choose sft or dpo"),
        ({"method": "dpo", "beta": 0.0}, "above 0"),
        ({"on_malformed": "ignore"}, "choose error or skip"),
        ({"max_examples": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        PostTrainArguments(**options)


def test_full_training_with_a_kl_penalty_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set use_peft: true"):
        start(tiny_llama_dir, tmp_path / "run", peft=False, kl_to_base=0.1)
