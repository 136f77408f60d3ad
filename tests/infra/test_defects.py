"""A defect is refused before anything starts exactly where the CRM's program would refuse it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from crm.synchronisation.defects import delay_of
from crm.touchpoints.defects import Defects
from huidu.foundation.errors import UsageError
from infra.commands import stack
from infra.defects import SYNCHRONISATION, TOUCHPOINTS, checked, options

GOOD = (
    "errors=5%",
    "errors=0%",
    "errors=100%",
    "errors=7.5 %",
    "latency=+800ms@20%",
    "latency=+1.5s@20%",
    "conversion=-30%",
    "sync=+60s",
    "sync=+500ms",
    "sync=+1m",
    "locks",
    "all",
)
BAD = (
    "latency=+4s",
    "latency=4s@20%",
    "latency=+4s@120%",
    "errors=500%",
    "errors=-5%",
    "errors",
    "conversion=30%",
    "sync=60s",
    "locks=1",
    "",
    "slow",
)


def accepted_by_the_crm(text: str) -> bool:
    """As the release's program would, that it is a switch of."""
    try:
        if text.strip().partition("=")[0] in SYNCHRONISATION:
            delay_of([text])
        else:
            Defects.parse([text])
    except ValueError:
        return False
    return True


def accepted(text: str) -> bool:
    try:
        checked([text])
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("text", GOOD)
def test_what_the_crm_knows_is_accepted_and_handed_to_one_program(text: str) -> None:
    assert accepted_by_the_crm(text)
    words = checked([f" {text} "])
    handed = [options(words, mine) for mine in (TOUCHPOINTS, SYNCHRONISATION)]
    assert sorted(handed) == [(), ("--defect", text)]


@pytest.mark.parametrize("text", BAD)
def test_what_the_crm_refuses_is_refused_before_anything_starts(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not accepted_by_the_crm(text)
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    ended = CliRunner().invoke(stack, ["release", "v2", "--defect", text])
    assert isinstance(ended.exception, UsageError)
    assert not (tmp_path / "home").exists()


_NAMES = ("errors", "latency", "conversion", "locks", "all", "sync")
_PARTS = (*_NAMES, *"=+-@% .053٣", "30", "100", "101", "ms", "s", "m")
_WRITTEN = st.lists(st.sampled_from(_PARTS), max_size=9).map("".join)
_NEARLY = st.builds(
    lambda name, sign, number, unit, rest: f"{name}={sign}{number}{unit}{rest}",
    st.sampled_from(_NAMES),
    st.sampled_from(["", "+", "-"]),
    st.one_of(st.integers(0, 120), st.floats(0, 120).map(lambda value: f"{value:.2f}")),
    st.sampled_from(["%", " %", "s", "ms", "m", ""]),
    st.sampled_from(["", "@20%", "@120%", "@5", " "]),
)


@given(st.one_of(_WRITTEN, _NEARLY))
def test_the_early_check_and_the_crm_agree(text: str) -> None:
    assert accepted(text) == accepted_by_the_crm(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency=+4s", "latency=+800ms@20%"),
        ("conversion=30%", "conversion=-30%"),
        ("errors=500%", "at most 100 %"),
        ("slow", "locks"),
    ],
)
def test_the_refusal_says_how_it_is_written(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked([text])
    assert text in str(refused.value) and said in str(refused.value)
