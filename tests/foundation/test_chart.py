"""What charts are made of: values stay on their axis, ticks are round, steps hold until the next one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.chart import (
    Scale,
    Tick,
    across,
    decades,
    filled,
    line,
    stairs,
    step,
    steps,
    thinned,
    upward,
)

NUMBERS = st.floats(-1e9, 1e9)
POSITIVE = st.floats(1e-6, 1e9)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_value_stays_on_its_axis_and_more_is_never_to_the_left(low: float, a: float, b: float) -> None:
    scale = Scale(low, low + 10)
    assert 0 <= scale(a) <= 1
    assert (scale(a) <= scale(b)) is True or a > b
    assert scale.across(a) + scale.down(a) == pytest.approx(100, abs=0.02)


def test_values_outside_stay_at_the_nearer_end_and_an_axis_without_length_is_no_fault() -> None:
    scale = Scale(0, 10)
    assert (scale(-5), scale(5), scale(50)) == (0, 0.5, 1)
    assert Scale(3, 3)(3) == 0
    assert Scale(1, 100, math.log10)(10) == pytest.approx(0.5)


def test_ticks_are_round_numbers_within_the_axis() -> None:
    assert steps(0, 47, 4) == [0, 20, 40]
    assert steps(0, 60, 6) == [0, 10, 20, 30, 40, 50, 60]
    assert steps(0, 0, 4) == [0] and steps(0, math.inf, 4) == [0]
    assert steps(0, 10, 4) == [0, 2.5, 5, 7.5, 10] and steps(0, 10, 4, (1, 2, 5, 10)) == [0, 5, 10]
    assert decades(10, 3200) == [10, 100, 1000]
    assert decades(10, 90) == [10, 20, 50] and decades(10, 3200, 1000)[:4] == [10, 20, 50, 100]
    assert across(Scale(0, 4), (0, 1), str) == (Tick(0, "0"), Tick(25, "1"))
    assert upward(Scale(0, 4), (0, 1), str) == (Tick(100, "0"), Tick(75, "1"))


@given(POSITIVE, st.integers(1, 12))
def test_a_step_is_round_and_divides_into_no_more_parts_than_asked_for(span: float, about: int) -> None:
    size = step(span, about)
    assert span / size <= about * 1.000001 and span / size > about / 2.6
    mantissa = size / 10.0 ** math.floor(math.log10(size) + 1e-9)
    assert any(mantissa == pytest.approx(each) for each in (1, 2, 2.5, 5, 10))


@given(NUMBERS, POSITIVE, st.integers(1, 12))
def test_ticks_never_lie_outside(low: float, span: float, about: int) -> None:
    found = steps(low, low + span, about)
    slack = 1e-6 * max(span, abs(low), 1e-6)
    assert all(low - slack <= each <= low + span + slack for each in found)


def test_each_value_holds_until_the_next_one_begins() -> None:
    scale = Scale(0, 10)
    corners = stairs([(0, 0), (3, 0), (5, 10)], 10)
    assert corners == [(0, 0), (5, 0), (5, 10), (10, 10)]
    path = line(corners, scale, scale)
    assert path == "M0.0 100.00L500.0 100.00L500.0 0.00L1000.0 0.00"
    assert filled(path, scale, 0, 10) == path + "L1000.0 100L0.0 100Z"
    assert line([], scale, scale) == "" and filled("", scale, 0, 10) == "" and stairs([], 10) == []


def test_thinning_keeps_the_peaks_and_the_end() -> None:
    points = [(float(at), 9.0 if at == 777 else 1.0) for at in range(2000)]
    few = thinned(points, 100)
    assert len(few) <= 102 and (777.0, 9.0) in few and few[-1] == points[-1]
    assert thinned(points[:50], 100) == points[:50]
