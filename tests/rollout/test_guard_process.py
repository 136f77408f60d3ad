"""Guards as processes, beside a real Envoy: what is killed, hangs or comes back, and where customers are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal
from rollout.controller.lease import read_lease

pytestmark = pytest.mark.server

NOBODY = {"cohort-high": 0, "cohort-rest": 0}


@pytest.fixture
def guarded(site):
    """A site whose plan is unattended after five seconds; every guard is gone when the test ends."""
    plan = site.plan()
    text = plan.read_text()
    assert "restart_within: 0s" in text
    text = text.replace("restart_within: 0s", "restart_within: 60s, unattended: 5s")
    plan.write_text(text.replace("final_bake: 2s", "final_bake: 3s"))
    yield site
    for lease in site.folder.rglob("*.lease"):
        found = read_lease(lease)
        if found is not None and found.pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGKILL)


def folder(site):
    return site.folder / "home" / "rollouts" / "v2"


def events(site):
    with Journal.open(folder(site) / "journal.sqlite", SystemClock(), writer=False) as journal:
        return list(journal.events())


def backs(site):
    return [e for e in events(site) if e.kind == "intended" and e.data["purpose"] == "unattended"]


def started(site, *more):
    process = site.start("run", str(site.folder / "plan.yaml"), "--release", "v2", *more)
    site.until(lambda: site.share()["cohort-high"] > 0)
    return process


@pytest.mark.drill
def test_a_killed_controller_is_stood_in_for_and_goes_on_from_stage_0_when_it_is_back(guarded):
    process = started(guarded, "--guard")
    process.kill()
    process.communicate(timeout=10)
    killed = time.monotonic()
    guarded.until(lambda: guarded.share() == NOBODY, 40)
    assert time.monotonic() - killed > 4, "not before the limit"
    guarded.until(lambda: not (folder(guarded) / "guard.lease").exists(), 30)
    assert len(backs(guarded)) == 1
    code, out, _ = guarded.run("status", "--json")
    assert code == 0 and json.loads(out)[0]["outcome"] == "retreated"
    code, out, err = guarded.run("run", str(guarded.folder / "plan.yaml"), "--release", "v2", "--json")
    assert code == 0, err
    assert "starts again at stage 0" in err
    assert guarded.share() == NOBODY and json.loads(out)["outcome"] == "promoted"


def test_a_controller_that_hangs_is_killed_before_a_guard_acts_and_of_two_guards_one_acts(guarded):
    process = started(guarded)
    guards = [guarded.start("guard", "v2") for _ in range(2)]
    guarded.until((folder(guarded) / "guard.lease").exists)
    process.send_signal(signal.SIGSTOP)
    guarded.until(lambda: guarded.share() == NOBODY, 40)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL, "it never wakes up"
    assert len(backs(guarded)) == 1 and "guard-ended" in [event.kind for event in events(guarded)]
    code, _, err = guarded.run("abort", "v2", "--why", "enough")
    assert code == 0, err
    codes = sorted(guard.wait(30) for guard in guards)
    assert codes[-1] == 4 and guarded.share() == NOBODY, "one acted, the other found nothing left"


@pytest.mark.drill
def test_both_dead_the_share_stays_and_the_next_start_says_how_long_nobody_watched(guarded):
    process = started(guarded, "--guard")
    code, _, err = guarded.run("pause", "v2", "--why", "lunch")
    assert code == 0 and "lunch" in err
    guard = read_lease(folder(guarded) / "guard.lease")
    os.kill(guard.pid, signal.SIGKILL)
    process.kill()
    process.communicate(timeout=10)
    share = guarded.share()
    time.sleep(6.5)
    assert guarded.share() == share != NOBODY, "nobody is there to act"
    code, _, err = guarded.run("resume", "v2", "--why", "back")
    assert code == 0
    process = guarded.start("run", str(guarded.folder / "plan.yaml"), "--release", "v2")
    guarded.until(lambda: [e.kind for e in events(guarded)].count("act") == 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3 and "nobody watched for" in err
    (unwatched,) = [
        e.data["unwatched"] for e in events(guarded) if e.kind == "resumed" and e.data["unwatched"]
    ]
    assert unwatched > 6
    said = [e for e in events(guarded) if e.kind == "act"]
    assert [e.data["act"] for e in said] == ["pause", "resume"]
