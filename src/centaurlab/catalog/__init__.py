"""The paper's model pairs, the domains of its studies and its published figures, as tables with one loader.

Source: "Post-training makes large language models less human-like" (the Psych-201 paper). ``paper_nll.csv`` holds
Figs. 2, 3a and S1 (nats per response), ``paper_accuracy.csv`` Fig. S2 and ``paper_effects_by_domain.csv`` Fig. 4,
read from the vector figures: errors below 0.001 nats (Fig. S1: 0.01), 0.0005 and 0.005. A pair's family and size
are those of its base model; its generation is the number that ends the family's name. ``devices.csv`` holds what
makers state of accelerators, each with its source.
"""

import csv
import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import StringIO
from typing import TYPE_CHECKING

from centaurlab.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_COLOUR_BAR_END = 0.23  # of Fig. 4; the file marks no cell, those beyond the end have its colour


@dataclass(frozen=True)
class ModelPair:
    """Hub ids of a post-trained model and its base; ``size_b``: billions of parameters of the base."""

    post_trained: str
    base: str
    post_training: str
    family: str
    size_b: float

    @property
    def generation(self) -> float:
        """2.5 for ``qwen2.5``; NaN for a family whose name does not end in a number."""
        number = re.search(r"\d+(\.\d+)?$", self.family)
        return float(number[0]) if number else float("nan")


@cache
def model_pairs() -> tuple[ModelPair, ...]:
    """The 65 pairs that the paper compares."""
    return tuple(
        ModelPair(row["post_trained"], row["base"], row["post_training"], row["family"], float(row["size_b"]))
        for row in _rows("model_pairs")
    )


def pairs_of(family: str) -> tuple[ModelPair, ...]:
    """The pairs of a family, such as ``qwen2.5``; ``UserError`` for one that the catalog does not have."""
    families = sorted({pair.family for pair in model_pairs()})
    if family.lower() not in families:
        nearest = difflib.get_close_matches(family.lower(), families, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(families)}"
        raise UserError(f"the catalog has no family {family!r}; {hint}")
    return tuple(pair for pair in model_pairs() if pair.family == family.lower())


@cache
def study_domains() -> dict[str, tuple[str, ...]]:
    """The domains of every study of Psych-101 and Psych-201; a study may have none."""
    return {
        row["experiment"]: tuple(domain for domain in domains() if row[domain] == "1") for row in _rows("study_domains")
    }


@dataclass(frozen=True)
class Device:
    """An accelerator as its maker states it: memory in bytes, dense bfloat16 operations per second.

    ``torch_name`` is what PyTorch calls it.
    """

    name: str
    torch_name: str
    memory_bytes: float
    flops_per_second: float


@cache
def devices() -> dict[str, Device]:
    """The accelerators that ``centaurlab plan`` knows, by name."""
    return {
        row["device"]: Device(
            row["device"], row["torch_name"], float(row["memory_gib"]) * 2**30, float(row["bf16_tflops"]) * 1e12
        )
        for row in _rows("devices")
    }


@cache
def domains() -> tuple[str, ...]:
    """The paper's eleven domains."""
    return tuple(_rows("study_domains")[0])[2:]


def published_nll() -> "pd.DataFrame":
    """Mean NLL per model: figure, family, model, size_b, type, chat_template, mean_nll (nats)."""
    return _frame("paper_nll")


def published_accuracy() -> "pd.DataFrame":
    """Accuracy over single-token discrete choices: model, size_b, type, accuracy."""
    return _frame("paper_accuracy")


def published_effects() -> "pd.DataFrame":
    """Cohen's d per post-trained model and domain: post_trained_model, domain, cohens_d, clipped.

    ``clipped``: the cell has the last colour of the bar, so d is 0.23 or more and ``cohens_d`` a lower bound.
    """
    effects = _frame("paper_effects_by_domain")
    effects["clipped"] = effects["cohens_d"] >= _COLOUR_BAR_END
    return effects


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(_open(name)))


def _frame(name: str) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(_open(name))


def _open(name: str) -> StringIO:
    return StringIO(files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8"), newline="")
