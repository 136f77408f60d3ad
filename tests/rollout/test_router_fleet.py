"""A fleet of proxies, some of which do not do as they are told; weights that somebody else moved; streams."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import requests

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import RouterError, StateError
from huidu.foundation.outcome import Outcome
from rollout.acts import acted, read, submit
from rollout.overview import detail_lines
from rollout.plan import Command
from rollout.record import report
from rollout.routers.envoy import EnvoyProxy, EnvoyRouter
from rollout.routers.envoy_routes import Arms
from rollout.routers.memory import MemoryRouter
from rollout.routers.router import ProxyView, RouteView, Split
from tests.rollout.worlds import COHORTS

NOBODY = dict.fromkeys(COHORTS, 0)


def of_two(stage):
    """`stage` behind two proxies."""
    stage.router = stage.world.router = MemoryRouter(COHORTS, proxies=("one", "two"))
    return stage


def planned(stage, part, **changed):
    """`stage` by a plan whose `part` says something else."""
    section = getattr(stage.plan, part).model_copy(update=changed)
    stage.plan = stage.plan.model_copy(update={part: section})
    return stage


def events(stage, kind):
    return [event for event in stage.journal.events() if event.kind == kind]


def until(stage, seconds):
    end = stage.clock.now() + seconds
    return lambda: stage.clock.now() >= end


def opened(stage, seconds=8):
    """The rollout has sent somebody to the candidate, and was stopped."""
    stage.controller(stop=until(stage, seconds)).drive()
    assert any(stage.router.served.weights.values())
    return stage


def by_hand(stage, weights, proxies=("one", "two"), version="by-hand"):
    for proxy in proxies:
        stage.router.give(proxy, Split(weights, stage.router.served.salt, version))


# a fleet


def test_of_a_fleet_every_proxy_is_confirmed(stage):
    of_two(stage)
    assert stage.controller().drive() is Outcome.GOOD
    assert stage.router.serves("one") == stage.router.serves("two")
    assert not events(stage, "partial")


def test_a_widening_that_one_proxy_does_not_take_is_partial_and_named_once(stage):
    opened(of_two(stage), 3)
    stage.router.silence("two")
    stage.controller(stop=until(stage, 30)).drive()  # evidence opens the next share
    told = events(stage, "partial")
    assert len(told) == 1, "news once, however often it is tried"
    assert {each["proxy"]: each["takes"] for each in told[0].data["proxies"]} == {"one": True, "two": False}
    assert "partial: 1 of 2 proxies serve it (one); two is silent and may serve" in told[0].data["sentence"]
    facts = report("virtual", stage.journal.events())
    assert any(line.strip().startswith("partial:") for line in detail_lines(facts)), "status says it"
    stage.router.wake("two")
    assert stage.controller().drive() is Outcome.GOOD
    assert report("virtual", stage.journal.events())["partial"] == []


def test_a_rollback_goes_on_for_the_proxies_that_answer_and_is_tried_until_the_others_do(stage):
    opened(of_two(stage))
    stage.world.candidate_errors = 0.3
    stage.router.silence("two")
    begun = stage.clock.now()

    def wakes() -> str:
        if stage.clock.now() > begun + 60:
            stage.router.wake("two")
        return ""

    waking = Waking(stage.router, wakes)
    assert stage.controller(router=waking).drive() is Outcome.BAD
    assert stage.clock.now() > begun + 60
    told = events(stage, "partial")
    assert len(told) == 1 and "two is silent" in told[0].data["sentence"]
    first_of_one = next(t for t, one, two in waking.seen if not any(one.values()))
    assert first_of_one < begun + 20, "the one that answers does not wait for the other"
    assert stage.router.serves("one").weights == stage.router.serves("two").weights == NOBODY


class Waking:
    """A router that does something at each write, and remembers what both proxies serve afterwards."""

    def __init__(self, router, at_each):
        self._router, self._at_each = router, at_each
        self.seen = []

    def write(self, split):
        self._at_each()
        self._router.write(split)

    def confirm(self, split):
        try:
            self._router.confirm(split)
        finally:
            served = [self._router.serves(proxy).weights for proxy in ("one", "two")]
            self.seen.append((self._router.look() and len(self.seen), *served))

    def __getattr__(self, name):
        return getattr(self._router, name)


def test_after_the_limit_people_are_called_and_the_next_run_goes_on_with_the_way_back(stage):
    planned(opened(of_two(stage)), "rollback", insist=120.0)
    stage.world.candidate_errors = 0.3
    stage.router.silence("two")
    assert stage.controller().drive() is Outcome.HELD
    held = events(stage, "held")[-1].data["sentence"]
    assert "not taken back everywhere" in held and "two is silent and may serve" in held
    assert stage.controller().drive() is Outcome.HELD, "a silent proxy does not keep it from trying again"
    with pytest.raises(RouterError, match="not taken back"):
        stage.controller().take_back("now")
    stage.router.wake("two")
    assert stage.controller().drive() is Outcome.BAD
    assert stage.router.serves("two").weights == NOBODY


def test_while_a_way_back_is_refused_people_are_told_and_a_guard_hears_of_life(stage):
    opened(stage)
    stage.world.candidate_errors = 0.3
    refused, signs, posts = [], [], []

    def fault(call):
        if call == "write" and len(refused) < 10:
            refused.append((len(signs), len(posts)))
            raise RouterError("no")

    stage.router._fault = fault

    class Post:
        def see(self, events):
            return None

        def turn(self):
            posts.append(1)

        def close(self):
            return None

    def alive():
        signs.append(1)
        return ""

    assert stage.controller(post=Post(), alive=alive).drive() is Outcome.BAD
    assert all(later[0] > sooner[0] for sooner, later in itertools.pairwise(refused))
    assert all(later[1] > sooner[1] for sooner, later in itertools.pairwise(refused))


@contextlib.contextmanager
def read_only(folder):
    """Nobody here may write into `folder`: root could, so it is somebody else who tries."""
    mode, root = folder.stat().st_mode, os.geteuid() == 0
    folder.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@pytest.fixture
def folders():
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        made = [Path(name) / each for each in ("one", "two")]
        for folder in made:
            folder.mkdir()
            folder.chmod(0o777)
        yield made


def test_a_folder_that_must_not_be_written_is_named_and_the_other_proxies_are_written(folders, document):
    for folder in folders:
        (folder / "arms.json").write_text(json.dumps(document))
    files = [folder / "arms.json" for folder in folders]
    router = EnvoyRouter([EnvoyProxy(file, "x") for file in files], "arms", ARMS, SystemClock())
    split = Split({"high": 500, "standard": 0}, "s", "v-1")
    with read_only(folders[0]):
        with pytest.raises(RouterError, match="cannot be locked: Permission denied") as locked:
            router.acquire("rollout v2")
        with pytest.raises(RouterError, match="way back cannot be prepared"):
            router.reserve(split)
        with pytest.raises(RouterError, match=r"not written by 1 of 2 proxies.*Permission denied") as refused:
            router.write(split)
    assert str(files[0]) in str(locked.value) and str(files[0]) in str(refused.value)
    assert [json.loads(file.read_text())["version_info"] for file in files] == ["0", "v-1"]


# somebody else


def test_weights_that_somebody_else_moves_are_told_and_nothing_widens_until_they_are_back(stage):
    opened(of_two(stage), 3)
    was = dict(stage.router.served.weights)
    by_hand(stage, {"high": 9000, "standard": 0}, ("two",))
    before = len(stage.router.writes)
    # the takeover refuses, and journals it
    with pytest.raises(StateError, match="somebody else"):
        stage.controller().drive()
    by_hand(stage, was, ("two",))
    begun = stage.clock.now()
    kept = []

    def stop():
        passed = stage.clock.now() - begun
        if not kept and passed > 3:
            kept.append(dict(stage.router.serves("one").weights))
            by_hand(stage, {"high": 9000, "standard": 0}, ("two",))
        if len(kept) == 1 and passed > 40:
            kept.append({})
            by_hand(stage, kept[0], ("two",))
        return passed > 600

    assert stage.controller(stop=stop).drive() is Outcome.GOOD
    told = [event for event in events(stage, "changed") if event.t > begun]
    back = [event for event in events(stage, "unchanged") if event.t > begun + 5]
    assert len(told) == 1 and "two serves high 90 %" in told[0].data["sentence"]
    assert len(back) == 1
    intended = [event.t for event in events(stage, "intended")]
    assert not [t for t in intended if told[0].t < t < back[0].t], "nothing widens meanwhile"
    assert len(stage.router.writes) > before


class Remade(MemoryRouter):
    """Whose first proxy somebody made into something that is no split, while `remade`."""

    remade = False

    def look(self):
        first, *others = super().look().proxies
        if self.remade:
            first = ProxyView(first.name, problem="route 'cohort-high' lists others", foreign=True)
        return RouteView((first, *others))


def test_routes_that_somebody_made_into_something_else_are_told_and_nothing_widens_until_they_are_back(stage):
    opened(of_two(stage), 3)
    served = stage.router.served
    router = stage.router = stage.world.router = Remade(COHORTS, proxies=("one", "two"))
    router.served = served
    begun = stage.clock.now()

    def stop():
        router.remade = 3 < stage.clock.now() - begun < 40
        return stage.clock.now() - begun > 600

    assert stage.controller(stop=stop).drive() is Outcome.GOOD
    (told,) = (event for event in events(stage, "changed") if event.t > begun)
    (back,) = (event for event in events(stage, "unchanged") if event.t > begun)
    assert "one holds what no rollout writes (route 'cohort-high' lists others)" in told.data["sentence"]
    assert not [event for event in events(stage, "intended") if told.t < event.t < back.t]


def test_a_move_that_was_refused_is_not_repeated_over_what_somebody_else_made_meanwhile(stage):
    other = {"high": 9000, "standard": 0}

    def overtaken(call):
        if call == "write" and any(stage.router.served.weights.values()) and not events(stage, "changed"):
            by_hand(stage, other, ("memory",))
            raise RouterError("somebody else changed it after it was looked at")

    stage.router = stage.world.router = MemoryRouter(COHORTS, overtaken)
    stage.controller(stop=until(stage, 60)).drive()
    assert len(events(stage, "changed")) == 1
    assert dict(stage.router.served.weights) == other
    assert [event.kind for event in stage.journal.events()].count("confirmed") == 1, "the first customers"
    # neither by the next controller, which finds the move begun in the journal
    stage.controller(stop=until(stage, 20)).drive()
    assert dict(stage.router.served.weights) == other
    stage.controller().take_back("no")
    assert stage.router.served.all_stable


def test_a_bad_release_goes_back_although_somebody_else_moved_the_weights(stage):
    opened(of_two(stage))
    begun = stage.clock.now()

    def stop():
        if stage.clock.now() == begun + 1 or (stage.clock.now() > begun and not stage.world.candidate_errors):
            by_hand(stage, {"high": 9000, "standard": 0}, ("one", "two"))
            stage.world.candidate_errors = 0.3
        return False

    assert stage.controller(stop=stop).drive() is Outcome.BAD
    assert events(stage, "changed") and stage.router.served.all_stable


def test_by_plan_the_journaled_weights_are_written_again(stage):
    opened(planned(of_two(stage), "route", changed="restore"))
    was = dict(stage.router.served.weights)
    by_hand(stage, {"high": 9000, "standard": 9000}, ("two",))
    stage.controller(stop=until(stage, 2)).drive()
    move = next(event for event in events(stage, "intended") if event.data["purpose"] == "restore")
    assert move.data["weights"] == was
    assert "somebody else" in events(stage, "changed")[0].data["sentence"]
    assert stage.controller().drive() is Outcome.GOOD


def test_restoring_a_share_that_somebody_took_away_waits_for_a_freeze_to_end(stage):
    opened(planned(of_two(stage), "route", changed="restore"))
    by_hand(stage, NOBODY)
    stage.controller(stop=until(stage, 5), frozen=lambda now: "freeze").drive()
    assert not any(stage.router.served.weights.values())
    assert stage.controller().drive() is Outcome.GOOD


def test_a_share_given_by_hand_before_the_first_customers_leaves_stage_and_proof_as_they_were(stage):
    planned(of_two(stage), "route", changed="restore")
    by_hand(stage, {"high": 300, "standard": 0})
    with_nobody = stage.controller(stop=until(stage, 0.5))
    with_nobody.drive()
    assert with_nobody.state.untouched and with_nobody.state.opened_at == 0
    assert not any(stage.router.served.weights.values())


def test_a_share_that_no_journal_knows_is_refused_then_adopted_by_a_person_or_given_back(stage, tmp_path):
    of_two(stage)
    stage.router.give("one", Split({"high": 700, "standard": 0}, "old-salt", "last-week"))
    stage.router.give("two", Split({"high": 700, "standard": 0}, "old-salt", "last-week"))
    with pytest.raises(StateError, match="somebody else") as refused:
        stage.controller().drive()
    assert "adopt" in refused.value.remedy and "abort" in refused.value.remedy
    assert len(events(stage, "changed")) == 1
    submit(tmp_path, acted(stage.clock, "adopt", ("anna", "os"), "we know that share"))
    outcome = stage.controller(acts=lambda after: read(tmp_path, after)).drive()
    assert outcome is Outcome.GOOD
    assert any("anna goes on from the weights" in event.data["sentence"] for event in events(stage, "act"))
    adopted = events(stage, "intended")[0]
    assert adopted.data["weights"] == {"high": 700, "standard": 0}


def test_a_running_controller_goes_on_from_weights_that_a_person_adopts(stage, tmp_path):
    opened(of_two(stage), 3)
    begun = stage.clock.now()
    done = []

    def stop():
        if not done and stage.clock.now() > begun + 2:
            done.append(1)
            by_hand(stage, {"high": 700, "standard": 0})
        if len(done) == 1 and stage.clock.now() > begun + 10:
            done.append(1)
            submit(tmp_path, acted(stage.clock, "adopt", ("anna", "os"), "my own doing"))
        return False

    assert stage.controller(stop=stop, acts=lambda after: read(tmp_path, after)).drive() is Outcome.GOOD
    assert any("as anna asked" in line for line in stage.lines.said)


def test_an_adoption_is_refused_where_nothing_was_changed(stage, tmp_path):
    submit(tmp_path, acted(stage.clock, "adopt", ("anna", "os"), "to be sure"))
    stage.controller(acts=lambda after: read(tmp_path, after)).drive()
    (act,) = events(stage, "act")
    assert not act.data["accepted"] and "what the journal knows" in act.data["sentence"]


def test_the_same_weights_under_an_unknown_version_are_told_and_hold_nothing(stage):
    opened(of_two(stage), 3)
    by_hand(stage, dict(stage.router.served.weights), ("two",), version="somebody-s")
    assert stage.controller().drive() is Outcome.GOOD
    (strange,) = events(stage, "strange-version")
    assert "unknown version 'somebody-s'" in strange.data["sentence"]
    assert not events(stage, "changed")


# what the candidate still serves


def closing(stage, tmp_path, code="pass"):
    command = Command(run=(sys.executable, "-c", code), timeout=1e6)  # in virtual time
    return planned(stage, "rollback", drain=20.0, close=command)


def test_requests_that_end_by_themselves_are_waited_for_and_nothing_is_closed(stage, tmp_path):
    opened(closing(stage, tmp_path, "raise SystemExit(1)"))
    stage.world.candidate_errors = 0.3
    stage.router.open = 12
    router = Counting(stage.router, [12, 12, 5, 0])
    assert stage.controller(router=router).drive() is Outcome.BAD
    (begun,), (ended,) = events(stage, "draining"), events(stage, "drained")
    assert begun.data["open"] == 12 and begun.data["proxies"] == {"memory": 12}
    assert (ended.data["before"], ended.data["after"]) == (12, 0)
    sentence = report("virtual", stage.journal.events())["sentence"]
    assert "12 requests of v2 still open, over by themselves" in sentence
    assert not (tmp_path / "close.log").exists()


def test_after_the_drain_limit_what_is_left_is_closed_by_the_plan_s_command(stage, tmp_path):
    gone = tmp_path / "gone"
    opened(closing(stage, tmp_path, f"open({str(gone)!r}, 'w')"))
    stage.world.candidate_errors = 0.3
    router = Counting(stage.router, [], lambda: 0 if gone.exists() else 3)
    assert stage.controller(router=router).drive() is Outcome.BAD
    (begun,), (ended,) = events(stage, "draining"), events(stage, "drained")
    assert ended.t - begun.t >= 20, "not before the limit"
    assert (ended.data["before"], ended.data["after"]) == (3, 0)
    assert "after 20 s 3 were closed" in events(stage, "ended")[0].data["sentence"]


def test_without_a_command_that_closes_them_the_end_says_what_goes_on(stage):
    opened(stage)
    stage.world.candidate_errors = 0.3
    stage.router.open = 2
    assert stage.controller().drive() is Outcome.BAD
    sentence = events(stage, "ended")[0].data["sentence"]
    assert "2 go on, the plan names no command that closes them (rollback.close)" in sentence


def test_a_closing_command_that_fails_is_said(stage, tmp_path):
    opened(closing(stage, tmp_path, "raise SystemExit('no rights')"))
    stage.world.candidate_errors = 0.3
    stage.router.open = 2
    assert stage.controller().drive() is Outcome.BAD
    assert "2 go on (" in events(stage, "ended")[0].data["sentence"]


def test_killed_while_draining_the_next_one_counts_on_from_when_it_began(stage):
    opened(stage)
    stage.world.candidate_errors = 0.3
    stage.router.open = 2

    class Dies(BaseException):
        pass

    def alive():
        if events(stage, "draining"):
            raise Dies
        return ""

    with pytest.raises(Dies):
        stage.controller(alive=alive).drive()
    begun = events(stage, "draining")[0].t
    stage.clock.sleep(25)
    assert stage.controller().drive() is Outcome.BAD
    assert len(events(stage, "draining")) == 1
    assert 30 <= events(stage, "drained")[0].t - begun < 33


class Counting:
    """A router whose open streams are counted down, then read from `rest`."""

    def __init__(self, router, counts, rest=lambda: 0):
        self._router, self._counts, self._rest = router, list(counts), rest

    def streams(self):
        (first, *others) = self._router.streams()
        count = self._counts.pop(0) if self._counts else self._rest()
        return (dataclasses.replace(first, requests=count), *others)

    def __getattr__(self, name):
        return getattr(self._router, name)


# real proxies

ARMS = {
    "high": Arms("cohort-high", "stable-high", "candidate-high"),
    "standard": Arms("cohort-rest", "stable-rest", "candidate-rest"),
}
CHAT = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1])), reuse_port=False) as server:
    held = []
    while True:
        talk, _ = server.accept()
        talk.recv(65536)
        talk.sendall(b"HTTP/1.1 200 OK\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n2\\r\\nhi\\r\\n")
        held.append(talk)
"""


def real(*edges, within=0.5):
    proxies = [EnvoyProxy(edge.route_file, edge.admin) for edge in edges]
    return EnvoyRouter(proxies, "arms", ARMS, SystemClock(), within)


def give(router, high):
    split = Split({"high": high, "standard": 0}, "v2-1", "somebody")
    router.write(split)
    router.confirm(split)


@pytest.mark.server
def test_of_two_envoys_one_that_is_stopped_is_named_and_goes_back_when_it_runs_again(stage, start_edge):
    first, second = start_edge("one"), start_edge("two")
    both = real(first, second)
    give(both, 10_000)
    os.kill(second.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RouterError, match="not taken back"):
            stage.controller(router=both).take_back("now")
        assert first.arm_of("c-1") == "stable", "the one that answers has gone back"
        (partial,) = events(stage, "partial")
        assert {each["proxy"]: each["takes"] for each in partial.data["proxies"]} == {
            first.admin: True,
            second.admin: False,
        }
    finally:
        os.kill(second.process.pid, signal.SIGCONT)
    assert stage.controller(router=real(first, second, within=5.0)).take_back("again") is not None
    assert second.arm_of("c-1") == "stable"
    assert report("virtual", stage.journal.events())["partial"] == []


@pytest.mark.server
def test_a_chat_on_the_candidate_is_counted_by_envoy_and_closed_by_the_plan_s_command(stage, start_edge):
    edge = start_edge()
    router = real(edge, within=5.0)
    port = edge.arms["candidate"].server_address[1]
    edge.arms["candidate"].shutdown()
    edge.arms["candidate"].server_close()
    chat = subprocess.Popen([sys.executable, "-c", CHAT, str(port)])
    try:
        _listens(port)
        give(router, 10_000)
        headers = {"x-customer-id": "c-1", "x-tier": "high"}
        with requests.get(edge.url, headers=headers, stream=True, timeout=10) as talk:
            assert router.streams()[0].requests == 1
            planned(stage, "rollback", drain=0.0, close=Command(run=("kill", str(chat.pid)), timeout=10))
            stage.controller(router=router, clock=SystemClock()).take_back("now")
            with pytest.raises(requests.exceptions.RequestException):
                list(talk.iter_content(1024))
        (ended,) = events(stage, "drained")
        assert (ended.data["before"], ended.data["after"]) == (1, 0)
        assert "1 were closed" in ended.data["sentence"]
    finally:
        chat.kill()
        chat.wait(10)


def _listens(port):
    for _ in range(200):
        if _tcp_listeners(port):
            return
        time.sleep(0.02)
    raise AssertionError("the candidate does not listen")


def _tcp_listeners(port):
    """Without connecting: the candidate would take that for a chat."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)
