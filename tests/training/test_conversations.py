"""Conversations in every layout become examples, what does not fit is cut or named, and what is none is refused."""

from pathlib import Path

import pytest
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from centaurlab.data.assistant.generator import assistant_items
from centaurlab.models.loading import load_model, load_tokenizer
from centaurlab.prompts.chat import PLAIN_TEMPLATE, chat_tokenizer
from centaurlab.runtime.errors import UserError
from centaurlab.training.conversations import (
    Preference,
    conversation_of,
    encode_conversations,
    preference_of,
    read_conversations,
    with_replay,
)
from centaurlab.training.data import IGNORED
from centaurlab.training.options import PostTrainArguments
from helpers.tiny_models import in_float32, named


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_conversation_that_the_template_refuses_is_named_or_left_out(method: str, tiny_llama_dir: Path) -> None:
    tokenizer = load_tokenizer(named(tiny_llama_dir))
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + PLAIN_TEMPLATE
    )

    def row(role: str) -> dict[str, object]:
        prompt = [{"role": role, "content": "Be brief."}, {"role": "user", "content": "a"}]
        if method == "dpo":
            return {"prompt": prompt, "chosen": "b", "rejected": "c"}
        return {"prompt": prompt, "completion": "b"}

    rows = Dataset.from_list([row("user"), row("system"), row("user")])
    with pytest.raises(UserError, match=r"conversation 2: .*refuses.* \(no system role\).*--on_malformed skip"):
        encode_conversations(rows, method, tokenizer, 64)
    encoded = encode_conversations(rows, method, tokenizer, 64, skip_malformed=True)
    assert (len(encoded.examples), len(encoded.left_out)) == (2, 1)
    with pytest.raises(UserError, match="none of 1 conversations can be used; conversation 1"):
        encode_conversations(rows.select([1]), method, tokenizer, 64, skip_malformed=True)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_what_does_not_fit_is_cut_or_named(method: str, tiny_llama_dir: Path) -> None:
    tokenizer = chat_tokenizer(named(tiny_llama_dir))
    replies = {"chosen": "no " * 30, "rejected": "no"} if method == "dpo" else {"completion": "no " * 30}
    encoded = encode_conversations(Dataset.from_list([{"prompt": "a"} | replies]), method, tokenizer, 24)
    (row,) = encoded.examples
    assert len(row["prompt_ids"] + row["chosen_ids"] if method == "dpo" else row["input_ids"]) == 24
    with pytest.raises(UserError, match=r"conversation 1: .*--max_length"):
        encode_conversations(Dataset.from_list([{"prompt": "a " * 30} | replies]), method, tokenizer, 24)


def test_preferences_are_tokens_as_trl_makes_them(tiny_gemma_dir: Path, tmp_path: Path) -> None:
    args = in_float32(tiny_gemma_dir)
    tokenizer = chat_tokenizer(args)
    rows = read_conversations(PostTrainArguments(method="dpo", max_examples=40), seed=0)
    turns = Dataset.from_list([Preference(*preference_of(row))._asdict() for row in rows])
    config = DPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", activation_checkpointing=False)
    trl = DPOTrainer(load_model(args), args=config, train_dataset=turns, processing_class=tokenizer)
    ours = encode_conversations(rows, "dpo", tokenizer, 512).examples
    assert list(ours) == list(trl.train_dataset.select_columns(ours.column_names))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_share_of_examples(share: float) -> None:
    conversations = Dataset.from_dict({"input_ids": [[1, 2]] * 40, "labels": [[1, 2]] * 40})
    sessions = Dataset.from_dict({"input_ids": [[3, 4]] * 3, "labels": [[3, 4]] * 3, "study": [0] * 3})
    mixed = with_replay(conversations, sessions, share)
    assert sum(row["input_ids"][0] == 3 for row in mixed) / len(mixed) == pytest.approx(share, abs=0.01)


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
    tokenizer = chat_tokenizer(named(tiny_llama_dir))
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
