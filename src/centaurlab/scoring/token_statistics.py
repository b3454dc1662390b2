"""Logits at response positions into log-probabilities, entropies and what temperatures would make of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from centaurlab.prompts.encoding import Ints
from centaurlab.results.table import TEMPERATURES, Floats

CPU_BLOCK_ELEMENTS = 1 << 19  # float32 log-probabilities that stay in a CPU's shared cache
GPU_BLOCK_ELEMENTS = 1 << 26


class TokenStatistics(NamedTuple):
    """What a model says of N response tokens: log-probability, whether likeliest, entropy and NLL at ``TEMPERATURES``.

    ``option_nll_N1K``: -log of the summed probability of the options at temperature 1 and at ``TEMPERATURES``.
    """

    log_probability_N: Floats
    greedy_N: npt.NDArray[np.bool_]
    entropy_N: Floats
    nll_NK: Floats
    option_nll_N1K: Floats

    def part(self, first: int, end: int) -> "TokenStatistics":
        """Those of the tokens from ``first`` to before ``end``."""
        rows = slice(first, end)
        return TokenStatistics(
            *(self.log_probability_N[rows], self.greedy_N[rows], self.entropy_N[rows]),
            *(self.nll_NK[rows], self.option_nll_N1K[rows]),
        )


def token_statistics(
    logits_NV: torch.Tensor,
    targets_N: torch.Tensor,
    options_O: Ints,
    is_option_NO: npt.NDArray[np.bool_] | None = None,
) -> TokenStatistics:
    """Compute the statistics of response tokens from the logits that predict them.

    The log-softmax is float32, whatever the logits' dtype. With l the log-probabilities, the NLL at temperature T is
    log Σ exp(l / T) - l[target] / T, summed over the vocabulary.

    Parameters
    ----------
    logits_NV
        Logits of the next token at N positions, over a vocabulary of V.
    targets_N
        The tokens that were given.
    options_O
        The tokens that responses are a choice among; of none, their NLL is infinite.
    is_option_NO
        Which of them are options at each position; None: all.

    Returns
    -------
    TokenStatistics
        In nats, on the CPU.
    """
    n_rows, n_vocabulary = logits_NV.shape
    device = logits_NV.device
    targets_N = targets_N.to(device)
    elements = CPU_BLOCK_ELEMENTS if device.type == "cpu" else GPU_BLOCK_ELEMENTS
    inverse_temperature_K = 1 / torch.tensor(TEMPERATURES, device=device)
    target_N, maximum_N = (torch.empty(n_rows, device=device) for _ in range(2))
    ids_O = torch.from_numpy(options_O.astype(np.int64)).to(device)
    option_NO = torch.empty(n_rows, len(ids_O), device=device)
    sums_NK1 = torch.empty(n_rows, len(TEMPERATURES) + 1, device=device)
    rows = max(1, elements // n_vocabulary)
    for row in range(0, n_rows, rows):
        block = slice(row, row + rows)
        log_p_BV = logits_NV[block].float().log_softmax(-1)
        target_N[block] = log_p_BV.gather(-1, targets_N[block, None])[:, 0]
        maximum_N[block] = log_p_BV.amax(-1)
        option_NO[block] = log_p_BV[:, ids_O]
        sums_NK1[block] = _temperature_sums(log_p_BV)
    if is_option_NO is not None:
        option_NO.masked_fill_(torch.from_numpy(~is_option_NO).to(device), -torch.inf)
    log_sum_NK = sums_NK1[:, :-1].log()
    nll_NK = log_sum_NK - target_N[:, None] * inverse_temperature_K
    option_nll_NK = log_sum_NK - (option_NO[:, None] * inverse_temperature_K[:, None]).logsumexp(-1)
    option_nll_N1K = torch.cat([-option_NO.logsumexp(-1, keepdim=True), option_nll_NK], dim=1)
    one_each = torch.stack([target_N, (target_N == maximum_N).float(), -sums_NK1[:, -1]], dim=1)
    widths = np.cumsum([1, 1, 1, len(TEMPERATURES)])
    together = torch.cat([one_each, nll_NK, option_nll_N1K], dim=1).cpu().numpy()  # one transfer from the device
    target, greedy, entropy, nll, option_nll = np.split(together, widths, axis=1)
    return TokenStatistics(target[:, 0], greedy[:, 0] == 1, entropy[:, 0], nll, option_nll)


def edge_log_probabilities(
    logits_NV: torch.Tensor, row_E: Sequence[int], token_E: Sequence[int]
) -> npt.NDArray[np.float64]:
    """(E, K + 1) log-probabilities of tokens, each after a row of logits, at temperature 1 and at ``TEMPERATURES``."""
    n_rows, n_vocabulary = logits_NV.shape
    device = logits_NV.device
    elements = CPU_BLOCK_ELEMENTS if device.type == "cpu" else GPU_BLOCK_ELEMENTS
    rows = max(1, elements // n_vocabulary)
    rows_E, tokens_E = torch.tensor(row_E, device=device), torch.tensor(token_E, device=device)
    inverse_temperature_K = 1 / torch.tensor(TEMPERATURES, device=device)
    found_EC = torch.empty(len(row_E), len(TEMPERATURES) + 1, device=device)
    for row in range(0, n_rows, rows):
        log_p_BV = logits_NV[row : row + rows].float().log_softmax(-1)
        log_sum_BK = _temperature_sums(log_p_BV)[:, :-1].log()
        here_E = ((rows_E >= row) & (rows_E < row + rows)).nonzero()[:, 0]
        log_p_E1 = log_p_BV[rows_E[here_E] - row, tokens_E[here_E]][:, None]
        found_EC[here_E] = torch.cat([log_p_E1, log_p_E1 * inverse_temperature_K - log_sum_BK[rows_E[here_E] - row]], 1)
    numbers: npt.NDArray[np.float64] = found_EC.double().cpu().numpy()
    return numbers


def _temperature_sums(log_p_BV: torch.Tensor) -> torch.Tensor:
    """(B, K + 1): sums of exp(l / T) over the vocabulary for each of ``TEMPERATURES``, and of l * exp(l).

    The temperatures are powers of the fourth root of two, so that four exponentials serve all of them: squaring one
    halves its temperature.
    """
    sums = {}
    for hottest in range(5, 9):
        power = log_p_BV / 2 ** (hottest / 4)
        power.exp_()
        for step in range(hottest, -5, -4):
            if step < hottest:
                power = power * power
            if step == 0:
                one = power
            else:
                sums[step] = power.sum(-1)
    columns = [sums[step] for step in range(-4, 9) if step]
    return torch.stack([*columns, torch.linalg.vecdot(one, log_p_BV)], dim=-1)
