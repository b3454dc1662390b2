"""How good an assistant a model is: how often it prefers the right answer to the wrong one that people give.

An item counts as solved when, after the question in the model's chat format, the right answer is more probable than
the foil, each with the full stop that ends it (so that 4 is not a part of 40). Guessing solves half of the items.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from scipy.stats import binomtest
from tqdm.auto import tqdm

from centaurlab.assistant import assistant_items
from centaurlab.assistant.items import AssistantItem
from centaurlab.bootstrap import CONFIDENCE
from centaurlab.chat import chat_tokenizer, encode_reply
from centaurlab.encoding import Coverage, Encoding
from centaurlab.fingerprints import fingerprint
from centaurlab.models import ModelArguments, identify, load_model
from centaurlab.runs import RunFolder, read_json
from centaurlab.scoring import SessionScorer

_FILE = "assistant.json"


@dataclass(frozen=True)
class Accuracy:
    """Share of ``n`` items that are solved, with a 95 % Wilson interval over items of these templates."""

    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AssistantQuality:
    """Accuracy on held-out items: all, known templates with new cases, new templates, and per topic."""

    overall: Accuracy
    by_split: dict[str, Accuracy]
    by_topic: dict[str, Accuracy]


def held_out_items(count: int, seed: int = 0) -> list[AssistantItem]:
    """``count`` items: new cases of known templates, and as many of new templates."""
    return assistant_items("new_cases", -(-count // 2), seed) + assistant_items("new_templates", count // 2, seed)


def answer_margins(scorer: SessionScorer, tokenizer: Any, items: Iterable[AssistantItem]) -> list[float]:
    """NLL of the foil minus NLL of the right answer, in nats, of each item: positive where it is solved."""
    margins = []
    for item in items:
        nlls = []
        for answer in (item.answer, item.foil):
            encoding = _one_response(item.question, f"{answer}.", tokenizer)
            nlls.append(float(scorer.score(encoding, [int(encoding.start_R[0]) - 1]).nll_R[0]))
        margins.append(nlls[1] - nlls[0])
    return margins


def assistant_quality(
    args: ModelArguments, items: Sequence[AssistantItem], folder: Path, template: Path | None = None
) -> AssistantQuality:
    """Ask the model that ``args`` name every item, or read the answers if ``folder`` holds them already.

    ``template``: the file of a chat template to use instead of the model's own, if there is such a file.
    """
    tokenizer = chat_tokenizer(args)
    if template and template.is_file():
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    asked = fingerprint(
        {
            "model": identify(args).fingerprint,
            "template": str(tokenizer.chat_template),
            "items": [item.question for item in items],
        }
    )
    known = read_json(folder / _FILE)
    if known.get("asked") != asked:
        device = PartialState().device if torch.accelerator.is_available() else torch.device("cpu")
        scorer = SessionScorer(load_model(args, device))
        margins = answer_margins(
            scorer, tokenizer, tqdm(items, desc="assistant", unit="item", leave=False, disable=None)
        )
        known = {"asked": asked, "margins": margins}
        RunFolder(folder, "score").write_json(_FILE, known)
    return quality([margin > 0 for margin in known["margins"]], items)


def quality(solved: Sequence[bool], items: Sequence[AssistantItem]) -> AssistantQuality:
    """Accuracies from what was solved of ``items``."""
    by_split: dict[str, list[bool]] = defaultdict(list)
    by_topic: dict[str, list[bool]] = defaultdict(list)
    half = -(-len(items) // 2)
    for i, (item, is_solved) in enumerate(zip(items, solved, strict=True)):
        by_split["new_cases" if i < half else "new_templates"].append(is_solved)
        by_topic[item.topic].append(is_solved)
    return AssistantQuality(
        accuracy(solved),
        {name: accuracy(values) for name, values in by_split.items()},
        {name: accuracy(values) for name, values in by_topic.items()},
    )


def accuracy(solved: Sequence[bool]) -> Accuracy:
    """Share of True and its Wilson interval (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    interval = binomtest(sum(solved), len(solved)).proportion_ci(CONFIDENCE, method="wilson")
    return Accuracy(len(solved), sum(solved) / len(solved), float(interval.low), float(interval.high))


def _one_response(question: str, answer: str, tokenizer: Any) -> Encoding:
    encoded = encode_reply(question, answer, tokenizer)
    positions = np.flatnonzero(encoded.is_reply_T)
    start, end = int(positions[0]), int(positions[-1]) + 1
    return Encoding(
        input_ids_T=encoded.input_ids_T[:end],
        end_character_T=np.zeros(end, np.int32),
        response_R=np.zeros(1, np.int32),
        start_R=np.array([start], np.int32),
        end_R=np.array([end], np.int32),
        coverage=Coverage(responses=1, scored=1),
    )
