"""Why one model predicts choices worse than another: format, calibration or preference.

At a choice of one token y let NLL(T) be its negative log-likelihood with all logits divided by T, and F(T) the
negative log of the probability of the session's options together. T* is one temperature per model, the best for people
other than the one it is used for. Then

    NLL(1) = [NLL(1) - NLL(T*)] + F(T*) + [NLL(T*) - F(T*)]
              calibration         format  preference

and so the difference of two models is the sum of the differences of the three. A model whose logits are another's
divided by a constant is the other at T*: the two differ in calibration alone.

Options are the answers that a session holds, where these are single tokens, two to ten of them (``scoring.py``); an
option that a person never chose counts as none of them. Sessions without such a set are left out, and counted.
Both functions of T are read off a cubic spline in log T through the temperatures that are scored. Halfway between
them it is off by at most 0.0041 nats for a response and 0.0033 for a study's mean (96 responses of five starter
studies, Gemma 3 270M and SmolLM2 135M Instruct, against the whole vocabulary). T* lies between the lowest and the
highest. Intervals hold T* fixed: that of format is too narrow as a statement about the T* of other studies.

Shapes: R responses, P participants, K temperatures, B resamples, S studies.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from centaurlab.bootstrap import FloatArray, draw_studies, percentile_interval, resampled_means, resampled_sums
from centaurlab.comparison import ScoreRun, check_same
from centaurlab.effects import Estimate
from centaurlab.errors import UserError

PARTS = ("calibration", "format", "preference")
FOLDS = 2
_KEY = ["study", "experiment", "participant", "response"]
_ALL_STUDIES = "all studies"


@dataclass(frozen=True)
class Diagnosis:
    """A row of ``diagnosis.csv``: a study, or the mean over all; positive: the second model is worse by so many nats.

    ``difference`` is the sum of the three parts. ``accuracy``: share of choices that were the likeliest token.
    """

    study: str
    participants: int
    responses: int
    difference: Estimate
    calibration: Estimate
    format: Estimate
    preference: Estimate
    accuracy_base: float
    accuracy_post: float


@dataclass(frozen=True)
class Exclusion:
    """Responses of a study that the split is not defined for, of ``responses`` that both models scored."""

    study: str
    excluded: int
    responses: int


@dataclass(frozen=True)
class Split:
    """The studies after their mean, what was left out, and each model's T* in each fold of participants."""

    rows: list[Diagnosis]
    excluded: list[Exclusion]
    temperatures_base: tuple[float, ...]
    temperatures_post: tuple[float, ...]
    at_bound: bool


def diagnose(base: ScoreRun, post: ScoreRun, n_resamples: int = 2000, seed: int = 0) -> Split:
    """Split the difference of two score runs; 95 % intervals draw studies and participants again, T* held fixed.

    Raises ``UserError`` for runs that cannot be compared, and where no session is a choice among few single tokens.
    """
    check_same([base, post])
    both = _read(base.folder).merge(_read(post.folder), on=_KEY, suffixes=("_base", "_post"))
    is_choice_R = (both["n_options_base"] > 0) & (both["n_options_base"] == both["n_options_post"])
    excluded = [
        Exclusion(str(study), int((~is_covered).sum()), len(is_covered))
        for study, is_covered in is_choice_R.groupby(both["study"])
        if not is_covered.all()
    ]
    choices = both[is_choice_R]
    if choices.empty:
        raise UserError(
            f"{base.folder} and {post.folder} hold no session in which both models see a choice among two to ten "
            "single tokens; the split is not defined for them"
        )
    fold_R = _folds(choices)
    parts_base, temperatures_base, bound_base = _parts(choices, "base", fold_R)
    parts_post, temperatures_post, bound_post = _parts(choices, "post", fold_R)
    rows = _rows(choices, parts_post - parts_base, n_resamples, seed)
    return Split(rows, excluded, temperatures_base, temperatures_post, bound_base or bound_post)


def _read(folder: Path) -> pd.DataFrame:
    found = pd.read_parquet(folder / "scores.parquet")
    if "n_options" not in found:
        raise UserError(f"{folder} was scored by an older version; score it again into another folder")
    return found.astype({name: str for name in _KEY[:3]}).fillna({"n_options": 0})


def _folds(choices: pd.DataFrame) -> npt.NDArray[np.int64]:
    """(R,) fold of each response's participant, by a digest of the participant's name: the same for all models."""
    names = (choices["study"] + "\0" + choices["experiment"] + "\0" + choices["participant"]).to_numpy()
    unique, inverse_R = np.unique(names.astype(str), return_inverse=True)
    ranks = np.argsort(np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in unique]))
    return (ranks % FOLDS)[inverse_R]


def _curves(choices: pd.DataFrame, model: str) -> tuple[FloatArray, CubicSpline, CubicSpline]:
    """Log temperatures (K,), and splines in them of the NLL and of the options' negative log-probability (R,)."""
    columns = [name for name in choices if str(name).startswith("nll_t") and str(name).endswith(f"_{model}")]
    temperatures = [float(str(name)[len("nll_t") :].removesuffix(f"_{model}")) for name in columns]
    exact = [2.0 ** (round(4 * np.log2(t)) / 4) for t in temperatures]  # column names are rounded
    order = np.argsort([*exact, 1.0])
    log_t_K = np.log([*exact, 1.0])[order]
    splines = []
    for name in ("nll", "option_nll"):
        values = [choices[f"{name}_{str(column)[len('nll_') :]}"] for column in columns]
        stacked_KR = np.stack([*values, choices[f"{name}_{model}"]]).astype(np.float64)
        splines.append(CubicSpline(log_t_K, stacked_KR[order]))
    return log_t_K, splines[0], splines[1]


def _parts(
    choices: pd.DataFrame, model: str, fold_R: npt.NDArray[np.int64]
) -> tuple[FloatArray, tuple[float, ...], bool]:
    """(R, 3) calibration, format and preference of each response in nats; T* of each fold; whether at a bound."""
    log_t_K, nll, option_nll = _curves(choices, model)
    study_R = pd.factorize(choices["study"])[0]
    parts_R3 = np.empty((len(choices), len(PARTS)))
    temperatures, at_bound = [], False
    for fold in range(FOLDS):
        mine_R = fold_R == fold
        others_R = ~mine_R if (~mine_R).any() else mine_R
        weight_R = others_R / np.bincount(study_R, others_R)[study_R].clip(min=1)  # each study alike
        mean = CubicSpline(log_t_K, nll(log_t_K) @ weight_R)
        bounds = (float(log_t_K[0]), float(log_t_K[-1]))
        best = float(minimize_scalar(lambda x, mean=mean: float(mean(x)), bounds=bounds, options={"xatol": 1e-6}).x)
        at_bound |= min(best - bounds[0], bounds[1] - best) < 1e-3
        temperatures.append(float(np.exp(best)))
        best_R, options_R = nll(best)[mine_R], option_nll(best)[mine_R]
        parts_R3[mine_R] = np.stack([nll(0.0)[mine_R] - best_R, options_R, best_R - options_R], axis=1)
    return parts_R3, tuple(temperatures), at_bound


def _rows(choices: pd.DataFrame, difference_R3: FloatArray, n_resamples: int, seed: int) -> list[Diagnosis]:
    rng = np.random.default_rng(seed)
    of_studies, values, replicates = [], [], []
    for study, positions in choices.reset_index(drop=True).groupby("study").indices.items():
        here = choices.iloc[positions]
        person_R = pd.factorize(here["experiment"] + "\0" + here["participant"])[0]
        columns = [*difference_R3[positions].T, np.ones(len(positions))]
        sums_PK = np.stack([np.bincount(person_R, column) for column in columns], axis=1).astype(np.float64)
        value_3 = sums_PK.sum(0)[:-1] / len(positions)
        replicate_B3 = np.full((n_resamples, len(PARTS)), np.nan)
        if len(sums_PK) > 1:
            totals_BK = resampled_sums(sums_PK, n_resamples, rng)
            replicate_B3 = totals_BK[:, :-1] / totals_BK[:, -1:]
        of_studies.append(_row(str(study), len(sums_PK), here, value_3, replicate_B3))
        values.append(value_3)
        replicates.append(np.where(np.isfinite(replicate_B3), replicate_B3, value_3))
    overall_B3 = np.full((n_resamples, len(PARTS)), np.nan)
    if len(values) > 1:
        drawn = draw_studies(len(values), n_resamples, rng)
        overall_B3 = np.stack([resampled_means(np.stack(replicates)[:, :, k], drawn) for k in range(len(PARTS))], 1)
    people = sum(row.participants for row in of_studies)
    return [_row(_ALL_STUDIES, people, choices, np.mean(values, axis=0), overall_B3), *of_studies]


def _row(
    study: str, participants: int, choices: pd.DataFrame, value_3: FloatArray, replicate_B3: FloatArray
) -> Diagnosis:
    columns = [(float(value_3.sum()), replicate_B3.sum(1)), *zip(value_3.tolist(), replicate_B3.T, strict=True)]
    estimates = [Estimate(value, *percentile_interval(values_B)) for value, values_B in columns]
    accuracy_base, accuracy_post = (
        float(choices.groupby("study")[f"greedy_correct_{model}"].mean().mean()) for model in ("base", "post")
    )
    difference, calibration, form, preference = estimates
    return Diagnosis(
        study, participants, len(choices), difference, calibration, form, preference, accuracy_base, accuracy_post
    )


def verdict(base: str, post: str, row: Diagnosis) -> str:
    """A row in a sentence: how much worse, and by which parts."""
    parts = ", ".join(f"{name} {_in_words(getattr(row, name))}" for name in PARTS)
    return (
        f"{row.study}: {post} against {base}, {_in_words(row.difference)} nats per choice (positive: worse), "
        f"of which {parts}"
    )


def _in_words(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def diagnosis_table(rows: Sequence[Diagnosis]) -> pd.DataFrame:
    """``rows`` with a column for each value and each end of its interval, in nats."""
    return pd.DataFrame(
        [
            {"study": row.study, "participants": row.participants, "responses": row.responses}
            | {
                f"{name}{end}": getattr(getattr(row, name), field)
                for name in ("difference", *PARTS)
                for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
            | {"accuracy_base": row.accuracy_base, "accuracy_post": row.accuracy_post}
            for row in rows
        ]
    )
