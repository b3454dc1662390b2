"""The built-in ``starter-assistant`` data: questions to a helpful assistant, made by a seeded generator.

Post-training teaches models to answer as one should, where people answer as they do. Each item has a right answer
that can be recomputed, and the wrong one that people tend to give. Items are held out in two ways: known templates
with new numbers or words, and templates that were never trained on, filled with held-out numbers too.
"""

import hashlib
from collections.abc import Iterator
from random import Random
from typing import Literal

from centaurlab.data.assistant import decisions, fairness, judgements, reasoning
from centaurlab.data.assistant.items import AssistantItem, Template
from centaurlab.runtime.errors import UserError

Split = Literal["train", "new_cases", "new_templates"]

TEMPLATES: tuple[Template, ...] = (
    *decisions.TEMPLATES,
    *judgements.TEMPLATES,
    *reasoning.TEMPLATES,
    *fairness.TEMPLATES,
)
TOPICS = tuple(dict.fromkeys(template.topic for template in TEMPLATES))

_HELD_OUT_OF = 5  # one case in so many is held out
_TRIES = 200  # draws in a row without a new item, after which a template counts as used up


def assistant_items(split: Split, count: int, seed: int = 0) -> list[AssistantItem]:
    """``count`` distinct items, one template after the other, in the same order everywhere.

    A smaller ``count`` gives the beginning of a larger one. Raises ``UserError`` where there are not so many.
    """
    if count < 1 or seed < 0:
        raise UserError(f"{count} items with seed {seed} make no sense; ask for at least 1, with a seed of at least 0")
    streams = [
        _stream(template, split, seed) for template in TEMPLATES if template.held_out == (split == "new_templates")
    ]
    items: list[AssistantItem] = []
    while streams and len(items) < count:
        drawn = [(stream, next(stream, None)) for stream in streams]
        items += [item for _, item in drawn if item is not None]
        streams = [stream for stream, item in drawn if item is not None]
    if len(items) < count:
        raise UserError(f"starter-assistant has no more than {len(items)} items of {split}; ask for fewer than {count}")
    return items[:count]


def is_held_out(topic: str, case: str) -> bool:
    """Whether these numbers or words of a topic are for tests only."""
    return hashlib.sha256(f"{topic}/{case}".encode()).digest()[0] % _HELD_OUT_OF == 0


def _stream(template: Template, split: Split, seed: int) -> Iterator[AssistantItem]:
    """Distinct items of one template in random order, until it is used up."""
    rng = Random(f"{seed}/{split}/{template.topic}/{template.name}")
    seen: set[str] = set()
    failures = 0
    while failures < _TRIES:
        item = template.item(rng)
        if item.question in seen or is_held_out(item.topic, item.case) != (split != "train"):
            failures += 1
            continue
        failures = 0
        seen.add(item.question)
        yield item
