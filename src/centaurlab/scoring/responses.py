"""What a model says of the response tokens of a session into a row per response, checked to be numbers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from centaurlab.prompts.encoding import Encoding
from centaurlab.results.table import TEMPERATURES, ResponseScores
from centaurlab.scoring.option_trees import Branching
from centaurlab.scoring.options import ResponseOptions
from centaurlab.scoring.token_statistics import TokenStatistics


class SessionError(ValueError):
    """A session that cannot be scored, while others may be: says which response or how much memory, and a remedy."""


class NonFiniteError(SessionError):
    """The model gave a NaN or infinite number for a response."""


def response_positions(encoding: Encoding) -> npt.NDArray[np.int64]:
    """Places of the response tokens of a session."""
    return np.concatenate([np.arange(s, e) for s, e in zip(encoding.start_R, encoding.end_R, strict=True)])


def no_scores() -> ResponseScores:
    """Those of a session without responses."""
    ints, floats = np.empty(0, np.int32), np.empty(0, np.float32)
    by_temperature = np.empty((0, len(TEMPERATURES)), np.float32)
    return ResponseScores(
        *(ints, ints, floats, np.empty(0, np.int8), floats, by_temperature),
        *(ints, floats, by_temperature, np.empty(0, np.int64)),
    )


def per_response(
    encoding: Encoding,
    tokens: TokenStatistics,
    options: ResponseOptions,
    long: Sequence[Branching] = (),
    share_RC: npt.NDArray[np.float64] | float = np.nan,
    whole: bool = True,
) -> ResponseScores:
    """The scores of a session whose response tokens have these statistics; ``NonFiniteError`` where one is no number.

    ``share_RC``: -log of the answer's share among its options, of the responses in ``long``. ``whole``: False where
    entropies and what temperatures would make of NLLs are not known (NaN), as an engine that keeps its logits says.
    """
    n_tokens_R = encoding.end_R - encoding.start_R
    first_R = np.concatenate([[0], np.cumsum(n_tokens_R)[:-1]])
    nll_R = np.add.reduceat(-tokens.log_probability_N.astype(np.float64), first_R)
    nll_RK = np.add.reduceat(tokens.nll_NK.astype(np.float64), first_R, axis=0)
    is_short_R: npt.NDArray[np.bool_] = np.asarray(options.is_option_RO.any(axis=1))
    long_R1K = np.column_stack([nll_R, nll_RK]) - share_RC
    option_nll_R1K = np.where(is_short_R[:, None], tokens.option_nll_N1K[first_R], long_R1K).astype(np.float32)
    scores = ResponseScores(
        response_R=encoding.response_R,
        n_tokens_R=n_tokens_R.astype(np.int32),
        nll_R=nll_R.astype(np.float32),
        greedy_correct_R=np.where(n_tokens_R == 1, tokens.greedy_N[first_R], -1).astype(np.int8),
        entropy_R=tokens.entropy_N[first_R].astype(np.float32),
        nll_RK=nll_RK.astype(np.float32),
        n_options_R=options.n_options_R,
        option_nll_R=option_nll_R1K[:, 0],
        option_nll_RK=option_nll_R1K[:, 1:],
        item_R=np.zeros(len(first_R), np.int64),
    )
    is_long_R = np.isin(np.arange(len(first_R)), [branching.r for branching in long])
    _check_finite(encoding, scores, is_short_R | is_long_R, whole)
    return scores


def _check_finite(
    encoding: Encoding, scores: ResponseScores, has_options_R: npt.NDArray[np.bool_], whole: bool
) -> None:
    """An infinite logit of another token shows in the entropy, where the response's own NLL is finite."""
    columns, options_RK = {"NLL": scores.nll_R}, scores.option_nll_R[:, None]
    if whole:
        columns |= {"entropy": scores.entropy_R, "NLL at another temperature": scores.nll_RK}
        options_RK = np.column_stack([scores.option_nll_R, scores.option_nll_RK])
    columns |= {"NLL of its options": np.where(has_options_R[:, None], options_RK, np.float32(0))}
    for name, column in columns.items():
        bad_R = np.flatnonzero(~np.isfinite(column.reshape(len(column), -1)).all(axis=1))
        if len(bad_R):
            r = bad_R[0]
            raise NonFiniteError(
                f"response {encoding.response_R[r]} (tokens {encoding.start_R[r]} to {encoding.end_R[r]}) has a NaN or "
                f"infinite {name}; try --dtype float32"
            )
