"""The judge against others: exact tests of scipy, the package `ville`, a published mixture in closed form.

`ville` (confidence sequences and e-processes; numpy and scipy only) is a development dependency: its
beta-binomial test is form c with a continuous mixture, its confidence sequence is what `estimate` inverts,
its weighted mean combines gates.

`savvi` is none. Of it only the test of Lindon & Malek (2022) can be compared, an error ratio with a Dirichlet
mixture instead of eight alternatives; for that one line of gamma functions it would bring a convex optimiser
with its solvers (cvxpy, osqp, scs, clarabel, highspy), and importing it needs matplotlib, which it does not
declare. So the line itself stands here, from the paper; savvi 0.3.1 gave the same eight numbers to 1e-12.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import betaln, roots_legendre, xlogy
from scipy.stats import beta, binomtest, fisher_exact

from rollout.judge import combine, error_ratio, estimate, slo

NODES, NODE_WEIGHTS = roots_legendre(4000)
BETWEEN = (NODES + 1) / 2  # nodes on (0, 1)


@pytest.fixture(scope="module")
def ville():
    return pytest.importorskip("ville", reason="a development dependency: pip install ville")


def arr(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def mixed(log_l: np.ndarray, log_density: np.ndarray) -> float:
    """log of the integral of exp(log_l) over a density on (0, 1), at BETWEEN."""
    values = log_l + log_density + np.log(NODE_WEIGHTS / 2)
    return float(values.max() + np.log(np.exp(values - values.max()).sum()))


# ville


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 400), st.floats(0, 1), st.floats(0.02, 0.6))
def test_the_absolute_limit_mixed_over_every_rate_is_villes_beta_binomial_test(ville, n, part, s) -> None:
    x = round(n * part)
    stream = np.r_[np.ones(x), np.zeros(n - x)]
    theirs = ville.BernoulliTest(s, prior=(2.0, 5.0)).fit(stream).log_e_values_[-1]
    ours = mixed(slo.log_rate(arr(n)[:, None], arr(x)[:, None], s, BETWEEN)[0], beta.logpdf(BETWEEN, 2, 5))
    assert ours == pytest.approx(theirs, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.floats(0, 1), st.sampled_from([0.01, 0.05]))
def test_the_interval_of_a_rate_is_villes_confidence_sequence(ville, n, part, alpha) -> None:
    x = round(n * part)
    theirs = ville.BernoulliCS(alpha=alpha, prior=(0.5, 0.5), intersect=False).fit(
        np.r_[np.ones(x), np.zeros(n - x)]
    )
    ours = estimate.rate(n, x, 1.0, alpha)
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.lower_[-1], theirs.upper_[-1]), abs=1e-7)


@given(st.lists(st.tuples(st.floats(-20, 50), st.floats(0.1, 5)), min_size=1, max_size=6))
def test_gates_are_combined_by_villes_weighted_mean(ville, gates) -> None:
    log_e, weights = (arr(*each) for each in zip(*gates, strict=True))
    theirs = ville.evalues.combine(np.exp(log_e), weights=weights)
    ours = combine.over_gates(log_e[:, None], weights / weights.sum())[0]
    assert ours == pytest.approx(math.log(theirs), rel=1e-9, abs=1e-9)


# Lindon & Malek 2022


@pytest.mark.parametrize("r0", [1.0, 1.5])
@pytest.mark.parametrize("x_c, x_b", [(0, 9), (5, 10), (40, 10), (200, 380)])
def test_the_error_ratio_mixed_over_every_ratio_is_lindon_and_maleks_test(x_c, x_b, r0) -> None:
    # The candidate's part of all errors is theta0 = r0 nC / (r0 nC + nB); against it a mixture of all parts:
    # Beta(k theta0, k (1 - theta0)): B(a + x) / B(a) / (theta0^xc (1 - theta0)^xb).
    n_c, n_b, k = 500.0, 9500.0, 100.0
    theta0 = r0 * n_c / (r0 * n_c + n_b)
    a, b = k * theta0, k * (1 - theta0)
    theirs = betaln(a + x_c, b + x_b) - betaln(a, b) - xlogy(x_c, theta0) - xlogy(x_b, 1 - theta0)
    r = BETWEEN * n_b / ((1 - BETWEEN) * n_c)
    log_l = error_ratio.log_ratio(arr(n_c), arr(x_c), arr(n_b), arr(x_b), r0, r)[0]
    assert mixed(log_l, beta.logpdf(BETWEEN, a, b)) == pytest.approx(theirs, abs=1e-6)


# scipy's exact tests: evidence never claims more than they do


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(0, 60), st.integers(0, 60), st.floats(1, 3))
def test_one_look_at_an_error_ratio_claims_no_more_than_the_exact_binomial_test(
    n_c, n_b, x_c, x_b, r0
) -> None:
    # Evidence rises with the candidate's errors, so P(evidence this strong) <= 1 / E is about their tail.
    assume(x_c + x_b > 0)
    row = error_ratio.log_l(arr(n_c), arr(x_c), arr(n_b), arr(x_b), r0)
    log_e = float(combine.mixture(row[:, None], np.log(error_ratio.WEIGHTS), 0.0)[0, 0])
    theta0 = r0 * n_c / (r0 * n_c + n_b)
    exact = binomtest(x_c, x_c + x_b, theta0, alternative="greater").pvalue
    assert exact <= math.exp(min(700.0, -log_e)) * (1 + 1e-9)


@given(st.integers(1, 5000), st.integers(0, 80), st.floats(1e-4, 0.3))
def test_one_look_at_an_absolute_limit_claims_no_more_than_the_exact_binomial_test(n, x, s) -> None:
    assume(x <= n)
    q = slo.alternatives(s)
    row = slo.log_l(arr(n), arr(x), s)
    log_e = float(combine.mixture(row[:, None], np.full(q.size, -np.log(q.size)), 0.0)[0, 0])
    assert binomtest(x, n, s, alternative="greater").pvalue <= math.exp(min(700.0, -log_e)) * (1 + 1e-9)


@given(st.integers(200, 4000), st.integers(200, 4000), st.integers(0, 12), st.integers(0, 12))
def test_with_few_errors_it_also_claims_no_more_than_fishers_test(n_c, n_b, x_c, x_b) -> None:
    row = error_ratio.log_l(arr(n_c), arr(x_c), arr(n_b), arr(x_b), 1.0)
    log_e = float(combine.mixture(row[:, None], np.log(error_ratio.WEIGHTS), 0.0)[0, 0])
    table = [[x_c, n_c - x_c], [x_b, n_b - x_b]]
    # Fisher's counts are binomial and not Poisson; below the expected number its tail is a little longer.
    assert fisher_exact(table, alternative="greater").pvalue <= math.exp(min(700.0, -log_e)) * 1.05
