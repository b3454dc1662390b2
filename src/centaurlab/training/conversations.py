"""Conversations to post-train on: the built-in ones, or any data set in TRL's conversational format.

https://huggingface.co/docs/trl/dataset_formats describes the format. Supervised examples become token ids with
labels at the assistant's turns; preference pairs are left to TRL.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, concatenate_datasets, load_dataset
from transformers import PreTrainedTokenizerBase

from centaurlab.assistant import assistant_items
from centaurlab.assistant.items import AssistantItem
from centaurlab.chat import encode_conversation
from centaurlab.errors import UserError
from centaurlab.training.data import IGNORED
from centaurlab.training.posttrain_arguments import STARTER_ASSISTANT, PostTrainArguments

_STARTER_EXAMPLES = 2000
_FILES = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


def read_conversations(args: PostTrainArguments, seed: int) -> Dataset:
    """Rows of 'messages' or 'prompt' and 'completion'; for DPO 'prompt', 'chosen' and 'rejected'.

    Raises ``UserError`` for a data set that cannot be found or has other columns.
    """
    if args.dataset == STARTER_ASSISTANT:
        items = assistant_items("train", args.max_examples or _STARTER_EXAMPLES, seed)
        return Dataset.from_list([_preference(item) if args.method == "dpo" else _supervised(item) for item in items])
    found = _load(args.dataset, args.dataset_split)
    if args.max_examples:
        found = found.select(range(min(args.max_examples, len(found))))
    wanted = [("chosen", "rejected")] if args.method == "dpo" else [("messages",), ("prompt", "completion")]
    for columns in wanted:
        if set(columns) <= set(found.column_names):
            _check_messages(args.dataset, found, columns)
            return found
    needed = " or ".join(" and ".join(f"'{name}'" for name in columns) for columns in wanted)
    raise UserError(
        f"{args.dataset} has the columns {', '.join(found.column_names)}; --method {args.method} needs {needed}, as "
        "lists of messages with 'role' and 'content'"
    )


def encode_conversations(rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Columns ``input_ids`` and ``labels``; what is longer than ``max_length`` tokens is cut at the end.

    A conversation without a reply within ``max_length`` raises ``UserError``.
    """
    ids, labels = [], []
    for number, row in enumerate(rows):
        messages = row["messages"] if "messages" in row else row["prompt"] + row["completion"]
        encoded = encode_conversation(messages, tokenizer)
        ids_T = encoded.input_ids_T[:max_length]
        labels_T = np.where(encoded.is_reply_T[:max_length], ids_T, IGNORED).astype(np.int32)
        if not (labels_T[1:] != IGNORED).any():
            raise UserError(
                f"conversation {number} has no reply within {max_length} tokens; raise --max_length or take it out"
            )
        ids.append(pa.array(ids_T))
        labels.append(pa.array(labels_T))
    columns = {
        "input_ids": pa.array(ids, pa.large_list(pa.int32())),
        "labels": pa.array(labels, pa.large_list(pa.int32())),
    }
    return Dataset(pa.table(columns))


def with_replay(conversations: Dataset, sessions: Dataset, share: float) -> Dataset:
    """All conversations, and so many sessions that these are ``share`` of the examples; repeated where too few."""
    count = round(len(conversations) * share / (1 - share))
    if not count:
        return conversations
    order = list(range(len(sessions))) * math.ceil(count / len(sessions))
    replayed = sessions.select_columns(["input_ids", "labels"]).select(order[:count])
    return concatenate_datasets([conversations, replayed.cast(conversations.features)])


def learned_tokens(rows: Dataset) -> int:
    """How many tokens of a data set have a label."""
    return sum(int((np.asarray(labels) != IGNORED).sum()) for labels in rows["labels"])


def digest(rows: Iterable[dict[str, Any]]) -> str:
    """SHA-256 over the rows, in order."""
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(json.dumps(row, sort_keys=True, default=str).encode())
    return hashed.hexdigest()


def _supervised(item: AssistantItem) -> dict[str, Any]:
    return {"prompt": _turn("user", item.question), "completion": _turn("assistant", item.reply)}


def _preference(item: AssistantItem) -> dict[str, Any]:
    return {
        "prompt": _turn("user", item.question),
        "chosen": _turn("assistant", item.reply),
        "rejected": _turn("assistant", item.rejected_reply),
    }


def _turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def _load(name: str, split: str) -> Dataset:
    path = Path(name).expanduser()
    if path.is_file() and path.suffix not in _FILES:
        raise UserError(f"{name} is none of {', '.join(_FILES)}; convert it to one of these")
    if not path.exists() and (name.startswith((".", "/", "~")) or path.suffix in _FILES):
        raise UserError(f"there is no data set at {name}: the file or folder does not exist")
    try:
        if path.is_file():
            return load_dataset(_FILES[path.suffix], data_files=str(path), split="train")
        found = load_dataset(str(path) if path.is_dir() else name, split=split)
    except (OSError, ValueError, ConnectionError) as error:
        raise UserError(f"cannot read the data set {name}: {' '.join(str(error).split())[:300]}") from error
    assert not isinstance(found, DatasetDict), "one split was asked for"
    return found


def _check_messages(name: str, rows: Dataset, columns: Sequence[str]) -> None:
    if not len(rows):
        raise UserError(f"{name} has no rows; give another data set or --dataset_split")
    for column in columns:
        value = rows[0][column]
        if not (isinstance(value, list) and value and {"role", "content"} <= set(value[0])):
            raise UserError(
                f"{name}: {column!r} of the first row is not a list of messages with 'role' and 'content'; convert it "
                "to TRL's conversational format"
            )
