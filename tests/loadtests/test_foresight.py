"""What a run could prove at the very best is said before it is made: a short window is not a surprise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from huidu.foundation.document import parse_document
from huidu.model.stack import Stack
from loadtests.commands import load
from loadtests.foresight import undecidable
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile, load_profile

_BASE = "channels: {web: {peak: 100/s, journey: {http: [{get: /}]}}}\n"


def _plan(text: str) -> Plan:
    return make_plan(parse_document(text, Profile, "p"), Path("p"), host="http://x", stack=None)


@pytest.mark.parametrize(
    ("more", "rules"),
    [
        ("duration: 60s\n", []),  # 7,200 visits
        ("duration: 24s\n", ["failures"]),  # 2,880; 2,995 are needed
        ("duration: 25s\n", []),
        ("duration: 10s\nextend: 10s\n", ["failures"]),
        ("duration: 10s\nextend: 40s\n", []),
        ("duration: 10s\nlimits: {failures: {at_most: 0.1%, proof: observed}}\n", []),
        ("duration: 10s\nlimits: {p999: 2s}\n", ["p999"]),
        ("duration: 24s\nlimits: {failures: 0.2%}\nrate: {ramp: {from: 0%, to: 100%, over: 24s}}\n", ["failures"]),  # noqa: E501
        ("duration: 24s\nsuite: functional\n", []),
    ],
)  # fmt: skip
def test_a_window_too_short_for_its_limits_is_known_before_the_run(more: str, rules: list[str]) -> None:
    assert [each.rule for each in undecidable(_plan(_BASE + more))] == rules


def test_what_is_said_to_be_enough_is_enough() -> None:
    [found] = undecidable(_plan(_BASE + "duration: 10s\n"))
    assert found.enough is not None
    assert undecidable(_plan(_BASE + f"duration: {found.enough + 1:.0f}s\n")) == []


def test_a_channel_with_few_visits_is_told_by_its_name() -> None:
    text = _BASE.replace("web:", "rare: {peak: 1/s, journey: {http: [{get: /r}]}}, web:") + "duration: 40s\n"
    assert [(each.scope, each.rule) for each in undecidable(_plan(text))] == [("rare", "p95")]


@pytest.mark.parametrize("name", ["demo", "stress", "business"])
def test_the_profiles_that_ship_can_prove_what_they_state(stack: Stack, name: str) -> None:
    file, profile = load_profile(name)
    assert undecidable(make_plan(profile, file, host=None, stack=stack)) == []


def test_a_profile_is_looked_at_without_a_host_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    file = tmp_path / "p.yaml"
    for text, code in ((_BASE, 0), (_BASE + "duration: 10s\n", 4)):
        file.write_text(text)
        done = CliRunner().invoke(load, ["check", str(file)])
        assert done.exit_code == code, done.output
        assert "peak 100 requests/s x 120% = 120/s" in done.output
        assert bool(re.search("2995 visits .* would be enough: 25 s", done.output)) == (code == 4)
    assert not (tmp_path / "home").exists()
