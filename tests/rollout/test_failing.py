"""Whose requests they were, and which of them failed: kept at the end, told later, never believed blindly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.prometheus import NoData, Prometheus, Series
from rollout.controller.fold import RolloutState
from rollout.failing import Failing, Part, beside, capture, keep, kept
from rollout.failing.customers import parts, selector
from rollout.failing.requests import LONGEST, MOST, failures, shapes, spread
from rollout.failing.told import customers_said, warning
from rollout.folder import publish

RELEASES: Any = {"candidate": "v2", "stable": "v1"}


def gauge(value: float, **labels: str) -> Series:
    return Series({"instance": "t:1", **labels}, ((10.0, value),))


def line(t: int = 0, cluster: str = "candidate-high", **more: Any) -> str:
    return json.dumps(
        {
            "time": f"2026-11-21T10:{t // 60:02d}:{t % 60:02d}.500Z",
            "request_id": f"id-{t}",
            "method": "POST",
            "path": "/shop/orders",
            "status": 500,
            "flags": "-",
            "cluster": cluster,
            "ms": 12,
        }
        | more
    )


def at(t: float) -> float:
    return 1795255200.0 + t


def test_one_customers_part_is_his_failures_among_all_of_his_tier() -> None:
    found = parts(
        [
            gauge(90, release="v2", tier="high", code="200", channel="web"),
            gauge(7, release="v2", tier="high", code="500", channel="web"),
            gauge(3, release="v2", tier="high", code="503", channel="shop"),
            gauge(500, release="v1", tier="high", code="200"),
        ],
        [gauge(20, release="v2", tier="high"), gauge(30, release="v1", tier="high")],
        [gauge(6, release="v2", tier="high"), gauge(0, release="v1", tier="high")],
        RELEASES,
    )
    candidate, stable = found
    assert (candidate.requests, candidate.failures) == (100, 10)
    assert (candidate.failed_share, candidate.asked_share) == (0.6, 0.2)
    assert (stable.arm, stable.failures, stable.failed_share) == ("stable", 0, 0)
    told = beside(Failing(since=0, until=1, parts=found))["largest_customers"]
    assert told[0]["sentence"].startswith("one customer made 60 % of the failures in the candidate")
    assert told[1]["sentence"] == "no failure in stable among high; one made 6 % of the requests"


def test_with_several_processes_it_is_at_least_the_largest_part_in_one_of_them() -> None:
    (found,) = parts(
        [gauge(40, release="v2", tier="high", code="500"), gauge(60, release="v2", tier="high", code="500")],
        [gauge(30, release="v2", tier="high"), gauge(35, release="v2", tier="high")],
        [gauge(30, release="v2", tier="high"), gauge(20, release="v2", tier="high")],
        {"candidate": "v2"},
    )
    assert (found.failures, found.largest_failures, found.processes) == (100, 30, 2)
    said = customers_said(Failing(since=0, until=1, parts=(found,)))
    assert said == [
        "one customer made at least 30 % of the failures in the candidate among high (30 of 100); "
        "one made at least 35 % of the requests"
    ]


@pytest.mark.parametrize(
    ("largest", "failures_", "warns"),
    [(5, 19, True), (5, 20, False), (4, 4, False), (5, 5, True), (2, 7, False)],
)
def test_a_warning_needs_a_large_part_of_more_than_a_few(largest: int, failures_: int, warns: bool) -> None:
    part = Part(
        arm="candidate", tier="high", requests=99, failures=failures_, largest_requests=9,
        largest_failures=largest,
    )  # fmt: skip
    assert bool(warning(Failing(since=0, until=1, parts=(part,)))) == warns
    stable = part.model_copy(update={"arm": "stable"})
    assert warning(Failing(since=0, until=1, parts=(stable,))) == ""


def test_a_release_name_cannot_break_out_of_the_question() -> None:
    assert selector("m", ['v2"} or up{a="', "v1.0"]) == r'm{release=~"v2\"\\}\\ or\\ up\\{a=\"|v1\\.0"}'


def test_only_the_candidates_failures_of_this_rollout_are_named() -> None:
    log = [line(5), line(1), line(3, cluster="stable-high"), line(900), line(2, status=0, flags="UT")]
    found = failures(log, {"candidate-high"}, at(0), at(60))
    assert [(each.id, each.status, each.flags) for each in found] == [
        ("id-1", 500, ""),
        ("id-2", 0, "UT"),
        ("id-5", 500, ""),
    ]


@pytest.mark.parametrize(
    "odd", ["", "{", "[1]", "null", line(1)[:40], line(1, time="yesterday"), line(1, status="x"), "[" * 99999]
)
def test_what_is_no_line_of_the_log_is_passed_over(odd: str) -> None:
    assert [each.id for each in failures([odd, line(2)], {"candidate-high"}, at(0), at(60))] == ["id-2"]


def test_a_path_can_neither_move_the_cursor_nor_fill_the_screen() -> None:
    (one,) = failures([line(1, path="/\x1b[2J" + "x" * 999)], {"candidate-high"}, at(0), at(9))
    assert one.path.startswith("/\\x1b[2Jxx") and len(one.path) == LONGEST + 1


@given(st.integers(0, 200))
def test_of_many_a_few_are_named_first_and_last_among_them(count: int) -> None:
    found = failures([line(t) for t in range(count)], {"candidate-high"}, at(0), at(999))
    named = spread(found)
    assert len(named) == min(count, MOST) == len({each.id for each in named})
    if count:
        assert (named[0], named[-1]) == (found[0], found[-1])


def test_kinds_are_counted_without_their_ids() -> None:
    log = [line(t, path=f"/shop/orders/{t}", method="GET") for t in range(3)] + [line(9)]
    found = shapes(failures(log, {"candidate-high"}, at(0), at(99)))
    assert [(each.method, each.path, each.count) for each in found] == [
        ("GET", "/shop/orders/…", 3),
        ("POST", "/shop/orders", 1),
    ]


@pytest.fixture
def over(tmp_path: Path) -> tuple[Path, RolloutState]:
    """A rollout that ended; nobody answers at its Prometheus, and no stack stands."""
    folder = tmp_path / "rollouts" / "v2"
    folder.mkdir(parents=True)
    started = {
        "release": "v2",
        "stable_release": "v1",
        "prometheus": "http://127.0.0.1:9",
        "arms": {"high": {"candidate": "candidate-high"}},
        "entry": None,
    }
    return folder, RolloutState(started=started, started_at=at(0), outcome="rolled-back", ended_at=at(60))


def test_what_cannot_be_known_says_why_and_breaks_nothing(over: tuple[Path, RolloutState]) -> None:
    folder, state = over
    keep(folder, state, at(61))
    found = kept(folder)
    assert found is not None and found.parts == () and found.requests == ()
    assert "did not answer" in found.parts_unknown and "no log" in found.requests_unknown


def test_what_was_kept_at_the_end_is_not_replaced_by_what_is_left_of_it(
    over: tuple[Path, RolloutState], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, state = over
    values = {"crm_requests_total": 9.0, "crm_largest_customer_requests": 4.0}
    asked: list[float | None] = []

    def instant(self: Prometheus, query: str, at: float | None = None) -> Any:
        asked.append(at)
        metric = query.partition("{")[0]
        if metric not in values:
            return NoData(query)
        return (gauge(values[metric], release="v2", tier="high", code="500"),)

    monkeypatch.setattr(Prometheus, "instant", instant)
    keep(folder, state, at(61))
    first = kept(folder)
    assert first is not None and first.parts[0].largest_requests == 4
    assert set(asked) == {at(60)}  # as it was when the rollout ended
    values.clear()
    keep(folder, state, at(9999))
    assert kept(folder) == first


def test_a_rollout_under_way_keeps_nothing_yet(over: tuple[Path, RolloutState]) -> None:
    folder, state = over
    keep(folder, RolloutState(started=state.started), at(1))
    assert kept(folder) is None
    assert capture(folder, RolloutState(started=state.started), at(5)).until == at(5)


def test_the_report_of_a_rollout_that_ended_has_it_and_one_under_way_has_not(
    stage: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "rollouts" / "v2"
    folder.mkdir(parents=True)
    publish(folder, "v2", stage.journal)
    assert "failed_requests" not in json.loads((folder / "report.json").read_text())
    stage.world.candidate_errors = 0.2
    stage.controller().drive()
    publish(folder, "v2", stage.journal)
    facts = json.loads((folder / "report.json").read_text())
    assert facts["outcome"] == "rolled-back"
    assert facts["failed_requests"]["unknown"] and facts["customers_warning"] == ""
    assert kept(folder) is not None


def test_a_damaged_file_is_as_none(over: tuple[Path, RolloutState]) -> None:
    folder, _ = over
    (folder / "failing.json").write_text('{"version": 2}')
    assert kept(folder) is None


def test_the_log_is_read_with_its_older_part(
    over: tuple[Path, RolloutState], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, state = over
    log = folder / "failures.log"
    (folder / "failures.log.1").write_text(line(1)[20:] + "\n" + line(2) + "\n")
    log.write_text(line(3) + "\n" + line(4)[:30])
    monkeypatch.setattr("rollout.failing.keeping._log", lambda stack_file: log)
    found = capture(folder, state, at(61))
    assert [each.id for each in found.requests] == ["id-2", "id-3"]
    assert found.count == 2 and found.requests_unknown == ""
