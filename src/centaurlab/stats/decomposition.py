"""The difference of two models' NLLs into calibration, format and preference, with intervals.

What the parts are stands in ``analyses/diagnosis.py``. T* is fitted on all studies at once, so that a study's parts
depend on all of them: other than in ``bootstrap.estimate``, a resample draws the people of every study, and T* is
theirs; for the mean, studies are drawn, and T* is that of those drawn. A spline is linear in its values, so that sums
over responses at the scored temperatures are all that a resample needs.

Shapes: P participants, F folds, K temperatures, B resamples, S studies, M models, X any.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from centaurlab.results.table import person_names
from centaurlab.stats.bootstrap import Draws, draw_counts, over_these, resampled_sums
from centaurlab.stats.estimate import Estimate, FloatArray

FOLDS = 2
MODELS = ("base", "post")
PARTS = ("calibration", "format", "preference")
_GRID_STEP = 0.01  # of log T, between which the minimum is that of a parabola
_AT_BOUND = 0.001  # of log T


@dataclass(frozen=True)
class Parts:
    """A difference NLL(post) − NLL(base) in nats per choice, and the parts that it is the sum of."""

    difference: Estimate
    calibration: Estimate
    format: Estimate
    preference: Estimate


@dataclass(frozen=True)
class Decomposition:
    """The mean over studies, each study by name, and how many people it has.

    ``overall`` is about studies like these; ``these`` is the same mean with its interval over the people of these.
    ``temperatures_FM``: T* of each fold and model; ``at_bound``: one of them lies at the end of what was scored.
    """

    overall: Parts
    these: Parts
    studies: Mapping[str, Parts]
    people: Mapping[str, int]
    temperatures_FM: FloatArray
    at_bound: bool


def decompose(choices: pd.DataFrame, n_resamples: int, seed: int) -> Decomposition:
    """Split the difference of two models' NLLs of the same choices; 95 % intervals.

    Parameters
    ----------
    choices : pandas.DataFrame
        A row per choice: study, experiment, participant, and for both models (``_base``, ``_post``) ``nll`` and
        ``option_nll`` at T = 1 and at the scored temperatures (``nll_t0.5_base``, …).
    n_resamples : int
        Resamples behind each interval.
    seed : int
        Of the resamples.
    """
    log_t_K, studies = _sum_studies(choices)
    observed_SFX = np.stack([study.sums_PFX.sum(0) for study in studies])
    parts_S13, temperatures_1FM = _parts(observed_SFX[:, None], np.ones((1, len(studies))), log_t_K)
    parts_S3 = parts_S13[:, 0]

    rng = np.random.default_rng(seed)
    resampled_SBFX = np.stack([_resampled(study.sums_PFX, n_resamples, rng) for study in studies])
    replicate_SB3, _ = _parts(resampled_SBFX, np.ones((1, len(studies))), log_t_K)
    count_BS = draw_counts(len(studies), n_resamples, rng)
    at_their_temperatures_SB3, _ = _parts(observed_SFX[:, None], count_BS, log_t_K)
    overall_B3 = np.einsum("bs,sbk->bk", count_BS / len(studies), at_their_temperatures_SB3)

    log_t_FM = np.log(temperatures_1FM[0])
    of_studies = [
        _draws(parts_3, replicate_B3, study.sums_PFX[..., 0].sum(1))
        for study, parts_3, replicate_B3 in zip(studies, parts_S3, replicate_SB3, strict=True)
    ]
    return Decomposition(
        _estimated(replace(_draws(parts_S3.mean(0), overall_B3, np.ones(len(studies))), are_studies=True)),
        _of_these(of_studies),
        {study.name: _estimated(draws) for study, draws in zip(studies, of_studies, strict=True)},
        {study.name: len(study.sums_PFX) for study in studies},
        temperatures_1FM[0],
        bool((np.minimum(log_t_FM - log_t_K[0], log_t_K[-1] - log_t_FM) < _AT_BOUND).any()),
    )


def _draws(value_3: FloatArray, replicate_B3: FloatArray, weight_U: FloatArray) -> Draws:
    """The difference and its parts, of units that weigh so much."""
    value_Q = np.array([value_3.sum(), *value_3])
    replicate_QB = np.stack([replicate_B3.sum(1), *replicate_B3.T])
    return Draws(value_Q[:, None], replicate_QB[:, None], np.tile(weight_U[:, None, None], (1, len(value_Q), 1)))


def _estimated(draws: Draws) -> Parts:
    return Parts(*(draws.estimate(q) for q in range(len(draws.value_QM))))


def _of_these(studies: Sequence[Draws]) -> Parts:
    """The mean over studies, drawing the people of all of them together, since they share T*.

    Its variance is that of the joint resamples, times what makes the studies' own ones right with few people.
    """
    found = []
    for q in range(len(studies[0].value_QM)):
        alone = over_these(studies, q)
        each = float(sum(study.replicate_QMB[q, 0].var(ddof=1) for study in studies)) / len(studies) ** 2
        joint = float(np.mean([study.replicate_QMB[q, 0] for study in studies], axis=0).var(ddof=1))
        factor = math.sqrt(joint / each) if each > 0 else 1.0
        found.append(replace(alone, error=alone.error * factor).estimate())
    return Parts(*found)


@dataclass(frozen=True)
class _Study:
    """Of each participant of a study the sums that a resample adds up.

    ``sums_PFX``: per fold, zero but in the participant's own, the number of choices and the sums over them of the two
    curves of both models at all temperatures: NLL and options of the first model, then of the second.
    """

    name: str
    sums_PFX: FloatArray


def _folds(people: Sequence[tuple[str, str]]) -> npt.NDArray[np.int64]:
    """(P,) fold of each (study, person): alternately in the order of studies and of digests of people's names."""
    digests = [(study, hashlib.sha256(person.encode()).hexdigest()) for study, person in people]
    ranks = np.empty(len(people), np.int64)
    ranks[sorted(range(len(people)), key=digests.__getitem__)] = np.arange(len(people))
    return ranks % FOLDS


def _sum_studies(choices: pd.DataFrame) -> tuple[FloatArray, list[_Study]]:
    """The log temperatures (K,) at which there are scores, and the studies in alphabetical order."""
    names = [str(name) for name in choices if str(name).startswith("nll_t") and str(name).endswith("_base")]
    given = [name.removeprefix("nll_").removesuffix("_base") for name in names]
    exact = [2.0 ** (round(4 * np.log2(float(name[1:]))) / 4) for name in given]  # column names are rounded
    ordered = sorted([(1.0, ""), *zip(exact, (f"_{name}" for name in given), strict=True)])
    columns = [f"{kind}{suffix}_{model}" for model in MODELS for kind in ("nll", "option_nll") for _, suffix in ordered]
    person = person_names(choices)
    sums = choices[columns].astype(np.float64).groupby([choices["study"], person]).sum()
    sums.insert(0, "n", choices.groupby([choices["study"], person]).size())
    fold_P = _folds(list(sums.index))
    sums_PFX = np.zeros((len(sums), FOLDS, len(columns) + 1))
    sums_PFX[np.arange(len(sums)), fold_P] = sums.to_numpy()
    study_P = sums.index.get_level_values("study").to_numpy()
    studies = [_Study(str(name), sums_PFX[study_P == name]) for name in sorted(set(study_P))]
    return np.log([t for t, _ in ordered]), studies


def _resampled(sums_PFX: FloatArray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    n_people, *shape = sums_PFX.shape
    return resampled_sums(sums_PFX.reshape(n_people, -1), n_resamples, rng).reshape(n_resamples, *shape)


def _parts(sums_SBFX: FloatArray, weight_BS: FloatArray, log_t_K: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Parts (S, B, 3) of the difference in nats per choice, and T* (B, F, M), from sums over the choices of each fold.

    Studies count in T* as ``weight_BS`` says. Either may have one B for all of the other. NaN where a study has no
    choice. Where all the people who count are in one fold, T* is fitted on themselves.
    """
    n_SBF = sums_SBFX[..., 0]
    n_SB = n_SBF.sum(-1)
    curve_SBFMCK = sums_SBFX[..., 1:].reshape(*n_SBF.shape, len(MODELS), 2, len(log_t_K))
    nll_SBFMK, option_SBFMK = curve_SBFMCK[..., 0, :], curve_SBFMCK[..., 1, :]
    others_SBF = n_SB[..., None] - n_SBF
    nll_of_others_SBFMK = nll_SBFMK.sum(2, keepdims=True) - nll_SBFMK
    counts_SBF = (weight_BS.T[..., None] > 0) & (others_SBF > 0)
    if (alone_BF := ~counts_SBF.any(0)).any():  # a single person, or people of one fold: T* is their own
        others_SBF = np.where(alone_BF, n_SBF, others_SBF)
        nll_of_others_SBFMK = np.where(alone_BF[..., None, None], nll_SBFMK, nll_of_others_SBFMK)
    mean_SBFMK = nll_of_others_SBFMK / np.where(others_SBF > 0, others_SBF, np.inf)[..., None, None]
    n_resamples = max(sums_SBFX.shape[1], len(weight_BS))
    mean_SBFMK, nll_SBFMK, option_SBFMK = (
        np.broadcast_to(curves, (len(curves), n_resamples, *curves.shape[2:]))
        for curves in (mean_SBFMK, nll_SBFMK, option_SBFMK)
    )
    weight_BS = np.broadcast_to(weight_BS, (n_resamples, len(mean_SBFMK)))
    from scipy.interpolate import CubicSpline  # here: --help would wait for it

    mean_BFMK = np.einsum("bs,sbfmk->bfmk", weight_BS, mean_SBFMK)
    log_t_BFM = _minimum(mean_BFMK, log_t_K)
    at_minimum_BFMK = CubicSpline(log_t_K, np.eye(len(log_t_K)))(log_t_BFM)
    nll_SBM, option_SBM = (
        np.einsum("sbfmk,bfmk->sbm", curves, at_minimum_BFMK) for curves in (nll_SBFMK, option_SBFMK)
    )
    as_it_is_SBM = nll_SBFMK[..., np.flatnonzero(log_t_K == 0)[0]].sum(2)
    parts_SBM3 = np.stack([as_it_is_SBM - nll_SBM, option_SBM, nll_SBM - option_SBM], axis=-1)
    difference_SB3 = parts_SBM3[..., 1, :] - parts_SBM3[..., 0, :]
    return difference_SB3 / np.where(n_SB > 0, n_SB, np.nan)[..., None], np.exp(log_t_BFM)


def _minimum(curve_XK: FloatArray, log_t_K: FloatArray) -> FloatArray:
    """Where splines through ``curve_XK`` (any shape, K last) are lowest; NaN for one that is zero throughout."""
    from scipy.interpolate import CubicSpline  # here: --help would wait for it

    n_steps = round((log_t_K[-1] - log_t_K[0]) / _GRID_STEP)
    grid_G = np.linspace(log_t_K[0], log_t_K[-1], n_steps + 1)
    values_XG = curve_XK @ CubicSpline(log_t_K, np.eye(len(log_t_K)))(grid_G).T
    lowest_X = values_XG.argmin(-1)
    inner_X = lowest_X.clip(1, n_steps - 1)
    left, middle, right = (
        np.take_along_axis(values_XG, (inner_X + step)[..., None], -1)[..., 0] for step in (-1, 0, 1)
    )
    bend = left - 2 * middle + right
    offset = np.divide((left - right) / 2, bend, out=np.zeros_like(bend), where=bend > 0).clip(-1, 1)
    step = grid_G[1] - grid_G[0]
    found_X = np.where(inner_X == lowest_X, grid_G[inner_X] + offset * step, grid_G[lowest_X])
    return np.where(curve_XK.any(-1), found_X, np.nan)
