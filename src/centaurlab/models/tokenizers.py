"""Whose tokenizer reads for an adapter: its base's, or one of its own with other tokens.

Most adapters come with a copy of the base's tokenizer, written anew by some library; read from there, transformers may
take it for another class that splits numbers otherwise. So the base's is used unless the adapter's cuts text otherwise.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from centaurlab.models.checkpoints import Checkpoint
from centaurlab.models.digests import content_digest
from centaurlab.runtime.errors import UserError, failure

_FILE = "tokenizer.json"
_RULES = ("model", "added_tokens", "normalizer", "pre_tokenizer", "post_processor")
_OTHER_FILES = ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_TRAINED_HERE = ("split.json", "data.json")
_PROBE = (
    "You press <<J>> and win 1,234.5 points.\n\nDon't  stop: -3 + 12 = 9; très bien, 你选择 <<左>> 🙂\tEND "
    "tre\u0300s \ufb01n \uff21\uff11 \u00a0\u3000 \u00bd x² İı ß ΑΣ don\u2019t \u201cso\u201d … — ––\r\n\r   \n \t\t"
    "http://a.b/c_d?e=f#g  ===== ____ camelCase WEIRDcase 2024-03-01 007 \u0661\u0662 שלום مرحبا ไทย हिन्दी 한국어 "
    "👩\u200d👩\u200d👧 👍🏽 \u200b\ufeff\u202e\x07 <|x|> [INST] </s> <s> A1b2 ,.;:!?()[]{}  "
)


def tokenizer_home(base: Checkpoint, adapter: Checkpoint | None) -> Checkpoint:
    """The checkpoint of the two whose tokenizer is used."""
    if adapter is None:
        return base
    own, theirs = adapter.folder / _FILE, base.folder / _FILE
    if own.is_file() and theirs.is_file():
        folders = (adapter.folder, adapter.folder.parent)  # the parent of a checkpoint
        trained_here = any((folder / name).is_file() for folder in folders for name in _TRAINED_HERE)
        return base if _cut_alike(own, theirs, trained_here) else adapter
    others = [name for name in (_FILE, *_OTHER_FILES) if (adapter.folder / name).is_file()]
    if all((base.folder / name).is_file() for name in others) and all(
        content_digest(adapter.folder / name) == content_digest(base.folder / name) for name in others
    ):
        return base
    return adapter


def n_tokens(home: Checkpoint) -> int:
    """How many rows an embedding needs for every token of the tokenizer there."""
    content = _read(home.folder / _FILE)
    return max(_ids(content).values(), default=-1) + 1


def _cut_alike(own: Path, theirs: Path, trained_here: bool) -> bool:
    """Whether two tokenizers have the same tokens and make the same of a text; here, training uses the base's."""
    if content_digest(own) == content_digest(theirs):
        return True
    return _compared(own, theirs, own.stat().st_mtime_ns, theirs.stat().st_mtime_ns, trained_here)


@lru_cache(maxsize=16)
def _compared(own: Path, theirs: Path, _own_time: int, _their_time: int, trained_here: bool) -> bool:
    from transformers import PreTrainedTokenizerFast  # here: commands that only name a model do without

    contents = [_read(path) for path in (own, theirs)]
    if _ids(contents[0]) != _ids(contents[1]):
        return False
    if trained_here or all(contents[0].get(part) == contents[1].get(part) for part in _RULES):
        return True
    if len({_merges(content) for content in contents}) > 1:
        return False
    encoded = [PreTrainedTokenizerFast(tokenizer_file=str(path))(_PROBE).input_ids for path in (own, theirs)]
    return bool(encoded[0] == encoded[1])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _ids(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no tokenizer ({failure(error)}); save it again") from error
    known: dict[str, Any] = content
    return known


def _merges(content: dict[str, Any]) -> tuple[str, ...] | None:
    """The merges of a byte-pair encoding in their order, which older files write with a space in between."""
    merges = content["model"].get("merges")
    return None if merges is None else tuple(m if isinstance(m, str) else " ".join(m) for m in merges)


def _ids(content: dict[str, Any]) -> dict[str, int]:
    """The id of every token."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):  # of Unigram models
        vocabulary = {entry[0]: i for i, entry in enumerate(vocabulary)}
    return {**vocabulary, **{token["content"]: token["id"] for token in content.get("added_tokens") or ()}}
