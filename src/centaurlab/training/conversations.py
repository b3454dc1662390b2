"""Conversations to post-train on, the built-in ones or any data set of them, into token ids with labels.

Supervised examples have labels at the assistant's turns; of a preference pair the prompt, the chosen and the
rejected reply are kept apart, as TRL's ``DPOTrainer`` takes them.
"""

import hashlib
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetsError
from transformers import PreTrainedTokenizerBase

from centaurlab.data.assistant.generator import assistant_items
from centaurlab.data.assistant.items import AssistantItem
from centaurlab.prompts.chat import Message, encode_completion, encode_conversation
from centaurlab.prompts.encoding import Ints
from centaurlab.runtime.errors import UserError
from centaurlab.training.data import IGNORED
from centaurlab.training.options import STARTER_ASSISTANT, PostTrainArguments

_STARTER_EXAMPLES = 2000
_FILES = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


@dataclass(frozen=True)
class EncodedConversations:
    """``examples``: ``input_ids`` and ``labels``, or ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``.

    ``left_out``: a sentence on each row that could not be used.
    """

    examples: Dataset
    left_out: tuple[str, ...]


def read_conversations(args: PostTrainArguments, seed: int) -> Dataset:
    """Rows in one of the layouts that ``layouts`` knows.

    Raises ``UserError`` for a data set that cannot be found, is empty or has other columns.
    """
    if args.dataset == STARTER_ASSISTANT:
        items = assistant_items("train", args.max_examples or _STARTER_EXAMPLES, seed)
        return Dataset.from_list([_preference(item) if args.method == "dpo" else _supervised(item) for item in items])
    found = _load(args.dataset, args.dataset_config, args.dataset_split)
    if not len(found):
        raise UserError(f"{args.dataset} has no rows; give another data set or --dataset_split")
    wanted = PREFERENCES if args.method == "dpo" else SUPERVISED
    if not any(set(columns) <= set(found.column_names) for columns in wanted):
        needed = " or ".join(" and ".join(f"'{name}'" for name in columns) for columns in wanted)
        raise UserError(
            f"{args.dataset} has the columns {', '.join(found.column_names)}; --method {args.method} needs {needed}"
        )
    return found.select(range(min(args.max_examples or len(found), len(found))))


def encode_conversations(
    rows: Dataset, method: str, tokenizer: PreTrainedTokenizerBase, max_length: int, skip_malformed: bool = False
) -> EncodedConversations:
    """Token ids of every row; what is longer than ``max_length`` tokens is cut at the end.

    A row that is no conversation, that the chat template refuses or that has no reply within ``max_length`` raises
    ``UserError`` or, with ``skip_malformed``, is left out, unless none is left.
    """
    encode_row: Callable[..., dict[str, Ints]] = _encode_preference if method == "dpo" else _encode_supervised
    columns: dict[str, list[pa.Array]] = {}
    left_out = []
    for number, row in enumerate(rows, start=1):
        try:
            encoded = encode_row(row, tokenizer, max_length)
        except UserError as error:
            left_out.append(f"conversation {number}: {error}")
            if not skip_malformed:
                remedy = "correct it, or leave such conversations out with --on_malformed skip"
                raise UserError(f"{left_out[-1]}; {remedy}") from error
            continue
        for name, ids_T in encoded.items():
            columns.setdefault(name, []).append(pa.array(ids_T))
    if not columns:
        raise UserError(f"none of {len(rows)} conversations can be used; {left_out[0]}")
    ids = pa.large_list(pa.int32())
    table = pa.table({name: pa.array(values, ids) for name, values in columns.items()})
    return EncodedConversations(Dataset(table), tuple(left_out))


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
    return {"prompt": item.question, "completion": item.reply}


def _preference(item: AssistantItem) -> dict[str, Any]:
    return {"prompt": item.question, "chosen": item.reply, "rejected": item.rejected_reply}


def _encode_supervised(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, Ints]:
    prompt, rest = conversation_of(row)
    encoded = encode_completion(prompt, rest, tokenizer) if prompt else encode_conversation(rest, tokenizer)
    ids_T = encoded.input_ids_T[:max_length]
    labels_T = np.where(encoded.is_reply_T[:max_length], ids_T, IGNORED).astype(np.int32)
    if not (labels_T[1:] != IGNORED).any():
        raise UserError(f"it has no reply within {max_length} tokens (--max_length)")
    return {"input_ids": ids_T, "labels": labels_T}


def _encode_preference(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, Ints]:
    prompt, *replies = preference_of(row)
    chosen, rejected = (encode_completion(prompt, reply, tokenizer) for reply in replies)
    # A token may hold the end of the prompt and the beginning of one reply: it is of the reply, in both.
    shared = min(int(np.argmax(encoded.is_reply_T)) for encoded in (chosen, rejected))
    differing = np.flatnonzero(chosen.input_ids_T[:shared] != rejected.input_ids_T[:shared])
    length = int(differing[0]) if len(differing) else shared
    if length >= max_length:
        raise UserError(f"its prompt alone has {length} tokens; raise --max_length above it")
    return {
        "prompt_ids": chosen.input_ids_T[:length],
        "chosen_ids": chosen.input_ids_T[length:max_length],
        "rejected_ids": rejected.input_ids_T[length:max_length],
    }


def _load(name: str, config: str | None, split: str) -> Dataset:
    path = Path(name).expanduser()
    if path.is_file() and path.suffix not in _FILES:
        raise UserError(f"{name} is none of {', '.join(_FILES)}; convert it to one of these")
    if not path.exists() and (name.startswith((".", "/", "~")) or path.suffix in _FILES):
        raise UserError(f"there is no data set at {name}: the file or folder does not exist")
    try:
        if path.is_file():
            return load_dataset(_FILES[path.suffix], data_files=str(path), split="train")
        found = load_dataset(str(path) if path.is_dir() else name, config, split=split)
    except StopIteration as error:  # what datasets 5.2 makes of an empty file
        raise UserError(f"{name} has no rows; give another data set") from error
    except (OSError, ValueError, DatasetsError) as error:
        reason = textwrap.shorten(str(error.__cause__ or error), 300, placeholder=" …")
        raise UserError(f"cannot read the data set {name}: {reason}") from error
    assert not isinstance(found, DatasetDict), "one split was asked for"
    return found


SUPERVISED = (("messages",), ("conversations",), ("prompt", "completion"))
PREFERENCES = (("chosen", "rejected"),)
"""The columns of which a data set needs one group."""

_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}


class Preference(NamedTuple):
    """What is asked, and the two replies to it."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


def conversation_of(row: Mapping[str, Any]) -> tuple[list[Message], list[Message]]:
    """The prompt of a supervised row and what is to be learned after it; without a prompt, every reply is.

    Raises ``UserError`` where they are no messages.
    """
    for name in ("messages", "conversations"):
        if name in row:
            return [], _messages(row[name], name, "user")
    return _messages(row["prompt"], "prompt", "user"), _messages(row["completion"], "completion", "assistant")


def preference_of(row: Mapping[str, Any]) -> Preference:
    """The messages of a pair. Replies that begin with a turn of the user's hold the prompt, whatever is beside them."""
    chosen, rejected = (_messages(row[name], name, "assistant") for name in ("chosen", "rejected"))
    if chosen[0]["role"] != "assistant":
        shared = 0
        while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
            shared += 1
        if not shared:
            raise UserError("'chosen' and 'rejected' begin with different messages; they must answer the same prompt")
        return Preference(chosen[:shared], chosen[shared:], rejected[shared:])
    if row.get("prompt") is None:
        raise UserError("'chosen' and 'rejected' are replies without a prompt; give it as 'prompt', or in both")
    return Preference(_messages(row["prompt"], "prompt", "user"), chosen, rejected)


def _messages(value: Any, column: str, role: str) -> list[Message]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not (isinstance(value, Sequence) and value and all(isinstance(turn, Mapping) for turn in value)):
        raise UserError(f"{column!r} is neither text nor a list of messages with 'role' and 'content'")
    return [_message(turn, column) for turn in value]


def _message(turn: Mapping[str, Any], column: str) -> Message:
    role, content = (turn["role"], turn.get("content")) if "role" in turn else (turn.get("from"), turn.get("value"))
    if not (isinstance(role, str) and isinstance(content, str)):
        raise UserError(f"a message of {column!r} has no 'role' and 'content' that are text, but {', '.join(turn)}")
    return {"role": _SHAREGPT_ROLES.get(role, role), "content": content}
