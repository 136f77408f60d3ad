"""Signs of life: a silence is what was watched and what is certain, and no clock that jumps changes it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from huidu.foundation.clock import VirtualClock
from rollout.controller.lease import (
    SIZE,
    Lease,
    LeaseFile,
    age,
    boot_id,
    born,
    end_silent,
    read_lease,
    silent_for,
    watched,
)

LEASE = Lease("controller", 7, "1", "boot-a", 3, 1000.0, 5e9)


@pytest.mark.parametrize(
    ("boot", "monotonic", "seconds"),
    [
        ("boot-a", 1000.0, 0.0),
        ("boot-a", 1900.0, 900.0),
        ("boot-a", 990.0, 0.0),  # nonsense claims nothing
        ("boot-b", 40.0, 40.0),  # after a reboot: at least since the reboot, and no more is claimed
    ],
)
def test_the_age_of_a_lease_is_what_is_certain(boot, monotonic, seconds):
    assert age(LEASE, boot, monotonic) == seconds


def test_a_watcher_counts_from_the_renewal_it_saw_last():
    watch = watched(None, LEASE, 1000.0)
    watch = watched(watch, LEASE, 1400.0)
    assert silent_for(watch, LEASE, "boot-a", 1400.0) == 400.0
    renewed = dataclasses.replace(LEASE, beat=4, monotonic=1401.0)
    watch = watched(watch, renewed, 1402.0)
    assert silent_for(watch, renewed, "boot-a", 1402.0) == 1.0


def test_without_any_lease_silence_begins_with_the_watcher():
    watch = watched(None, None, 50.0)
    watch = watched(watch, None, 55.0)
    assert silent_for(watch, None, "boot-a", 60.0) == 10.0


def test_a_silence_that_was_watched_counts_also_where_the_lease_tells_of_less():
    """Written before a reboot: how old it is is not known, how long it was watched is."""
    watch = watched(None, LEASE, 40.0)
    watch = watched(watch, LEASE, 900.0)
    assert silent_for(watch, LEASE, "boot-b", 940.0) == 940.0
    assert silent_for(dataclasses.replace(watch, since=-10.0), LEASE, "boot-b", 940.0) == 950.0


def test_a_wall_clock_that_jumps_neither_makes_a_silence_nor_hides_one(tmp_path):
    clock = VirtualClock()
    lease = LeaseFile(tmp_path / "lease", "controller", clock)
    lease.renew()
    for jump in (+86_400.0, -200_000.0):
        clock.jump(jump)
        found = read_lease(tmp_path / "lease")
        watch = watched(None, found, clock.monotonic())
        assert silent_for(watch, found, boot_id(), clock.monotonic()) == 0.0
    clock.sleep(901)
    clock.jump(-5_000)
    assert silent_for(watch, found, boot_id(), clock.monotonic()) == 901.0
    lease.close()


def test_a_lease_is_renewed_in_place_once_a_second_and_nobody_else_may_read_it(tmp_path):
    clock = VirtualClock()
    path = tmp_path / "lease"
    lease = LeaseFile(path, "controller", clock)
    assert lease.renew() == ""
    inode = path.stat().st_ino
    for _ in range(30):
        clock.sleep(0.25)
        assert lease.renew() == ""
    lease.close()
    found = read_lease(path)
    assert found is not None and found.pid == os.getpid() and 7 <= found.beat <= 9
    assert path.stat().st_ino == inode and path.stat().st_size == SIZE and path.stat().st_mode & 0o077 == 0


def test_a_lease_that_cannot_be_written_says_so_and_stops_nobody(tmp_path):
    assert LeaseFile(tmp_path / "lease" / "no", "controller", VirtualClock()).renew() == ""
    (tmp_path / "file").write_text("")
    blocked = LeaseFile(tmp_path / "file" / "no", "controller", VirtualClock())
    assert blocked.renew() in ("Not a directory", "File exists")
    blocked.close()


def test_signs_of_life_of_many_rollouts_leave_no_file_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(5):
        lease = LeaseFile(tmp_path / f"{number}", "controller", VirtualClock())
        lease.renew()
        lease.close()
        lease.close()
        sleeper = subprocess.Popen(["sleep", "60"])
        known = dataclasses.replace(LEASE, pid=sleeper.pid, born=born(sleeper.pid), boot=boot_id())
        assert not end_silent(dataclasses.replace(known, born="1")) and end_silent(known)
        sleeper.wait(10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_where_the_system_does_not_tell_when_a_process_began_none_is_ended(monkeypatch):
    monkeypatch.setattr("rollout.controller.lease.born", lambda pid: "")
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        assert not end_silent(dataclasses.replace(LEASE, pid=sleeper.pid, born="", boot=boot_id()))
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait(10)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "\x00" * 40])
def test_half_a_lease_is_none(tmp_path, content):
    (tmp_path / "lease").write_text(content)
    assert read_lease(tmp_path / "lease") is None


def test_only_the_very_process_of_the_lease_is_ended():
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        lease = dataclasses.replace(LEASE, pid=sleeper.pid, born=born(sleeper.pid), boot=boot_id())
        assert not end_silent(dataclasses.replace(lease, born="1"))
        assert not end_silent(dataclasses.replace(lease, boot="another"))
        assert not end_silent(dataclasses.replace(lease, pid=os.getpid(), born=born(os.getpid())))
        assert sleeper.poll() is None
        assert end_silent(lease)
        assert sleeper.wait(10) == -9
        assert not end_silent(lease), "it is gone"
    finally:
        sleeper.kill()
        sleeper.wait(10)
