"""The catalog's tables (domains, devices, published figures), read from the package's own CSV files."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


_COLOUR_BAR_END = 0.23  # of Fig. 4; the file marks no cell, those beyond the end have its colour


@cache
def study_domains() -> dict[str, tuple[str, ...]]:
    """The domains of every study of Psych-101 and Psych-201, by each of its names; a study may have none."""
    from centaurlab.catalog.studies import catalog_studies  # here, as it reads all modules

    known = {
        row["experiment"]: tuple(domain for domain in domains() if row[domain] == "1") for row in _rows("study_domains")
    }
    others = {name: study.name for name, study in catalog_studies().items() if name not in known}
    return known | {name: known[own] for name, own in others.items() if own in known}


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
    return StringIO(files("centaurlab.catalog").joinpath(f"{name}.csv").read_text(encoding="utf-8"), newline="")


def domains_of(study: str) -> tuple[str, ...]:
    """The domains of a study; empty where it has none or is not in the catalog."""
    return study_domains().get(study, ())
