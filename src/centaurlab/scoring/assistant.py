"""How good an assistant a model is: how often it prefers the right answer to the wrong one that people give.

An item counts as solved when, after the question in the model's chat format, the right answer is more probable than
the foil, each with the full stop that ends it (so that 4 is not a part of 40). Guessing solves half of the items.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from centaurlab.data.assistant.generator import assistant_items
from centaurlab.data.assistant.items import AssistantItem
from centaurlab.models.arguments import ModelArguments
from centaurlab.models.digests import fingerprint
from centaurlab.models.identity import identify
from centaurlab.models.loading import load_model
from centaurlab.models.passes import accepts, check_known, logits_of, new_cache
from centaurlab.models.self_check import self_check
from centaurlab.prompts.chat import chat_tokenizer, encode_reply, read_template
from centaurlab.prompts.encoding import Ints
from centaurlab.runs.folder import RunFolder
from centaurlab.runs.integrity import read_sound_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


from centaurlab.stats.accuracy import accuracy
from centaurlab.stats.estimate import Accuracy

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_FILE = "assistant.json"
_BATCH = 8  # questions at once


@dataclass(frozen=True)
class AssistantQuality:
    """Accuracy on held-out items: all, known templates with new cases, new templates, and per topic.

    ``solved``: each item, in the order of ``held_out_items``.
    """

    overall: Accuracy
    by_split: dict[str, Accuracy]
    by_topic: dict[str, Accuracy]
    solved: tuple[bool, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The accuracies, as they stand in ``run.json``."""
        known = asdict(self)
        del known["solved"]
        return known


def held_out_items(count: int, seed: int = 0) -> list[AssistantItem]:
    """Make ``count`` items that no training saw: new cases of known templates, and as many of new templates."""
    return assistant_items("new_cases", -(-count // 2), seed) + assistant_items("new_templates", count // 2, seed)


def answer_margins(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    items: Sequence[AssistantItem],
    model_fingerprint: str | None = None,
) -> list[float]:
    """Ask a model every item, in its chat format.

    Parameters
    ----------
    model, tokenizer
        The model, and its tokenizer with a chat template.
    items
        Questions, each with the right answer and a foil.
    model_fingerprint
        Of the model's identity, under which its self-check is kept; None: it is not.

    Returns
    -------
    list of float
        NLL of the foil minus NLL of the right answer of each item, in nats: positive where it is solved.

    Raises
    ------
    UserError
        Where the chat format has tokens that the model does not know.
    """
    asked = [_asked(item, tokenizer) for item in items]
    check_known(model, *(tokens for one in asked for tokens in (one.prefix_T, *one.tails)))
    check = self_check(model, model_fingerprint, ["left_padded"])
    margins_of = _margins if check.chunks and check.prefixes and check.left_padded else _margins_one_by_one
    by_length = sorted(range(len(items)), key=lambda i: len(asked[i].prefix_T))
    margins = np.zeros(len(items))
    for first in tqdm(range(0, len(items), _BATCH), desc="assistant", unit="batch", leave=False, disable=None):
        batch = by_length[first : first + _BATCH]
        margins[batch] = margins_of(model, [asked[i] for i in batch])
    return margins.tolist()


def assistant_quality(
    args: ModelArguments, items: Sequence[AssistantItem], folder: Path, template: Path | None = None
) -> AssistantQuality:
    """Ask the model that ``args`` name every item, or read the answers if ``folder`` holds them already.

    ``template``: the file of a chat template to use instead of the model's own, if there is such a file.
    """
    tokenizer = chat_tokenizer(args)
    if template and template.is_file():
        tokenizer.chat_template = read_template(template)
    identity = identify(args)
    asked = fingerprint(
        {
            "model": identity.fingerprint,
            "template": str(tokenizer.chat_template),
            "items": [item.question for item in items],
        }
    )
    known = read_sound_json(folder / _FILE)
    if known.get("asked") != asked:
        device = PartialState().device if torch.accelerator.is_available() else torch.device("cpu")
        margins = answer_margins(load_model(args, device), tokenizer, items, identity.fingerprint)
        known = {"asked": asked, "margins": margins}
        RunFolder(folder, "score").write_json(_FILE, known)
    return quality([margin > 0 for margin in known["margins"]], items)


def quality(solved: Sequence[bool], items: Sequence[AssistantItem]) -> AssistantQuality:
    """Sum up what was ``solved`` of ``items``, in the order of ``held_out_items``."""
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
        tuple(solved),
    )


class _Asked(NamedTuple):
    """Tokens that a question with its right answer and with the foil have in common, and those that follow."""

    prefix_T: Ints
    tails: tuple[Ints, Ints]
    is_answer: tuple[Bools, Bools]


def _asked(item: AssistantItem, tokenizer: "PreTrainedTokenizerBase") -> _Asked:
    right, wrong = (encode_reply(item.question, f"{answer}.", tokenizer) for answer in (item.answer, item.foil))
    ends = [int(np.flatnonzero(reply.is_reply_T)[-1]) + 1 for reply in (right, wrong)]
    common = min(*ends, *(int(np.argmax(reply.is_reply_T)) for reply in (right, wrong)))
    differing = np.flatnonzero(right.input_ids_T[:common] != wrong.input_ids_T[:common])
    shared = int(differing[0]) if len(differing) else common
    tails, is_answer = zip(
        *(
            (reply.input_ids_T[shared:end], reply.is_reply_T[shared:end])
            for reply, end in zip((right, wrong), ends, strict=True)
        ),
        strict=True,
    )
    return _Asked(right.input_ids_T[:shared], tails, is_answer)


@torch.inference_mode()
def _margins(model: "PreTrainedModel", batch: Sequence[_Asked]) -> Floats:
    """(B,) margins: questions padded on the left, computed once, then both answers of each padded on the right."""
    device = next(model.parameters()).device
    length_B = torch.tensor([len(asked.prefix_T) for asked in batch])
    prefix_BT = _rows([asked.prefix_T[::-1] for asked in batch]).flip(1)
    inside_BT = (torch.arange(prefix_BT.shape[1]) < length_B[:, None]).flip(1)
    tails = [tail for asked in batch for tail in asked.tails]
    tail_AN = _rows(tails)  # A = 2 B answers, N their longest
    is_answer_AN = _rows([is_answer for asked in batch for is_answer in asked.is_answer]).bool()
    positions_AN = length_B.repeat_interleave(2)[:, None] + torch.arange(tail_AN.shape[1])
    cache = new_cache(model)
    # By its index: for the slice that 1 stands for, torch copies frozen weights of the LM head once per question.
    last = torch.tensor([prefix_BT.shape[1] - 1], device=device)
    before_B1V = logits_of(
        model,
        prefix_BT.to(device),
        cache,
        attention_mask=inside_BT.long().to(device),
        **_positions(model, (inside_BT.cumsum(1) - 1).clamp(min=0).to(device)),
        logits_to_keep=last,
    )
    cache.batch_repeat_interleave(2)
    visible_AT = torch.cat([inside_BT.repeat_interleave(2, 0), torch.ones_like(tail_AN, dtype=torch.bool)], 1)
    within_ANV = logits_of(
        model,
        tail_AN.to(device),
        cache,
        attention_mask=visible_AT.long().to(device),
        **_positions(model, positions_AN.to(device)),
        logits_to_keep=torch.arange(tail_AN.shape[1] - 1, device=device),
    )
    logits_ANV = torch.cat([before_B1V.repeat_interleave(2, 0), within_ANV], 1)
    tail_L = tail_AN.flatten().to(device)
    nll_AN = cross_entropy(logits_ANV.flatten(0, 1).float(), tail_L, reduction="none").view(tail_AN.shape).cpu()
    nll_B2 = (nll_AN.double() * is_answer_AN).sum(1).view(-1, 2)
    return (nll_B2[:, 1] - nll_B2[:, 0]).numpy()


def _positions(model: "PreTrainedModel", position_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """As an argument, where the model takes it: one of states alone has none."""
    return {"position_ids": position_BT} if accepts(model, "position_ids") else {}


@torch.inference_mode()
def _margins_one_by_one(model: "PreTrainedModel", batch: Sequence[_Asked]) -> Floats:
    """(B,) margins, every question with either answer computed whole and alone."""
    device = next(model.parameters()).device
    nll_B2 = np.zeros((len(batch), 2))
    for i, asked in enumerate(batch):
        for j, (tail, is_answer) in enumerate(zip(asked.tails, asked.is_answer, strict=True)):
            ids_T = torch.from_numpy(np.concatenate([asked.prefix_T, tail]).astype(np.int64)).to(device)
            logits_NV = logits_of(model, ids_T[None])[0, len(asked.prefix_T) - 1 : -1]
            nll_N = cross_entropy(logits_NV.float(), ids_T[len(asked.prefix_T) :], reduction="none").cpu().double()
            nll_B2[i, j] = nll_N[torch.from_numpy(is_answer)].sum()
    return nll_B2[:, 1] - nll_B2[:, 0]


def _rows(rows: Sequence[npt.NDArray[Any]]) -> torch.Tensor:
    """The rows as one tensor of integers, with zeros on the right of those that are shorter."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row.astype(np.int64)) for row in rows], batch_first=True)
