"""`huidu bench switch`, `controller`: a little of each; how fast is for a quiet machine, not for a test."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from huidu.foundation.errors import MissingProgram
from rollout.bench.command import bench
from rollout.bench.proxy import envoy
from rollout.bench.switch import _last, _times


@pytest.mark.server
def test_no_request_fails_by_a_switch_and_the_candidate_is_left(program):
    program("envoy")
    result = CliRunner().invoke(bench, ["switch", "--switches", "20", "--rate", "200", "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    told = json.loads(result.stdout)
    assert "bar: p99" in result.stderr and result.exit_code == (0 if told["reached"] else 1)
    assert told["failed"] == {} and told["switches"] == 20
    assert told["candidate"] > 0 and told["requests"] > told["candidate"]
    assert 0 < told["confirmed"]["p50"] <= told["confirmed"]["p99"] <= told["confirmed"]["longest"]
    assert told["reached"] is (told["confirmed"]["p99"] < 0.05 and told["last"]["p99"] < 0.05)


def test_without_envoy_it_says_how_to_get_it(tmp_path):
    with pytest.raises(MissingProgram, match="--envoy"):
        envoy(tmp_path / "none")


@pytest.mark.server
def test_controllers_side_by_side_look_and_none_ends(monkeypatch):
    """How many one core carries is for a quiet machine; here a few of them do their real work."""
    monkeypatch.setattr(sys, "setswitchinterval", lambda seconds: None)
    arguments = ["--rollouts", "4", "--seconds", "5", "--settle", "3", "--poll", "1", "--json"]
    result = CliRunner().invoke(bench, ["controller", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    told = json.loads(result.stdout)
    assert told["looks"] >= 8 and told["cpu_ms"] > 0 and told["memory_end"] > 0
    assert 0 <= told["lag_p50"] <= told["lag_p99"] <= told["lag_longest"]


def test_the_last_request_after_a_decision():
    starts = [1.0, 2.0, 2.01, 2.02, 9.0]
    assert _last(starts, 2.0, 5.0) == pytest.approx(0.02)
    assert _last(starts, 3.0, 5.0) == 0.0


def test_times_are_those_of_the_worst_hundredth():
    found = _times([0.001] * 990 + [0.1] * 10)
    assert (found.p50, found.p99, found.longest) == (0.001, 0.1, 0.1)
