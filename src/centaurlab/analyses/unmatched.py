"""Two groups of people who are not the same, as the published persona comparison takes them.

There, everybody without a persona is held against those who have one, with one. The difference then holds how these
people differ from the others, too. Here for comparison with published figures: d over independent groups, with
intervals from a bootstrap over people in which those who are in both groups are drawn into both. Its degrees of freedom
are those of the smaller group: what the difference mostly varies by, and never too many.

Shapes: P participants of either group, B resamples, S studies.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from centaurlab.analyses.contexts import Comparison
from centaurlab.results.run import ScoreRun
from centaurlab.results.table import NLL, PERSON, SESSION, person_names, read_scores
from centaurlab.stats import bootstrap
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import NAN, Estimate, FloatArray


def compare_unmatched(
    name: str, contrast: Contrast, first: ScoreRun, second: ScoreRun, n_resamples: int, seed: int
) -> Comparison:
    """d of the ``contrast`` per study and overall; the SDs (ddof 1) are over the responses of each group."""
    frames = [_read(run.folder) for run in (first, second)]
    studies = sorted(set(frames[0]["study"]) & set(frames[1]["study"]))
    found: dict[str, bootstrap.Study] = {}
    described = {}
    for study in studies:
        groups = [frame[frame["study"] == study] for frame in frames]
        people = pd.Index(groups[0]["person"]).union(pd.Index(groups[1]["person"])).unique()
        means = [float(group["nll"].mean()) for group in groups]
        sums_P6 = np.concatenate([_sums(group, people, mean) for group, mean in zip(groups, means, strict=True)], 1)
        n_PG = sums_P6[:, [0, 3]]
        smaller_P = n_PG[:, (n_PG > 0).sum(axis=0).argmin()]
        weight_P21 = np.stack([smaller_P, smaller_P], axis=1)[:, :, None]
        found[study] = bootstrap.Study(sums_P6, partial(_d_and_difference, means=means), weight_P21)
        described[study] = (means, sum(map(len, groups)), len(people), 1)
    drawn = bootstrap.estimate(
        found, n_resamples, lambda study: bootstrap.generator(seed, "unmatched", *([] if study is None else [study]))
    )
    effect = partial(_effect, contrast, second.model)
    effects = [effect("study", study, drawn.studies[study], *described[study]) for study in studies]
    means = [float(np.mean([e.nll_first for e in effects])), float(np.mean([e.nll_second for e in effects]))]
    counts = (sum(e.n_responses for e in effects), sum(e.n_participants for e in effects), len(effects))
    effects.insert(0, effect("overall", "all studies", drawn.overall, means, *counts))
    return Comparison(name, contrast, effects)


def _read(folder: Path) -> pd.DataFrame:
    table: pd.DataFrame = read_scores(folder, [NLL]).to_pandas()
    table = table.astype(dict.fromkeys(SESSION, str) | {NLL: float})
    table[PERSON] = person_names(table)
    return table


def _sums(group: pd.DataFrame, people: pd.Index, mean: float) -> FloatArray:
    """(P, 3): number of responses, sum of their deviations from ``mean`` and of the squares of these."""
    centred = group["nll"] - mean
    by_person = pd.DataFrame({"n": 1.0, "sum": centred, "squares": centred**2}).groupby(group["person"]).sum()
    return by_person.reindex(people, fill_value=0.0).to_numpy(np.float64)


def _d_and_difference(totals_B6: FloatArray, means: list[float]) -> FloatArray:
    """d and the difference in nats (2, 1, B) from the sums of both groups and the means that these are taken from."""
    differences, variances = [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for (n_B, sum_B, squares_B), mean in zip((totals_B6.T[:3], totals_B6.T[3:]), means, strict=True):
            differences.append(sum_B / n_B + mean)
            variances.append((squares_B - sum_B**2 / n_B) / (n_B - 1))
        difference_B = differences[0] - differences[1]
        found_2B: FloatArray = np.stack([difference_B / np.sqrt((variances[0] + variances[1]) / 2), difference_B])
    found_2B[~np.isfinite(found_2B)] = NAN
    return found_2B[:, None]


def _effect(
    contrast: Contrast,
    model: str,
    level: str,
    name: str,
    draws: bootstrap.Draws,
    means: list[float],
    n_responses: int,
    n_participants: int,
    n_studies: int,
) -> Effect:
    return Effect(
        *("pair", model, contrast, level, name),
        d=draws.estimate(),
        d_paired=Estimate(NAN),
        nll_difference=draws.estimate(1),
        nll_first=means[0],
        nll_second=means[1],
        n_pairs=1,
        n_responses=n_responses,
        n_participants=n_participants,
        n_studies=n_studies,
        n_studies_d=n_studies,
        n_studies_paired=0,
        unmatched_first=0,
        unmatched_second=0,
    )
