"""Randomness that belongs to an answer: who gave it and in which run, never what was computed beside it or before.

Each answer has a generator of its own, keyed by seed, session, replicate and number, so that the size of a batch, the
number of processes and a run that was broken off and continued change no draw.
"""

import hashlib
import json

import numpy as np
import numpy.typing as npt

from centaurlab.data.transcripts import SessionKey

# O: options of an answer, V: vocabulary, N: any number of weights.
_STRETCH = 512


def generator_of(seed: int, key: SessionKey, replicate: int, number: int | str) -> np.random.Generator:
    """The generator of answer ``number`` (from 0) of a simulated session, or of what happens in it, by a name.

    References
    ----------
    Philox, a counter-based generator whose streams are told apart by their key: Salmon et al. 2011,
    doi:10.1145/2063384.2063405.
    """
    return _keyed(seed, key.study, key.experiment, key.participant, replicate, number)


def shared_generator_of(seed: int, study: str) -> np.random.Generator:
    """The generator of what all sessions of a study have in common."""
    return _keyed(seed, study)


def _keyed(*of_what: int | str) -> np.random.Generator:
    named = json.dumps(of_what)
    digest = hashlib.sha256(named.encode("utf-8", "surrogatepass")).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def draw(log_weight_O: npt.NDArray[np.float64], uniform: float) -> tuple[int, float]:
    """Draw by the inverse distribution function: which, and its log-probability in nats.

    Parameters
    ----------
    log_weight_O
        Logarithm of the weight of each, up to a constant; −inf: never drawn.
    uniform
        A draw from [0, 1).
    """
    weight_O = np.exp(log_weight_O - log_weight_O.max())
    sum_O = weight_O.cumsum()
    drawn = int(np.searchsorted(sum_O, uniform * sum_O[-1], side="right"))
    drawn = min(drawn, int(np.flatnonzero(weight_O)[-1]))
    return drawn, float(np.log(weight_O[drawn] / sum_O[-1]))


def draw_token(log_weight_V: npt.NDArray[np.floating], generator: np.random.Generator) -> tuple[int, float, float]:
    """Draw a stretch of the vocabulary, then a token of it, each by a race of as many exponential variables.

    Which, its log-probability, and log Σ of all weights, in nats. The last bits of a matrix product change the winner
    of a race where two are as good as equal. Inverting a distribution function of 260,000 steps, they would change it
    wherever steps are smaller than they are.

    References
    ----------
    The least of exponential variables of rates w is i with probability w_i / Σ w; in logarithms, the Gumbel-max trick:
    Maddison et al. 2014, arXiv:1411.0030, section 2.
    """
    top = log_weight_V.max()
    weight_V = log_weight_V - top
    np.exp(weight_V, out=weight_V)
    sums = np.add.reduceat(weight_V, np.arange(0, len(weight_V), _STRETCH), dtype=np.float64)
    first = _win(sums, generator) * _STRETCH
    drawn = first + _win(weight_V[first : first + _STRETCH], generator)
    log_total = float(top + np.log(sums.sum()))
    return drawn, float(log_weight_V[drawn]) - log_total, log_total


def _win(weight_N: npt.NDArray[np.floating], generator: np.random.Generator) -> int:
    with np.errstate(divide="ignore"):
        return int(np.argmin(generator.standard_exponential(len(weight_N)) / weight_N))
