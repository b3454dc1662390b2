"""Effects made up for tests of what shows them."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from centaurlab.runs.folder import RunFolder
from centaurlab.stats.contrast import POST_TRAINING, Contrast
from centaurlab.stats.effect_table import effects_table
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate

LONG_NAMES = [f"a_study_whose_name_is_far_too_long_for_an_axis_{i}_2020exp{i}" for i in range(16)]


def effect(
    name: str,
    d: Estimate,
    level: str = "study",
    group: str = "pair",
    group_name: str = "org/post",
    **changes: object,
) -> Effect:
    """An effect of which d is given, and the paired d and the difference of NLLs are wider.

    ``changes``: fields of ``Effect`` that are other than here.
    """
    found = Effect(
        group=group,
        group_name=group_name,
        contrast=Contrast(group_name, "org/base") if group == "pair" else POST_TRAINING,
        level=level,
        name=name,
        d=d,
        d_paired=Estimate(d.value * 1.7, d.low * 2, d.high * 2),
        nll_difference=Estimate(d.value * 2, d.low * 2, d.high * 2),
        nll_first=1.25 + d.value * 2,
        nll_second=1.25,
        n_pairs=1 if group == "pair" else 2,
        n_responses=12345,
        n_participants=67,
        n_studies=1 if level == "study" else 16,
        n_studies_d=1 if level == "study" else 16,
        n_studies_paired=1 if level == "study" else 16,
        unmatched_first=0,
        unmatched_second=3,
        d_these=d,
        nll_difference_these=Estimate(d.value * 2, d.low * 2, d.high * 2),
        d_paired_raw=d.value * 1.8,
        q=0.01 if d.excludes_zero else 0.2,
        p_worse=Estimate(0.55, 0.5, 0.6),
        p_worse_these=Estimate(0.55, 0.52, 0.58),
        d_within=Estimate(d.value * 1.1, d.low, d.high * 1.2),
        chance=0.693,
        top_share=0.125,
        tail_first=0.25,
        tail_second=0.125,
        d_models=Estimate(d.value, *((math.nan, math.nan) if group == "pair" else (d.low - 0.1, d.high + 0.1))),
        nll_difference_models=Estimate(d.value * 2),
    )
    return replace(found, **changes)


def effects_of(names: list[str], overall: Estimate, **of_pair: str) -> list[Effect]:
    """Overall, one domain and each study, with d drawn at random and intervals around them."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 0.3, len(names))
    studies = [effect(name, Estimate(d, d - 0.2, d + 0.2), **of_pair) for name, d in zip(names, values, strict=True)]
    domain = effect("Memory", Estimate(0.5, 0.1, 0.9), "domain", **of_pair)
    return [effect("all studies", overall, "overall", **of_pair), domain, *studies]


def write_effects(folder: Path, effects: list[Effect]) -> None:
    """The tables of a run of comparisons."""
    for name in ("effects.csv", "effects.parquet"):
        RunFolder(folder, "misalignment").write_table(name, effects_table(effects))
