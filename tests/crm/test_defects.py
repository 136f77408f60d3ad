"""Defects for demonstrations say what they do, and refuse what they do not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.synchronisation.defects import delay_of
from crm.touchpoints.defects import Defects


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], Defects()),
        (["errors=5%"], Defects(errors=0.05)),
        (["errors=0.5 %"], Defects(errors=0.005)),
        (["latency=+800ms@20%"], Defects(late=0.2, late_seconds=0.8)),
        (["latency=+1.5s@100%"], Defects(late=1.0, late_seconds=1.5)),
        (["conversion=-30%"], Defects(conversion=0.3)),
        (["locks"], Defects(locks=True)),
        (["all"], Defects(errors=1.0)),
        (["all", "errors=5%"], Defects(errors=1.0)),
        (["errors=5%", "conversion=-30%"], Defects(errors=0.05, conversion=0.3)),
    ],
)
def test_a_defect_is_read_as_it_is_written(texts: list[str], expected: Defects) -> None:
    assert Defects.parse(texts) == expected


@pytest.mark.parametrize("text", ["", "errors", "errors=101%", "latency=800ms", "sync=+60s"])
def test_an_unknown_defect_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError, match="defect"):
        Defects.parse([text])


@given(share=st.integers(0, 100), draw=st.floats(0, 1, exclude_max=True))
def test_a_request_fails_exactly_when_its_draw_lies_in_the_share(share: int, draw: float) -> None:
    assert Defects.parse([f"errors={share}%"]).fails(draw) == (draw < share / 100)


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [([], 0), (["sync=+60s"], 60), (["sync=+500ms"], 0.5), (["sync=+2m", "sync=+1s"], 120)],
)
def test_the_synchronisation_holds_events_back_for_the_time_asked(texts: list[str], seconds: float) -> None:
    assert delay_of(texts) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["sync=60s", "sync=+60", "errors=5%", "locks"])
def test_the_synchronisation_refuses_what_is_not_its_defect(text: str) -> None:
    with pytest.raises(ValueError, match="defect"):
        delay_of([text])
