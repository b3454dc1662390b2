"""Statistics of tokens equal those in float64."""

import numpy as np
import pytest
import torch

from centaurlab.results.table import TEMPERATURES
from centaurlab.scoring.token_statistics import token_statistics


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n_rows", "n_vocabulary"), [(1, 3), (5, 70_001), (300, 500), (3, 262_144)])
def test_statistics_of_tokens_equal_those_in_float64(n_rows: int, n_vocabulary: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(n_vocabulary)
    logits_NV = (torch.randn(n_rows, n_vocabulary, generator=generator) * 8).to(dtype)
    targets_N = torch.randint(n_vocabulary, (n_rows,), generator=generator)
    targets_N[0] = logits_NV[0].argmax()
    options_O = np.array([0, n_vocabulary - 1], np.int32)
    found = token_statistics(logits_NV, targets_N, options_O)

    exact = logits_NV.double()
    rows = torch.arange(n_rows)
    log_p = exact.log_softmax(-1)
    np.testing.assert_allclose(found.log_probability_N, log_p[rows, targets_N], atol=1e-4)
    np.testing.assert_allclose(found.entropy_N, torch.distributions.Categorical(logits=exact).entropy(), atol=1e-4)
    for k, temperature in enumerate(TEMPERATURES):
        expected = -(exact / temperature).log_softmax(-1)[rows, targets_N]
        np.testing.assert_allclose(found.nll_NK[:, k], expected, atol=1e-4)
        mass = (exact / temperature).softmax(-1)[:, options_O].sum(-1)
        np.testing.assert_allclose(found.option_nll_N1K[:, k + 1], -mass.log(), atol=1e-4)
    np.testing.assert_allclose(found.option_nll_N1K[:, 0], -exact.softmax(-1)[:, options_O].sum(-1).log(), atol=1e-4)
    assert found.greedy_N.tolist() == (exact[rows, targets_N] == exact.amax(-1)).tolist()


def test_extreme_logits_stay_finite() -> None:
    logits_NV = torch.tensor([[200.0, -200.0, 0.0], [-1e4, 1e4, 0.0]])
    found = token_statistics(logits_NV, torch.tensor([1, 1]), np.empty(0, np.int32))
    np.testing.assert_allclose(found.log_probability_N, [-400, 0])
    np.testing.assert_allclose(found.nll_NK[0], [400 / t for t in TEMPERATURES], rtol=1e-6)
    np.testing.assert_allclose(found.entropy_N, [0, 0], atol=1e-6)
