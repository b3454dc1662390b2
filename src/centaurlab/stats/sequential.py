"""Score people until the mean is known well enough: rounds of participants, and an interval for every round.

A round holds the first so many participants of every study, in the seeded order of ``splits``. After each, the mean
over studies gets an interval, and scoring stops at the first whose half-width is at most the target.

**Why not the usual interval.** Whoever looks after every round and stops when the interval is narrow stops too early:
when the spread happens to be underestimated, which for NLLs (long tail to the right) is also when the mean is. In
``tests/test_precision.py`` such 95 % intervals hold the truth in 79 to 89 % of data sets. The intervals here are a
confidence sequence: with 95 % probability they hold the truth in all rounds at once, so in the last one too, whatever
made it the last: the target, the end of the data, or somebody's patience.

**What varies.** Participants of a study are exchangeable, as their order is random; the studies are those given. An
interval is about people like these in these studies. The bootstrap of ``bootstrap.py`` draws studies as well and
answers another question, what other studies would have given; no number of participants makes that interval
narrower than the spread of the studies, so it cannot say when there are enough of them.

**The sequence.** A study's NLL or d is, up to terms that vanish, a mean over its n participants, with variance
v_s / n; the mean over S studies has variance V = Σ v_s / n_s / S². The variance of a mean is also its covariance with
every earlier one, so that over rounds the error is a Brownian motion in the information I = 1 / V, divided by I
(Jennison & Turnbull 2000, Group Sequential Methods, section 3.1), however participants are spread over studies. For a
Brownian motion Robbins' normal mixture (1970, doi:10.1214/aoms/1177696786) says that with probability 1 - α

    |error| < √((I + m) log((I + m) / (m α²))) / I    for all I > 0,

and with estimated variances this holds asymptotically (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Annals of
Statistics 52, arXiv:2103.06476, Theorem 2.2, and Proposition 2.5 for unequal variances). m > 0 is free; we take the
one by which the target is reached with the least information, as these authors do: m = I / k at that information, with
k = -2 log α + log(1 - 2 log α). The price: 2.4 times the participants that would do if their number had been fixed
in advance by somebody who knew the variances.

"Asymptotically" is helped in two ways. No interval is computed before ``FIRST_ROUND`` participants of every study (all,
where there are fewer). And its quantile is that of Student's t with the same tail as the normal's (Pocock 1977,
doi:10.1093/biomet/64.2.191), with Satterthwaite's (1946, doi:10.2307/3002019) degrees of freedom. Variances are
jackknifed over participants, which errs on the wide side (Efron & Stein 1981, doi:10.1214/aos/1176345462). Simulated
coverage was then 97 to 99 % over four studies, and 94 to 97 % of one alone whose people's NLLs are log-normal, σ = 1.

Shapes: P participants of a study.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from centaurlab.data.transcripts import SessionKey
from centaurlab.runtime.errors import UserError
from centaurlab.stats.estimate import CONFIDENCE, FloatArray
from centaurlab.stats.words import LEVEL, plus_minus

if TYPE_CHECKING:
    from centaurlab.results.table import ResponseScores


FIRST_ROUND = 10
"""Participants of every study before the first interval."""
GROWTH = 1.25
"""Participants per study in a round, relative to the round before."""

_LOG = -2 * math.log(1 - CONFIDENCE)
_K = _LOG + math.log(1 + _LOG)
_AT_TARGET = math.sqrt((1 + 1 / _K) * (math.log(1 + _K) + _LOG))
"""Half-width in standard errors at the information that just reaches the target: 3.03."""

_RULE = (
    f"{LEVEL} confidence sequence: Robbins' normal mixture with estimated variances (arXiv:2103.06476, "
    f"Theorem 2.2), in rounds of participants from {FIRST_ROUND} per study, each {GROWTH:g} times the one before"
)
_COVERS = (
    "the mean over these studies for people like their participants, whenever scoring stopped; other studies are not "
    "considered"
)


@dataclass(frozen=True)
class StudyEstimate:
    """A study's value (NLL or d) and its sampling variance over P participants; NaN where not defined."""

    study: str
    value: float
    variance: float
    n_participants: int


@dataclass(frozen=True)
class Look:
    """The mean over the ``n_studies`` of which it is defined, after a round; ``half_width`` of its interval."""

    participants_per_study: int
    sessions: int
    value: float
    half_width: float
    n_studies: int
    studies_left_out: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """What was scored of ``of_sessions``, why no more, and what is known by it."""

    quantity: str
    target: float
    seed: int
    of_sessions: int
    looks: tuple[Look, ...]

    @property
    def last(self) -> Look:
        """The mean and interval that the run ended with."""
        return self.looks[-1]

    @property
    def is_reached(self) -> bool:
        """Whether the interval is as narrow as was asked; otherwise every session is scored."""
        return self.last.half_width <= self.target

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``."""
        last = self.last
        return {
            "rule": _RULE,
            "covers": _COVERS,
            "quantity": self.quantity,
            "target": self.target,
            "reached": self.is_reached,
            "value": last.value,
            "half_width": last.half_width,
            "low": last.value - last.half_width,
            "high": last.value + last.half_width,
            "confidence": CONFIDENCE,
            "studies": last.n_studies,
            "studies_left_out": last.studies_left_out,
            "sessions": last.sessions,
            "of_sessions": self.of_sessions,
            "seed": self.seed,
            "rounds": [
                {name: value for name, value in asdict(look).items() if name != "studies_left_out"}
                for look in self.looks
            ],
        }


def check_target(target: float) -> None:
    """Raise ``UserError`` for a half-width that cannot be aimed at."""
    if not 0 < target < math.inf:
        raise UserError(f"--precision is {target}; it is the half-width of an interval, and must be above 0")


def jackknife(study: str, value: float, without_P: FloatArray) -> StudyEstimate:
    """A study's estimate from its ``value`` and the values without each of its participants in turn.

    variance = (P - 1) / P Σ (without_p - mean of these)², Efron & Stein 1981, eq. 1.3; NaN for one participant.
    """
    n = len(without_P)
    variance = (n - 1) / n * float(np.square(without_P - without_P.mean()).sum()) if n > 1 else math.nan
    return StudyEstimate(study, value, variance, n)


def nll_estimates(
    results: Iterable[tuple[SessionKey, "ResponseScores"]], person_of: Callable[[SessionKey], Hashable]
) -> list[StudyEstimate]:
    """Each study's NLL, the mean over its responses, from its sessions' scores; those without scores do not count.

    ``person_of`` says whose session it is.
    """
    people: dict[str, dict[Hashable, tuple[int, float]]] = defaultdict(dict)
    for key, scores in results:
        if len(scores.nll_R):
            n, total = people[key.study].get(person_of(key), (0, 0.0))
            known = n + len(scores.nll_R), total + float(scores.nll_R.sum(dtype=np.float64))
            people[key.study][person_of(key)] = known
    estimates = []
    for study, sums in sorted(people.items()):
        estimates.append(nll_estimate(study, *np.array(list(sums.values()), np.float64).T))
    return estimates


def nll_estimate(study: str, n_P: FloatArray, nll_P: FloatArray, offset: float = 0.0) -> StudyEstimate:
    """A study's NLL from its participants' numbers of responses and summed NLLs, each response's less ``offset``."""
    left_P = n_P.sum() - n_P
    without_P = np.divide(nll_P.sum() - nll_P, left_P, out=np.full_like(n_P, np.nan), where=left_P > 0)
    return jackknife(study, offset + float(nll_P.sum() / n_P.sum()), offset + without_P)


def half_width(estimates: Sequence[StudyEstimate], target: float) -> float:
    """Half the width of the interval of the mean over studies, all of whose estimates are defined.

    Narrowest, in information, where it is ``target``; infinite without studies.
    """
    from scipy import stats  # here: it takes a second to import, which every --help would wait for

    if not estimates:
        return math.inf
    variances = np.array([estimate.variance for estimate in estimates])
    degrees = np.array([estimate.n_participants - 1 for estimate in estimates])
    error = math.sqrt(variances.sum()) / len(estimates)
    if error == 0:
        return 0.0
    degrees_of_sum = variances.sum() ** 2 / (variances**2 / degrees).sum()
    information = _K * (target / (_AT_TARGET * error)) ** 2  # in units of m
    quantile = math.sqrt((1 + 1 / information) * (math.log1p(information) + _LOG))
    return float(stats.t.isf(stats.norm.sf(quantile), degrees_of_sum)) * error


def sample_until(
    target: float,
    quantity: str,
    order: Mapping[str, Sequence[tuple[SessionKey, ...]]],
    seed: int,
    score: Callable[[frozenset[SessionKey], str], Sequence[StudyEstimate]],
    report: Callable[[str, int, Look], None],
) -> Sample:
    """Score rounds of the people of ``order`` until the interval's half-width is at most ``target``.

    ``order``: by study, the sessions of each person. ``score`` gets the sessions of all rounds so far and a title of
    this one, and gives each study's estimate over them; ``report`` is told each look, first in words.
    """
    of_sessions = sum(len(person) for people in order.values() for person in people)
    looks: list[Look] = []
    for number, n in enumerate(_rounds(max(map(len, order.values()))), start=1):
        sessions = frozenset(key for people in order.values() for person in people[:n] for key in person)
        width = f", {plus_minus(looks[-1].value, looks[-1].half_width)} so far" if looks else ""
        estimates = score(sessions, f"round {number}{width}, target {target:g}")
        looks.append(_look(n, len(sessions), list(order), estimates, target))
        report(f"round {number}: {_in_words(quantity, looks[-1], of_sessions)}, target {target:g}", number, looks[-1])
        if looks[-1].half_width <= target:
            break
    return Sample(quantity, target, seed, of_sessions, tuple(looks))


def sample_note(about: Mapping[str, Any]) -> str | None:
    """In a sentence, that a run is a sample and what is known by it, from its ``run.json``; None where it is none."""
    sample = about.get("sample")
    if not sample:
        return None
    studies = f"{sample['studies']} {'studies' if sample['studies'] != 1 else 'study'}"
    known = (
        f"no interval of {sample['quantity']}, which needs two participants or more in some study, of several responses"
    )
    if sample["studies"]:
        known = f"no interval of {sample['quantity']}: the target is far below what these data can give"
    if sample["half_width"] is not None:
        known = f"{sample['quantity']} over {studies} {plus_minus(sample['value'], sample['half_width'])}"
    ended = f"target {sample['target']:g}"
    if not sample["reached"]:
        ended += " not reached, as there is nobody left to score"
    left_out = ", ".join(sample["studies_left_out"])
    return (
        f"{sample['sessions']:,} of {sample['of_sessions']:,} sessions scored; {known} ({ended}); with "
        f"{LEVEL} confidence, {sample['covers']}{f'; without {left_out}' if left_out else ''}"
    )


def _rounds(largest: int) -> Iterator[int]:
    """Participants per study: ``FIRST_ROUND`` or all, then each ``GROWTH`` times the one before, up to all."""
    n = min(FIRST_ROUND, largest)
    yield n
    while n < largest:
        n = min(math.ceil(n * GROWTH), largest)
        yield n


def _look(n: int, n_sessions: int, studies: list[str], estimates: Sequence[StudyEstimate], target: float) -> Look:
    defined = [e for e in estimates if math.isfinite(e.value) and math.isfinite(e.variance)]
    value = sum(e.value for e in defined) / len(defined) if defined else math.nan
    left_out = sorted(set(studies) - {e.study for e in defined})
    return Look(n, n_sessions, value, half_width(defined, target), len(defined), tuple(left_out))


def _in_words(quantity: str, look: Look, of_sessions: int) -> str:
    people = f"{look.participants_per_study} participants per study, {look.sessions:,} of {of_sessions:,} sessions"
    return f"{people}: {quantity} {plus_minus(look.value, look.half_width)}"
