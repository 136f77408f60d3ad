"""How long from the decision until nobody is sent to the candidate any more, on a real Envoy under load.

One switch is what a rollback does: write the routes, read back from the proxy's admin address that they are
served. That is timed; and from the load's own records, when the last request began that the candidate got.
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import StateError
from rollout.bench.proxy import ARMS, COHORT, ROUTES, envoy, running
from rollout.routers.envoy import EnvoyProxy, EnvoyRouter
from rollout.routers.router import Split

LIMIT = 0.050
"""Seconds: from the decision to 0 %, 99 of 100 switches."""
OPEN = 5000
"""Basis points that the candidate has before each switch."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds."""

    p50: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True)
class Switched:
    """`written`: from the decision until the route file is renamed; `confirmed`: until the proxy was read
    back; `last`: until the last request began that the candidate answered. `failed`: requests of the whole
    run, by reason."""

    switches: int
    requests: int
    rate: float
    candidate: int
    failed: dict[str, int]
    written: Times
    confirmed: Times
    last: Times
    envoy: str
    machine: str

    @property
    def reached(self) -> bool:
        """Fast enough, and not one request failed."""
        return self.confirmed.p99 < LIMIT and self.last.p99 < LIMIT and not self.failed

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "limit": LIMIT, "reached": self.reached}


def switched(
    switches: int, rate: float, program: Path | None, say: Callable[[str], None], seed: int = 1
) -> Switched:
    """Switch so often, with `rate` requests a second offered. Raises HuiduError."""
    binary, busy = envoy(program), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="huidu-switch-") as name:
        folder = Path(name)
        with running(binary, folder) as proxy, _load(proxy.port, rate, folder / "load.tsv") as ended:
            router = EnvoyRouter(
                [EnvoyProxy(proxy.file, proxy.admin)], ROUTES, {COHORT: ARMS}, SystemClock(), 10.0
            )
            router.check()
            spans = _switches(router, switches, random.Random(seed), say)
            began, seconds = spans[0][0], spans[-1][3] - spans[0][0]
            ended()
        lines = _lines(folder / "load.tsv", began)
    failed = Counter(why for _, _, why in lines if why)
    starts = sorted(start for start, arm, _ in lines if arm == ARMS.candidate)
    last = [_last(starts, decided, opened) for decided, _, _, opened in spans]
    return Switched(
        switches=switches,
        requests=len(lines),
        rate=round(len(lines) / seconds, 1),
        candidate=len(starts),
        failed=dict(failed),
        written=_times([written - decided for decided, written, _, _ in spans]),
        confirmed=_times([confirmed - decided for decided, _, confirmed, _ in spans]),
        last=_times(last),
        envoy=_version(binary),
        machine=f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, load {busy:.1f} before",
    )


Span = tuple[float, float, float, float]
"""When it was decided, the file was written, the proxy was read back, the candidate was opened again."""


def _switches(
    router: EnvoyRouter, number: int, chance: random.Random, say: Callable[[str], None]
) -> list[Span]:
    spans = []
    _to(router, OPEN, "open-0")
    for each in range(1, number + 1):
        time.sleep(chance.uniform(0.005, 0.02))
        decided = time.monotonic()
        written = _to(router, 0, f"back-{each}")
        confirmed = time.monotonic()
        time.sleep(chance.uniform(0.01, 0.02))
        opened = time.monotonic()
        _to(router, OPEN, f"open-{each}")
        spans.append((decided, written, confirmed, opened))
        if each % 50 == 0:
            say(f"{each} of {number} switches")
    return spans


def _to(router: EnvoyRouter, weight: int, version: str) -> float:
    """When the file was written."""
    split = Split({COHORT: weight}, "salt", version)
    router.write(split)
    written = time.monotonic()
    router.confirm(split)
    return written


def _last(starts: Sequence[float], decided: float, opened: float) -> float:
    """Seconds after the decision at which the last request began that the candidate answered; 0: none did."""
    first, beyond = bisect_left(starts, decided), bisect_right(starts, opened)
    return starts[beyond - 1] - decided if beyond > first else 0.0


def _times(values: Sequence[float]) -> Times:
    ordered = sorted(values)

    def at(part: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 5)

    return Times(at(0.5), at(0.99), round(ordered[-1], 5))


@contextlib.contextmanager
def _load(port: int, rate: float, out: Path) -> Any:
    command = [sys.executable, "-m", "rollout.bench.load", str(port), str(rate), str(out)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)

    def ended() -> None:
        assert process.stdin is not None
        process.stdin.close()
        if process.wait(20) != 0:
            raise StateError("the load generator failed")

    try:
        time.sleep(1.0)
        yield ended
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(5)


def _lines(path: Path, began: float) -> list[tuple[float, str, str]]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        start, _, arm, why = line.split("\t")
        if float(start) >= began:
            found.append((float(start), arm, why))
    return found


def _version(binary: Path) -> str:
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=False)
    parts = [each for each in told.stdout.strip().split("/") if each[:1].isdigit() and each.count(".") == 2]
    return parts[0] if parts else "unknown"
