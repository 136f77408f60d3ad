"""The e-processes against values computed by hand, brute force over small samples, and their own promise."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.stats import binom, poisson

from rollout.judge import conversion, error_ratio, latency, margin, no_worse, ramp, slo
from rollout.judge.latency import edge_at_or_above, edge_at_or_below, nearest_edges


def arr(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


# a: error ratio


def test_error_ratio_of_one_interval_computed_by_hand() -> None:
    # 5 of 500 against 10 of 9500, r0 = 1, the alternative r = 10: 5 ln 10 + 15 ln(10000 / 14500)
    row = error_ratio.log_l(arr(500), arr(5), arr(9500), arr(10), 1.0)[0]
    expected = 5 * math.log(10) + 15 * math.log(10000 / 14500)
    assert row[list(error_ratio.STEPS).index(10.0)] == pytest.approx(expected, abs=1e-12)
    log_e = math.log(sum(w * math.exp(v) for w, v in zip(error_ratio.WEIGHTS, row, strict=True)))
    by_hand = sum(
        w * (r**5) * (10000 / (r * 500 + 9500)) ** 15
        for w, r in zip(
            [0.05, 0.05, 0.3, 0.25, 0.2, 0.1, 0.03, 0.02], [1.25, 1.5, 2, 3, 5, 10, 20, 50], strict=True
        )
    )
    assert log_e == pytest.approx(math.log(by_hand), abs=1e-12)


@pytest.mark.parametrize("n_c, n_b", [(0, 100), (100, 0), (0, 0)])
def test_one_arm_without_requests_says_nothing(n_c: float, n_b: float) -> None:
    x_c, x_b = min(n_c, 7), min(n_b, 7)
    assert not error_ratio.log_l(arr(n_c), arr(x_c), arr(n_b), arr(x_b), 1.5).any()
    assert not margin.log_l(arr(n_c), arr(x_c), arr(n_b), arr(x_b), arr(0.01), 0.001).any()
    assert not latency.log_l(arr(n_c), arr(x_c), arr(n_b), arr(x_b), arr(0.1), 1.25).any()
    assert not ramp.log_excess(
        arr(n_c)[None], arr(x_c)[None], arr(n_b)[None], arr(x_b)[None], arr(0.01)[None], arr(0.001, 0.1)
    ).any()


def mean_by_brute_force(n_c: int, n_b: int, p_c: float, p_b: float, log_l) -> np.ndarray:
    """Expectation of the e-value over all outcomes of two binomials."""
    total = 0.0
    for x_c, x_b in product(range(n_c + 1), range(n_b + 1)):
        weight = binom.pmf(x_c, n_c, p_c) * binom.pmf(x_b, n_b, p_b)
        total = total + weight * np.exp(log_l(arr(n_c), arr(x_c), arr(n_b), arr(x_b))[0])
    return np.asarray(total)


@pytest.mark.parametrize("n_c, n_b", [(3, 9), (10, 10), (12, 4)])
@pytest.mark.parametrize("p_b", [0.01, 0.1, 0.4])
def test_no_form_is_worth_more_than_one_on_average_while_the_null_holds(
    n_c: int, n_b: int, p_b: float
) -> None:
    b = arr(0.07)
    # Poisson likelihoods are valid for binomial counts too: they only give away a little.
    cases = {
        "margin": (p_b + 0.05, lambda *a: margin.log_l(*a, b, 0.05)),
        "latency": (1.25 * p_b, lambda *a: latency.log_l(*a, b, 1.25)),
        "latency r0=1": (p_b, lambda *a: latency.log_l(*a, b, 1.0)),
        "ramp": (p_b + 0.05, lambda *a: margin.log_excess(*a, b, arr(0.05))),
    }
    for name, (p_c, log_l) in cases.items():
        mean = mean_by_brute_force(n_c, n_b, p_c, p_b, log_l)
        assert (mean <= 1 + 1e-9).all(), name


def test_error_ratio_is_exactly_fair_for_rare_events() -> None:
    # Poisson counts with pC = r0 pB: every alternative has expectation exactly 1.
    n_c, n_b, p_b, r0 = 400, 1200, 0.002, 1.5
    xs = np.arange(40)
    grid_c, grid_b = np.meshgrid(xs, xs, indexing="ij")
    weight = poisson.pmf(grid_c, n_c * r0 * p_b) * poisson.pmf(grid_b, n_b * p_b)
    log_l = error_ratio.log_l(
        np.full(weight.shape, float(n_c)), grid_c * 1.0, np.full(weight.shape, float(n_b)), grid_b * 1.0, r0
    )
    mean = (weight[..., None] * np.exp(log_l)).sum(axis=(0, 1))
    assert mean[:6] == pytest.approx(1.0, abs=1e-6)  # larger alternatives need a longer table


def test_conversion_is_fair_while_nine_tenths_remain() -> None:
    mean = mean_by_brute_force(9, 9, 1 - 0.9 * 0.5, 0.5, lambda *a: conversion.log_l(*a, arr(0.45), 0.9))
    assert (mean <= 1 + 1e-9).all()
    worse = conversion.log_l(arr(1000), arr(970), arr(1000), arr(900), arr(0.9), 0.9)  # 3 % against 10 %
    assert worse.max() > math.log(100)
    better = conversion.log_l(arr(1000), arr(880), arr(1000), arr(900), arr(0.9), 0.9)
    assert better.max() < 0


# b, d: the nearest point of the null


@given(
    n_c=st.floats(1, 1e9),
    n_b=st.floats(1, 1e9),
    b=st.floats(1e-9, 0.5),
    g=st.floats(1.1, 50),
    d=st.floats(1e-6, 0.1),
)
def test_margin_root_is_the_positive_root(n_c: float, n_b: float, b: float, g: float, d: float) -> None:
    c = b + g * d
    p = float(margin.nearest_null(arr(n_c), arr(n_b), arr(c), arr(b), arr(d))[0])
    residual = (n_c + n_b) * p * p + ((n_c + n_b) * d - n_c * c - n_b * b) * p - n_b * b * d
    scale = (n_c + n_b) * p * p + abs((n_c + n_b) * d - n_c * c - n_b * b) * p + n_b * b * d
    assert p > 0
    assert abs(residual) <= 1e-9 * scale


@pytest.mark.parametrize("r0", [1.0, 1.25, 2.0])
def test_latency_uses_the_nearest_point_of_the_null(r0: float) -> None:
    n_c, n_b, b, c = 50.0, 300.0, 0.1, 0.4

    def slope(p: float) -> float:
        q = r0 * p
        return n_c * r0 * (q - c) / (q * (1 - q)) + n_b * (p - b) / (p * (1 - p))

    p = brentq(slope, 1e-9, 1 / r0 - 1e-9)
    q = r0 * p
    expected = (
        7 * math.log(c / q)
        + 43 * math.log((1 - c) / (1 - q))
        + 29 * math.log(b / p)
        + 271 * math.log((1 - b) / (1 - p))
    )
    got = latency.log_projected(arr(n_c), arr(7), arr(n_b), arr(29), arr(b), arr(c)[None], r0)
    assert got[0, 0] == pytest.approx(expected, abs=1e-9)


def test_an_alternative_inside_the_null_is_no_bet() -> None:
    # The baseline exceeds this edge 90 % of the time: 1.25 times that cannot be exceeded.
    got = latency.log_l(arr(100), arr(99), arr(100), arr(90), arr(0.9), 1.25)
    assert not got.any()


# c: absolute limit


def test_slo_computed_by_hand() -> None:
    row = slo.log_l(arr(1000), arr(6), 0.001)[0]
    q = 0.005
    assert row[3] == pytest.approx(6 * math.log(5) + 994 * math.log((1 - q) / 0.999), abs=1e-12)
    assert slo.alternatives(0.05).max() < 1


def test_slo_is_exactly_fair_at_its_limit() -> None:
    xs = np.arange(201.0)
    weight = binom.pmf(xs, 200, 0.05)
    mean = (weight[:, None] * np.exp(slo.log_l(np.full(201, 200.0), xs, 0.05))).sum(axis=0)
    assert mean == pytest.approx(1.0, abs=1e-9)


# h: no worse


def test_no_worse_against_an_absolute_limit_needs_2995_clean_requests() -> None:
    # ln(20) / -ln(0.999) with the alternative "no errors at all" alone
    def log_e(n: float) -> float:
        return float(no_worse.log_l_limit(arr(n), arr(0), 0.001)[0, 0])

    assert log_e(2994) < math.log(20) <= log_e(2995)
    assert no_worse.log_l_limit(arr(2995), arr(1), 0.001)[0, 0] == -math.inf  # one error kills it ...
    assert np.isfinite(no_worse.log_l_limit(arr(2995), arr(1), 0.001)[0, 1:]).all()  # ... hence the mixture


def test_no_worse_mirrors_the_error_ratio() -> None:
    a, rm = 0.75, 2.0
    row = no_worse.log_l(arr(500), arr(3), arr(500), arr(5), rm)[0]
    expected = 3 * math.log(a / rm) + 8 * math.log((rm * 500 + 500) / (a * 500 + 500))
    assert row[1] == pytest.approx(expected, abs=1e-12)


# l: the ramp


def test_clean_requests_open_the_first_shares() -> None:
    # Implementation: U <= H / w; 30 clean requests bear 1 %, 150 bear 5 % (beta 5 %, H 0.1 %)
    d = ramp.grid(0.001, (0.01, 0.05, 0.5))

    def upper(n: float) -> float:
        zero = arr(0)[None]
        log_e = ramp.log_excess(arr(n)[None], zero, arr(n)[None], zero, arr(1e-4)[None], d)
        return float(ramp.upper(log_e, d, 0.05)[0])

    assert 0.001 / upper(33) >= 0.01 > 0.001 / upper(20)
    assert 0.001 / upper(160) >= 0.05 > 0.001 / upper(100)


def test_grid_holds_the_budget_and_the_proof_of_every_stage() -> None:
    d = ramp.grid(0.001, (0.01, 0.05, 0.25, 0.5))
    assert (np.diff(d) > 0).all()
    for exact in (0.001, 0.1, 0.02, 0.004, 0.002):
        assert exact in d
    assert d[0] == pytest.approx(0.0005) and d[-1] >= 0.2


def test_upper_needs_every_larger_excess_refuted_too() -> None:
    d = arr(0.001, 0.01, 0.1)
    passed, failed = 4.0, 1.0
    assert ramp.upper(np.array([passed, passed, passed]), d, 0.05) == 0.001
    assert ramp.upper(np.array([passed, failed, passed]), d, 0.05) == 0.1
    assert ramp.upper(np.array([passed, passed, failed]), d, 0.05) == 1.0


def test_one_stratum_gives_the_same_as_the_margins_root() -> None:
    d = ramp.grid(0.001, ())
    args = (arr(300), arr(1), arr(5000), arr(4), arr(0.0007))
    single = ramp.log_excess(*(each[None] for each in args), d)
    assert single[0] == pytest.approx(margin.log_excess(*args, d)[0], rel=1e-9, abs=1e-9)


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1e-7, 0.4)), min_size=2, max_size=4),
    st.floats(1e-4, 0.2),
)
def test_the_common_excess_of_strata_is_met_whatever_the_arms_sizes(strata, d: float) -> None:
    # Also where a stratum has many more candidates than baseline.
    n_c, n_b, b = (arr(*each) for each in zip(*strata, strict=True))
    u = float(ramp._nearest((n_c / n_c.sum() * b)[None], (n_c / n_b)[None], arr(d))[0, 0])
    q, p = b / (1 - u), b / (1 + u * n_c / n_b)
    assert 0 < u < 1
    assert float((n_c / n_c.sum() * (q - p)).sum()) == pytest.approx(d, rel=1e-6)
    zero = np.zeros((1, len(strata)))
    assert np.isfinite(ramp.log_excess(n_c[None], zero, n_b[None], zero, b[None], arr(d))).all()


def test_strata_are_projected_together_on_their_common_excess() -> None:
    # The nearest point of {mean excess of the candidate's requests >= d}, found by a general optimiser.
    n_c, n_b, b, d = arr(100, 300), arr(4000, 900), arr(0.001, 0.01), 0.02
    x_c, x_b = arr(1, 5), arr(3, 11)
    part = n_c / n_c.sum()

    def distance(v: np.ndarray) -> float:
        q, p = v[:2], v[2:]
        return float((n_c * (b * np.log(b / q) - b + q) + n_b * (b * np.log(b / p) - b + p)).sum())

    found = minimize(
        distance,
        np.concatenate([b + d, b]),
        bounds=[(1e-6, 0.5)] * 4,
        constraints={"type": "eq", "fun": lambda v: (part * (v[:2] - v[2:])).sum() - d},
        options={"ftol": 1e-14, "maxiter": 500},
    ).x
    q, p = found[:2], found[2:]
    expected = (x_c * np.log(b / q) - n_c * (b - q) + x_b * np.log(b / p) - n_b * (b - p)).sum()
    got = ramp.log_excess(n_c[None], x_c[None], n_b[None], x_b[None], b[None], arr(d))
    assert got[0, 0] == pytest.approx(expected, abs=1e-3)


@given(st.floats(0, 0.5), st.floats(0.0, 1.0))
def test_ramp_never_exceeds_what_is_allowed_and_never_more_than_triples(
    current: float, allowed: float
) -> None:
    share = ramp.next_share(current, allowed, 0.01)
    assert share <= max(current, min(allowed, 0.5))
    assert share <= max(0.01, 3 * current) + 1e-12
    assert share >= current


# edges


def test_where_no_edge_stands_at_the_limit_the_stricter_neighbour_is_taken() -> None:
    edges = (0.1, 0.4, 1.0, math.inf)
    assert edge_at_or_above(edges, 0.5) == 1.0  # rollback: surely above the limit
    assert edge_at_or_below(edges, 0.5) == 0.4  # promotion: surely below it
    assert edge_at_or_above((0.1, 0.5), 0.5) == edge_at_or_below((0.1, 0.5), 0.5) == 0.5
    assert edge_at_or_above((0.1, 0.2), 0.5) is None
    assert nearest_edges((0.005, 0.01, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, math.inf), 0.5) == (
        0.1, 0.2, 0.3, 0.5, 0.75, 1, 2,
    )  # fmt: skip


def test_a_poll_in_which_the_candidate_served_nobody_says_nothing_and_warns_of_nothing() -> None:
    nobody, some = np.array([[0.0, 0.0]]), np.array([[100.0, 50.0]])
    with np.errstate(all="raise"):
        said = ramp.log_excess(
            nobody, nobody, some, nobody, np.array([[0.01, 0.001]]), np.array([0.001, 0.1])
        )
    assert said.tolist() == [[0.0, 0.0]]
