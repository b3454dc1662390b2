"""Tokens are drawn as often as they are likely, over stretches of the vocabulary too."""

import numpy as np
import pytest
from scipy import stats

from centaurlab.simulation.draws import draw_token


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    rng = np.random.default_rng(0)
    p_V = rng.dirichlet(np.full(1_300, 0.05))  # two whole stretches and a part of one; most tokens have next to nothing
    log_weight_V = np.log(p_V + 1e-300) + 2.5
    log_weight_V[p_V.argmax()] = -np.inf
    p_V[p_V.argmax()] = 0
    found = [draw_token(log_weight_V, np.random.Generator(np.random.Philox(key=n))) for n in range(4_000)]
    p_V /= p_V.sum()
    group_V = np.minimum((p_V[np.argsort(-p_V)].cumsum() * 20).astype(int), 19)[np.argsort(np.argsort(-p_V))]
    counts = np.bincount(group_V[[token for token, _, _ in found]], minlength=20)
    assert stats.chisquare(counts, np.bincount(group_V, p_V) * len(found)).pvalue > 0.001
    for token, log_p, log_total in found[:20]:
        assert log_p == pytest.approx(np.log(p_V[token]))
        assert log_total == pytest.approx(np.logaddexp.reduce(log_weight_V))
