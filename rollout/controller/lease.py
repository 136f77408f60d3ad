"""Signs of life: a file that one process renews, and by which another one knows how long it has been silent.

Time is the machine's monotonic clock, which all its processes share and no administrator can step, together
with the identity of this boot. It stands still while the machine is suspended, and so does everything that
would be watched. The wall clock is written down for people and decides nothing. After a reboot the age of a
lease is at least the time since the reboot; more is not claimed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.clock import Clock
from huidu.foundation.workspace import write_atomic

BEAT = 1.0
"""Seconds between two renewals, at least."""
SIZE = 512
"""Bytes: renewed in place, so that a full disk stops no sign of life."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Lease:
    """`pid` and `born` (ticks since boot) name the process; `beat` counts renewals; the clocks in seconds."""

    holder: str
    pid: int
    born: str
    boot: str
    beat: int
    monotonic: float
    wall: float


@dataclass(frozen=True, slots=True)
class Watch:
    """What a watcher remembers between two looks: the renewal it saw last, and since when (monotonic)."""

    seen: tuple[int, int] | None = None
    since: float = 0.0


def watched(watch: Watch | None, lease: Lease | None, monotonic: float) -> Watch:
    """After a look: time begins anew with the first look and with every renewal."""
    seen = None if lease is None else (lease.pid, lease.beat)
    return Watch(seen, monotonic) if watch is None or watch.seen != seen else watch


def age(lease: Lease, boot: str, monotonic: float) -> float:
    """Seconds since the lease was renewed, as far as that is certain."""
    if lease.boot != boot:
        return max(0.0, monotonic)  # the clock began with this boot, and the renewal was before it
    return max(0.0, monotonic - lease.monotonic)


def silent_for(watch: Watch, lease: Lease | None, boot: str, monotonic: float) -> float:
    """Seconds of silence: what the watcher saw itself, or what the lease tells of the time before."""
    told = age(lease, boot, monotonic) if lease is not None else 0.0
    return max(told, monotonic - watch.since)


def boot_id() -> str:
    """Another one after every reboot; "" where the system does not tell."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def born(pid: int) -> str:
    """When the process began, in ticks since boot; "" where there is none or the system does not tell."""
    try:
        # The second field is the program's name and may hold anything, brackets too.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def read_lease(path: Path) -> Lease | None:
    """None where there is none, or none that can be read."""
    try:
        return Lease(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class LeaseFile:
    """This process's own sign of life in `path`, 0600."""

    def __init__(self, path: Path, holder: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._handle: int | None = None
        pid = os.getpid()
        self._lease = Lease(holder, pid, born(pid), boot_id(), 0, -BEAT, 0.0)

    def renew(self) -> str:
        """May be called as often as one likes; "" or why it could not be written."""
        monotonic = self._clock.monotonic()
        if monotonic - self._lease.monotonic < BEAT:
            return ""
        lease = dataclasses.replace(
            self._lease, beat=self._lease.beat + 1, monotonic=monotonic, wall=self._clock.now()
        )
        text = json.dumps(dataclasses.asdict(lease)).ljust(SIZE - 1) + "\n"
        try:
            if self._handle is None:
                write_atomic(self._path, text, mode=0o600)
                self._handle = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            else:
                os.pwrite(self._handle, text.encode(), 0)
        except OSError as error:
            return error.strerror or str(error)
        self._lease = lease
        return ""

    def close(self) -> None:
        """The file stays: it tells the next one since when nobody watches."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def end_silent(lease: Lease) -> bool:
    """Kill the process of a silent lease; whether there was one. It can then not act when it wakes up.

    The process is held by a handle while its beginning is compared: another one of the same number is safe.
    """
    if not lease.born or lease.boot != boot_id() or lease.pid == os.getpid():
        return False
    try:
        handle = os.pidfd_open(lease.pid)
    except (OSError, AttributeError):
        return False
    try:
        if born(lease.pid) != lease.born:
            return False
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return True
        return False
    finally:
        os.close(handle)
