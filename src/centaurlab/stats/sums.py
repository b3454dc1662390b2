"""A study's responses under two models into sums per participant, and totals of these into what is estimated.

A resample of people is a sum of their sums, so that its cost does not depend on the number of responses. Beside the
means, the variances and the mean difference there are

- how often a response is predicted worse by the first model: P(worse), ties by half (Grissom & Kim 2012, Effect Sizes
  for Research, chapter 5), paired, as both models scored the same responses;
- the squares around the means of cells, of an experiment and a kind of answer (one token, or several): ``d_within`` has
  the variance within these in its denominator, where answers of one word and of a sentence are not one population;
- by kind of answer the same sums again, where a study has both kinds;
- what few responses hold: of the difference the 1 % that lost most, of each model's NLL the 5 % with the highest.

Shapes: R responses, P participants, K sums, B resamples, M pairs of models, Q statistics, C cells.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from centaurlab.data.transcripts import SessionKey
from centaurlab.results.joined import CommonResponses, StudyScores, join_scores
from centaurlab.results.run import ScoreRun, check_same, names_apart
from centaurlab.stats.bootstrap import divide, effective_units
from centaurlab.stats.contrast import Contrast
from centaurlab.stats.estimate import NAN, FloatArray, IntArray
from centaurlab.stats.two_way import both_ways, summed

STATISTICS = 5
D, D_PAIRED, DIFFERENCE, WORSE, D_WITHIN = range(STATISTICS)
"""The order of statistics along Q."""

ONE_TOKEN, LONGER = "one token", "longer"
KINDS = (ONE_TOKEN, LONGER)
"""Kinds of answers, by how many tokens they have for the models; several where it is several for one of the two."""

LOST_MOST = 20
"""So many responses are named."""

RECURRING = 0.2
"""Of a study's items, met by two people or more: from here on intervals over items are given."""

_ROUNDING = 1e-12  # relative; what remains of equal numbers after float64 sums
_TOP_DIFFERENCE, _TOP_NLL = 0.01, 0.05


@dataclass(frozen=True)
class Lost:
    """A response and what the first model loses on it against the second, in nats."""

    session: SessionKey
    response: int
    nll_first: float
    nll_second: float

    @property
    def difference(self) -> float:
        """How much worse the first model predicts it."""
        return self.nll_first - self.nll_second


def _no_rows() -> FloatArray:
    return np.empty((0, 2))


@dataclass(frozen=True)
class ItemErrors:
    """How d and the difference of NLLs vary over new people and new items, by what each contributes to the two.

    ``share``: how many of the items were met by two people or more. Only where they are at least ``RECURRING``:
    ``of_person_P2`` and ``of_item_I2``, the contributions of each person and of each item, whose number is ``item_I``;
    ``both_2``, the variances clustered by both at once; ``freedom``, of the interval.
    """

    share: float
    of_person_P2: FloatArray = field(default_factory=_no_rows)
    item_I: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    of_item_I2: FloatArray = field(default_factory=_no_rows)
    both_2: FloatArray = field(default_factory=_no_rows)
    freedom: float = NAN


@dataclass(frozen=True)
class StudySums:
    """What the effects of a study need to know of each of its P participants, whatever the number of responses.

    ``sums_PK``: number of responses, Σ second, Σ second², Σ first, Σ first², 1, difference of the means, its square,
    responses that the first predicts worse, and Σ second² and Σ first² around the means of the ``n_cells`` cells. The
    others are measured from the study's means, which keeps the precision of the variances and moves none of them.
    ``by_kind``: the same of single-token and of longer answers, where there are both. ``chance``: the mean NLL where
    all options are equally likely, over the ``n_with_options`` responses that have options. ``top_difference``: the sum
    of the differences of the 1 % of responses that lost most; ``tail_first`` and ``tail_second``: the share of the
    NLL's sum that the 5 % with the highest hold. ``lost``: the responses that lost most. ``cut_alike``: the same where
    every session ends before the first response that one side lacks in any; None where both sides have the same.
    """

    study: str
    participant_P: IntArray
    sums_PK: FloatArray
    mean_first: float
    mean_second: float
    mean_difference: float
    unmatched_first: int
    unmatched_second: int
    n_cells: int = 1
    by_kind: Mapping[str, "StudySums"] = field(default_factory=dict)
    chance: float = NAN
    n_with_options: int = 0
    top_difference: float = NAN
    tail_first: float = NAN
    tail_second: float = NAN
    lost: tuple[Lost, ...] = ()
    items: ItemErrors | None = None
    cut_alike: "StudySums | None" = None


@dataclass(frozen=True)
class ComparedPair:
    """Two sides compared on the same responses; ``post_training`` and ``family`` group pairs, '' in no group.

    ``name`` tells a pair from others, where the name of its first side does not (''). ``base`` tells the second side
    from those of other pairs: pairs that share it are not independent.
    """

    contrast: Contrast
    studies: Sequence[StudySums]
    post_training: str = ""
    family: str = ""
    name: str = ""
    base: str = ""


def sum_study(scores: StudyScores) -> StudySums:
    """Reduce a study's responses to sums per participant; the second side is what ``StudyScores`` calls the base."""
    summed = _sums(scores, _cells(scores))
    if scores.details is None:
        return summed
    if scores.first_unmatched is not None and len(scores.participant_R):
        early = np.flatnonzero(scores.details.response_R < scores.first_unmatched)
        summed = replace(summed, cut_alike=_sums(part := scores.chosen(early, scores.study), _cells(part)))
    is_long_R = scores.details.is_long_R
    kinds = {ONE_TOKEN: np.flatnonzero(~is_long_R), LONGER: np.flatnonzero(is_long_R)}
    if all(len(rows) for rows in kinds.values()):
        of_kind = {name: scores.chosen(rows, f"{scores.study}: {name}") for name, rows in kinds.items()}
        summed = replace(summed, by_kind={name: _sums(part, _cells(part)) for name, part in of_kind.items()})
    return summed


def compare(
    first: ScoreRun,
    second: ScoreRun,
    post_training: str = "",
    family: str = "",
    among: CommonResponses | None = None,
) -> ComparedPair:
    """Two score runs as a pair, whose effects are first − second; ``among``: over these responses alone.

    Raises
    ------
    UserError
        Where they cannot be compared (``check_same``, ``join_scores``).
    """
    check_same([second, first])
    joined = join_scores(second.folder, first.folder)
    studies = [sum_study(among.of_study(scores) if among else scores) for scores in joined]
    base = second.fingerprint or second.model
    return ComparedPair(Contrast(*names_apart(first, second)), studies, post_training, family, base=base)


def leave_one_out(sums: StudySums) -> tuple[float, FloatArray]:
    """d of a study, and d (P,) without each of its participants in turn; NaN where not defined."""
    total_1K = sums.sums_PK.sum(axis=0, keepdims=True)
    d_B = statistics_of([sums], np.concatenate([total_1K, total_1K - sums.sums_PK])[:, None])[D, 0]
    return float(d_B[0]), d_B[1:]


def statistics_of(found: Sequence[StudySums], totals_BMK: FloatArray) -> FloatArray:
    """d, d_paired, difference of NLLs, P(worse) and d_within (Q, M, B) of each pair, from the totals of B resamples."""
    values = np.empty((STATISTICS, len(found), len(totals_BMK)))
    for m, sums in enumerate(found):
        n_B, second_B, second2_B, first_B, first2_B, people_B, difference_B, difference2_B = totals_BMK[:, m, :8].T
        worse_B, second_within_B, first_within_B = totals_BMK[:, m, 8:].T
        variance_B = (_variance(n_B, second_B, second2_B) + _variance(n_B, first_B, first2_B)) / 2
        values[DIFFERENCE, m] = divide(first_B - second_B, n_B) + sums.mean_first - sums.mean_second
        values[D, m] = divide(values[DIFFERENCE, m], np.sqrt(variance_B))
        paired_B = divide(difference_B, people_B) + sums.mean_difference
        values[D_PAIRED, m] = divide(paired_B, np.sqrt(_variance(people_B, difference_B, difference2_B)))
        values[WORSE, m] = divide(worse_B, n_B)
        freedom_B = n_B - sums.n_cells
        squares_B = np.where(freedom_B > 0, second_within_B + first_within_B, NAN)
        within_B = divide(squares_B, 2 * np.maximum(freedom_B, 1))
        values[D_WITHIN, m] = divide(values[DIFFERENCE, m], np.sqrt(within_B))
    return values


def empty_study(study: str) -> StudySums:
    """A study of which a pair has nothing."""
    nothing = np.empty(0, np.float32)
    return sum_study(StudyScores(study, np.empty(0, np.int64), nothing, nothing))


def _cells(scores: StudyScores) -> IntArray:
    """(R,) number of each response's cell, an experiment and a kind of answer."""
    details = scores.details
    if details is None or not len(scores.participant_R):
        return np.zeros(len(scores.participant_R), np.int64)
    own, own_R = np.unique(details.session_R, return_inverse=True)
    names = [details.sessions[session].experiment for session in own]
    number_of = {name: number for number, name in enumerate(dict.fromkeys(names))}
    experiment_of = np.array([number_of[name] for name in names], np.int64)
    _, cell_R = np.unique(2 * experiment_of[own_R] + details.is_long_R, return_inverse=True)
    return cell_R.astype(np.int64)


def _sums(scores: StudyScores, cell_R: IntArray) -> StudySums:
    participant_P, participant_R = np.unique(scores.participant_R, return_inverse=True)
    n_P = np.bincount(participant_R).astype(np.float64)
    mean_second, second_P, second2_P = _centred_sums(participant_R, scores.nll_base_R)
    mean_first, first_P, first2_P = _centred_sums(participant_R, scores.nll_post_R)
    difference_P = (first_P - second_P) / n_P
    offset = float(difference_P.mean()) if len(n_P) else NAN
    difference_P -= offset
    difference_P[np.abs(difference_P) <= _ROUNDING * (abs(mean_second) + abs(mean_first))] = 0
    columns = [n_P, second_P, second2_P, first_P, first2_P, np.ones_like(n_P), difference_P, difference_P**2]
    columns.append(_worse(participant_R, scores))
    columns += [_squares_within(participant_R, cell_R, nll_R) for nll_R in (scores.nll_base_R, scores.nll_post_R)]
    found = StudySums(
        study=scores.study,
        participant_P=participant_P,
        sums_PK=np.stack(columns, axis=1),
        mean_first=mean_first,
        mean_second=mean_second,
        mean_difference=offset + mean_first - mean_second,
        unmatched_first=scores.unmatched_post,
        unmatched_second=scores.unmatched_base,
        n_cells=int(cell_R.max()) + 1 if len(cell_R) else 1,
    )
    return _with_few(found, scores) if len(cell_R) else found


def _with_few(found: StudySums, scores: StudyScores) -> StudySums:
    """What few responses hold, and what would be chance."""
    first_R, second_R = (nll_R.astype(np.float64) for nll_R in (scores.nll_post_R, scores.nll_base_R))
    difference_R = first_R - second_R
    toward_R = difference_R if difference_R.sum() >= 0 else -difference_R
    top_R = np.argpartition(-toward_R, n_top(len(toward_R), _TOP_DIFFERENCE) - 1)
    top = float(difference_R[top_R[: n_top(len(toward_R), _TOP_DIFFERENCE)]].sum())
    found = replace(found, top_difference=top, tail_first=tail_share(first_R), tail_second=tail_share(second_R))
    details = scores.details
    if details is None:
        return found
    most = np.argsort(-difference_R, kind="stable")[:LOST_MOST]
    lost = [
        Lost(
            *(details.sessions[details.session_R[r]], int(details.response_R[r])), float(first_R[r]), float(second_R[r])
        )
        for r in most
        if difference_R[r] > 0
    ]
    found = replace(found, items=_items(scores, details.item_R, first_R, second_R))
    options_R = details.n_options_R[details.n_options_R > 0]
    chance = float(np.log(options_R).mean()) if len(options_R) else NAN
    return replace(found, lost=tuple(lost), chance=chance, n_with_options=len(options_R))


def _items(scores: StudyScores, item_R: IntArray, first_R: FloatArray, second_R: FloatArray) -> ItemErrors | None:
    """What people and items contribute to the estimates (the delta method), and the variance by both at once.

    None where there are no items, or fewer than two people. A response without an item is an item of its own, whose
    number is below zero.
    """
    person_R = np.unique(scores.participant_R, return_inverse=True)[1].astype(np.int64)
    has_item_R, n = item_R != 0, len(item_R)
    if not has_item_R.any() or person_R.max() < 1:
        return None
    item_I, label_R = np.unique(np.where(has_item_R, item_R, -1 - np.arange(n)), return_inverse=True)
    label_R = label_R.astype(np.int64)
    met = np.unique(np.stack([label_R[has_item_R], person_R[has_item_R]]), axis=1)[0]
    share = float((np.unique(met, return_counts=True)[1] > 1).mean())
    if share < RECURRING:
        return ItemErrors(share)
    change_R = first_R - second_R
    difference = float(change_R.mean())
    spread_R = ((first_R - first_R.mean()) ** 2 + (second_R - second_R.mean()) ** 2) / 2
    variance = float(spread_R.mean())
    if variance <= 0 or label_R.max() < 1:
        return None
    of_difference_R = (change_R - difference) / n
    of_d_R = of_difference_R / variance**0.5 - difference / (2 * variance**1.5) * (spread_R - variance) / n
    units = min(effective_units(np.bincount(one).astype(np.float64)) for one in (person_R, label_R))
    of_2R = (of_d_R, of_difference_R)
    of_person_P2, of_item_I2 = (
        np.stack([summed(of_R, labels_R) for of_R in of_2R], axis=1) for labels_R in (person_R, label_R)
    )
    both_2 = np.array([both_ways(of_R, person_R, label_R) for of_R in of_2R])
    return ItemErrors(share, of_person_P2, item_I, of_item_I2, both_2, units - 1)


def n_top(n: int, share: float) -> int:
    """How many responses a share of ``n`` is, at least one."""
    return max(1, math.ceil(share * n))


def tail_share(nll_R: FloatArray) -> float:
    """The share of the NLL's sum that the 5 % of responses with the highest NLL hold; NaN of fewer than 20."""
    total = float(nll_R.sum())
    if not total > 0 or len(nll_R) * _TOP_NLL < 1:
        return NAN
    n = n_top(len(nll_R), _TOP_NLL)
    return float(np.partition(nll_R, len(nll_R) - n)[-n:].sum()) / total


def _worse(participant_R: npt.NDArray[np.intp], scores: StudyScores) -> FloatArray:
    """(P,) responses whose NLL is higher under the first model, ties by half."""
    worse_R = (scores.nll_post_R > scores.nll_base_R) + 0.5 * (scores.nll_post_R == scores.nll_base_R)
    return np.bincount(participant_R, worse_R).astype(np.float64)


def _squares_within(
    participant_R: npt.NDArray[np.intp], cell_R: IntArray, nll_R: npt.NDArray[np.float32]
) -> FloatArray:
    """(P,) sums of squares around the means of cells."""
    exact_R = nll_R.astype(np.float64)
    mean_C = np.bincount(cell_R, exact_R) / np.maximum(np.bincount(cell_R), 1)
    squares_R = (exact_R - mean_C[cell_R]) ** 2 if len(cell_R) else exact_R
    squares_R[squares_R <= _ROUNDING * exact_R**2] = 0
    return np.bincount(participant_R, squares_R).astype(np.float64)


def _centred_sums(
    participant_R: npt.NDArray[np.intp], nll_R: npt.NDArray[np.float32]
) -> tuple[float, FloatArray, FloatArray]:
    """Mean of a study's NLLs; per participant, the sum of their deviations from it and of the squares of these."""
    mean = float(np.mean(nll_R, dtype=np.float64)) if len(nll_R) else NAN
    centred_R = nll_R.astype(np.float64) - mean
    sum_P, squares_P = (np.bincount(participant_R, weights_R) for weights_R in (centred_R, centred_R**2))
    return mean, sum_P.astype(np.float64), squares_P.astype(np.float64)


def _variance(n_B: FloatArray, total_B: FloatArray, squares_B: FloatArray) -> FloatArray:
    """Sample variance (ddof 1) of n numbers from their sum and sum of squares; NaN for fewer than two."""
    deviance_B = squares_B - divide(total_B**2, n_B)
    deviance_B[deviance_B <= _ROUNDING * squares_B] = 0
    return np.divide(deviance_B, n_B - 1, out=np.full_like(n_B, NAN), where=n_B > 1)
