"""Group Bayesian model selection against integrals and draws that are made without it."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln, logsumexp
from scipy.stats import beta

from centaurlab.stats.estimate import FloatArray
from centaurlab.stats.selection import exceedance, select


def evidences(seed: int, n_people: int, n_models: int, gain: float = 1.0, share: float = 0.5) -> FloatArray:
    """The first model is better for a ``share`` of the people."""
    draw = np.random.default_rng(seed)
    log_NK = draw.normal(-20, 1, (n_people, n_models))
    log_NK[: round(share * n_people), 0] += gain
    return log_NK


@pytest.mark.parametrize("alpha", [(3.0, 7.5), (1.2, 1.0), (40.0, 4.0), (11.8, 2.2)])
def test_of_two_models_the_exceedance_is_that_of_the_beta_distribution(alpha: tuple[float, float]) -> None:
    assert exceedance(np.array(alpha)) == pytest.approx([beta.sf(0.5, *alpha), beta.cdf(0.5, *alpha)], abs=1e-9)


@pytest.mark.parametrize(
    ("data", "frequency_K", "exceedance_K", "risk"),
    [
        ((4, 12, 3, 2.0, 0.7), (0.803677, 0.111807, 0.084516), (0.998610, 0.000960, 0.000430), 0.069431),
        (
            (5, 25, 5, 1.0, 0.4),
            (0.492562, 0.125310, 0.097018, 0.179589, 0.105521),
            (0.980363, 0.002958, 0.001024, 0.014213, 0.001441),
            0.870370,
        ),
        ((6, 8, 2, 0.3, 0.5), (0.212988, 0.787012), (0.024650, 0.975350), 0.537927),
    ],
)
def test_what_is_found_is_what_groupbmc_finds(
    data: tuple[int, int, int, float, float], frequency_K: list[float], exceedance_K: list[float], risk: float
) -> None:
    """groupBMC 1.0 from PyPI, after L. Rigoux's VBA toolbox, with ``evidences`` above:

        L = evidences(*data); n, k = L.shape
        g = GroupBMC(L.T, α_0=np.ones(k), max_iter=10_000, tolerance=1e-14)
        r = g.get_result(); print(r.frequency_mean, r.exceedance_probability)
        print(1 / (1 + np.exp(g.F1() - (g.F0() - n * np.log(k)))))

    Its ``F0`` takes α_0 for the probabilities of the null hypothesis, which ones are k times of.
    """
    found = select("abcde"[: data[2]], evidences(*data))
    assert found.frequency_K == pytest.approx(frequency_K, abs=2e-6)
    assert found.exceedance_K == pytest.approx(exceedance_K, abs=2e-6)
    assert found.omnibus_risk == pytest.approx(risk, abs=2e-6)
    assert found.protected_K == pytest.approx((1 - risk) * np.array(exceedance_K) + risk / data[2], abs=2e-6)


def test_of_five_models_the_exceedance_is_that_of_draws() -> None:
    alpha = np.array([4.0, 6.0, 1.0, 2.5, 5.5])
    drawn = np.random.default_rng(0).dirichlet(alpha, 200_000).argmax(axis=1)
    assert exceedance(alpha) == pytest.approx(np.bincount(drawn, minlength=5) / 200_000, abs=4e-3)


@pytest.mark.parametrize(("seed", "n_people", "gain"), [(0, 12, 0.5), (1, 20, 3.0), (2, 30, 0.0), (3, 8, 1.5)])
def test_the_omnibus_risk_is_that_of_integrating_over_all_shares(seed: int, n_people: int, gain: float) -> None:
    """Two models: the evidence of differing people is an integral over one share; the variational one is a bound."""
    log_NK = evidences(seed, n_people, 2, gain, share=0.9)
    relative_NK = log_NK - log_NK.max(axis=1, keepdims=True)
    differing = np.log(quad(lambda r: np.prod(np.exp(relative_NK) @ np.array([r, 1 - r])), 0, 1, epsrel=1e-10)[0])
    alike = (logsumexp(relative_NK, axis=1) - np.log(2)).sum()
    exact = 1 / (1 + np.exp(differing - alike))
    assert exact <= select(["a", "b"], log_NK).omnibus_risk <= exact + 0.2


def test_where_each_person_is_certain_all_is_in_closed_form() -> None:
    """9, 2 and 1 people follow three models beyond doubt: counts, and the evidence of a Dirichlet–multinomial."""
    log_NK = np.full((12, 3), -1000.0)
    log_NK[np.arange(12), [0] * 9 + [1] * 2 + [2]] = 0
    found = select("abc", log_NK)
    assert found.alpha_K == pytest.approx([10, 3, 2])
    assert found.frequency_K == pytest.approx(np.array([10, 3, 2]) / 15)
    differing = gammaln(3) + gammaln([10, 3, 2]).sum() - gammaln(15)
    assert found.omnibus_risk == pytest.approx(1 / (1 + np.exp(differing + 12 * np.log(3))))
    assert found.protected_K.sum() == pytest.approx(1)


def test_of_models_that_say_the_same_none_is_the_most_frequent() -> None:
    found = select("abc", np.full((10, 3), -50.0))
    assert found.protected_K == pytest.approx(1 / 3)
    assert found.omnibus_risk > 0.5


def test_a_model_that_most_people_follow_is_found_and_one_person_far_off_does_not_decide() -> None:
    log_NK = evidences(3, 20, 3, gain=4.0, share=0.8)
    log_NK[-1, 2] += 500  # the sum over people would choose the third
    found = select("abc", log_NK)
    assert log_NK.sum(axis=0).argmax() == 2
    assert found.protected_K[0] > 0.95
