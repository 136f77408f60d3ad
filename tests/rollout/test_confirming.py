"""Waiting until a proxy serves what it was asked to, and saying which of several do not."""

from __future__ import annotations

import pytest

from huidu.foundation.clock import VirtualClock
from rollout.routers.fleet import Patience, each_of, partial, unconfirmed
from rollout.routers.router import ProxyView, Split

OLD, NEW = Split({"all": 0}, version="1"), Split({"all": 500}, version="2")
PATIENCE = Patience(within=10.0, first_pause=0.1, longest_pause=0.5)


class Proxy:
    """Silent for a while, then serves the old split, then the new one; times are seconds from the start."""

    def __init__(self, speaks, switches):
        self.clock = VirtualClock()
        self.began, self.speaks, self.switches = self.clock.monotonic(), speaks, switches
        self.looks = []

    def look(self):
        t = self.clock.monotonic() - self.began
        self.looks.append(t)
        if t < self.speaks:
            return ProxyView("a", problem="silent")
        return ProxyView("a", NEW if t >= self.switches else OLD)

    def waited_for(self):
        return unconfirmed(self.look, lambda served: served.version == "2", PATIENCE, self.clock)


@pytest.mark.parametrize("switches", [0.0, 0.3, 5.0, 9.9])
def test_a_proxy_is_looked_at_until_it_serves_what_was_asked(switches):
    proxy = Proxy(0, switches)
    assert proxy.waited_for() is None
    assert switches <= proxy.looks[-1] <= switches + PATIENCE.longest_pause


@pytest.mark.parametrize(
    ("speaks", "seen"), [(0, ProxyView("a", OLD)), (99, ProxyView("a", problem="silent"))]
)
def test_one_that_does_not_is_told_as_it_was_seen_last(speaks, seen):
    proxy = Proxy(speaks, 99)
    assert proxy.waited_for() == seen
    assert 10.0 <= proxy.looks[-1] <= 10.5, "looked at once more when the time was over"
    pauses = [after - before for before, after in zip(proxy.looks, proxy.looks[1:], strict=False)]
    assert pauses[0] == pytest.approx(0.1) and max(pauses) == pytest.approx(0.5)


@pytest.mark.parametrize("members", [("a",), ("a", "b", "c")])
def test_what_is_asked_of_all_is_told_in_their_order(members):
    assert each_of(members, str.upper, most=2) == [each.upper() for each in members]


def test_one_of_several_is_told_with_how_many_there_are():
    assert str(partial("not written", ["b: no"], 3, "proxies", "x")).startswith(
        "not written by 1 of 3 proxies: b: no"
    )
    assert str(partial("not written", ["a: no"], 1, "proxies", "x")).startswith("not written: a: no")
