"""Two groups of people who are not the same, as the published persona comparison takes them.

There, everybody without a persona is held against those who have one, with one. The difference then holds how these
people differ from the others, too. Here for comparison with published figures: d over independent groups, with
intervals from a bootstrap over people in which those who are in both groups are drawn into both. Its degrees of freedom
are those of the smaller group: what the difference mostly varies by, and never too many.

Shapes: P participants of either group, B resamples, S studies.
"""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from centaurlab.analyses.contexts import Comparison
from centaurlab.results.run import ScoreRun
from centaurlab.results.table import NLL, SESSION, read_scores
from centaurlab.stats.bootstrap import interval, resampled_means, resampled_sums
from centaurlab.stats.effects import Effect
from centaurlab.stats.estimate import Estimate, FloatArray

NAN = float("nan")


def compare_unmatched(
    name: str, first: tuple[str, ScoreRun], second: tuple[str, ScoreRun], n_resamples: int, seed: int, noun: str = ""
) -> Comparison:
    """d(first − second) per study and overall; the SDs (ddof 1) are over the responses of each group."""
    frames = [_read(run.folder) for _, run in (first, second)]
    studies = sorted(set(frames[0]["study"]) & set(frames[1]["study"]))
    effects = []
    for study in studies:
        groups = [frame[frame["study"] == study] for frame in frames]
        people = pd.Index(groups[0]["person"]).union(pd.Index(groups[1]["person"])).unique()
        means = [float(group["nll"].mean()) for group in groups]
        sums_P6 = np.concatenate([_sums(group, people, mean) for group, mean in zip(groups, means, strict=True)], 1)
        value = float(_d(sums_P6.sum(0, keepdims=True), means)[0])
        rng = np.random.default_rng([seed, *map(zlib.crc32, (b"unmatched", study.encode()))])
        replicate_B = _d(resampled_sums(sums_P6, n_resamples, rng), means)
        n_fewer = min(group["person"].nunique() for group in groups)
        d = Estimate(value, *interval(value, replicate_B, n_fewer))
        effects.append(_effect(second, "study", study, d, means, sum(map(len, groups)), len(people), 1))
    values = np.array([effect.d.value for effect in effects])
    value = float(np.nanmean(values)) if np.isfinite(values).any() else NAN
    rng = np.random.default_rng([seed, zlib.crc32(b"unmatched")])
    means_B = resampled_means(values[:, None], n_resamples, rng)[:, 0]
    overall = Estimate(value, *interval(value, means_B, int(np.isfinite(values).sum())))
    means = [float(np.mean([effect.nll_post for effect in effects])), float(np.mean([e.nll_base for e in effects]))]
    counts = (sum(e.n_responses for e in effects), sum(e.n_participants for e in effects), len(effects))
    effects.insert(0, _effect(second, "overall", "all studies", overall, means, *counts))
    return Comparison(name, first[0], second[0], effects, noun)


def _read(folder: Path) -> pd.DataFrame:
    table: pd.DataFrame = read_scores(folder, [NLL]).to_pandas()
    table = table.astype(dict.fromkeys(SESSION, str) | {NLL: float})
    table["person"] = pd.MultiIndex.from_frame(table[["experiment", "participant"]]).to_flat_index()
    return table


def _sums(group: pd.DataFrame, people: pd.Index, mean: float) -> FloatArray:
    """(P, 3): number of responses, sum of their deviations from ``mean`` and of the squares of these."""
    centred = group["nll"] - mean
    by_person = pd.DataFrame({"n": 1.0, "sum": centred, "squares": centred**2}).groupby(group["person"]).sum()
    return by_person.reindex(people, fill_value=0.0).to_numpy(np.float64)


def _d(totals_B6: FloatArray, means: list[float]) -> FloatArray:
    differences, variances = [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for (n_B, sum_B, squares_B), mean in zip((totals_B6.T[:3], totals_B6.T[3:]), means, strict=True):
            differences.append(sum_B / n_B + mean)
            variances.append((squares_B - sum_B**2 / n_B) / (n_B - 1))
        d_B: FloatArray = (differences[0] - differences[1]) / np.sqrt((variances[0] + variances[1]) / 2)
    d_B[~np.isfinite(d_B)] = NAN
    return d_B


def _effect(
    second: tuple[str, ScoreRun],
    level: str,
    name: str,
    d: Estimate,
    means: list[float],
    n_responses: int,
    n_participants: int,
    n_studies: int,
) -> Effect:
    return Effect(
        *("pair", second[1].model, second[0], level, name),
        d=d,
        d_paired=Estimate(NAN),
        nll_difference=Estimate(means[0] - means[1]),
        nll_base=means[1],
        nll_post=means[0],
        n_pairs=1,
        n_responses=n_responses,
        n_participants=n_participants,
        n_studies=n_studies,
        n_studies_d=n_studies,
        n_studies_paired=0,
        unmatched_base=0,
        unmatched_post=0,
    )
