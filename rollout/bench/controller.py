"""How many rollouts one process carries: real controllers, journals, evidence files and HTTP; no proxy.

Each rollout follows the gates of the plan `production` over three cohorts. Prometheus is a stand-in of its
own process that costs little (stand_in.py), the router lives in memory: what is measured is what one
controller costs its process, how late its looks come, and whether its memory grows.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from huidu.foundation.clock import Clock, SystemClock
from huidu.foundation.errors import StateError
from huidu.foundation.journal import Journal
from huidu.foundation.prometheus import Prometheus
from rollout.collect import Collector
from rollout.controller.edge import Edge, Eyes, Look
from rollout.controller.fold import RolloutState
from rollout.controller.run import Controller
from rollout.evidence_file import Header
from rollout.evidence_log import FileEvidence
from rollout.ladder import Ladder
from rollout.many import TAKE_TURNS
from rollout.plan import CohortArms, Plan, ladder_of
from rollout.plan.file import PLANS, parse_plan, plan_hash
from rollout.routers.memory import MemoryRouter

COHORTS = ("high", "standard", "anonymous")
LAG = 1.0
"""Seconds: no look may come later than planned by more."""
GROWTH = 0.05
"""Memory is flat when the second half of the run adds no more than this part (journals' caches apart)."""
SETTLE = 70.0
"""Seconds at the start that do not count: traffic is kept for a minute, and until then memory grows."""


@dataclass(frozen=True, slots=True)
class Carried:
    """`lag_*`: seconds that looks came later than planned. `cpu`: cores the process used; `cpu_ms`: per look.
    `one_core`: rollouts that one core would carry at that cost. Memory in MiB."""

    rollouts: int
    poll: float
    seconds: float
    looks: int
    lag_p50: float
    lag_p99: float
    lag_longest: float
    cpu: float
    cpu_ms: float
    one_core: int
    memory_start: float
    memory_half: float
    memory_end: float
    machine: str

    @property
    def reached(self) -> bool:
        """Every look in time, and memory flat."""
        return self.lag_longest < LAG and self.memory_end <= self.memory_half * (1 + GROWTH)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "limit": LAG, "reached": self.reached}


@dataclass
class _Timed:
    """Eyes that note when they were opened."""

    eyes: Eyes
    clock: Clock
    opened: list[float] = field(default_factory=list)

    def look(self, state: RolloutState, now: float) -> Look:
        self.opened.append(self.clock.monotonic())
        return self.eyes.look(state, now)


class _Silent:
    def say(self, text: str, style: str = "") -> None:
        return None

    def progress(self, text: str) -> None:
        return None


def carried(
    rollouts: int, seconds: float, poll: float, say: Callable[[str], None], settle: float = SETTLE
) -> Carried:
    """Drive so many for so long. Raises StateError where the stand-in does not start."""
    busy = os.getloadavg()[0]
    sys.setswitchinterval(TAKE_TURNS)
    with tempfile.TemporaryDirectory(prefix="huidu-bench-") as name, _prometheus() as address:
        text = _plan_text(address, poll)
        plan = parse_plan(text, "bench.yaml")
        stop = threading.Event()
        rides = [_Ride(Path(name) / str(each), text, plan, address, stop.is_set) for each in range(rollouts)]
        with contextlib.ExitStack() as stack:
            for number, ride in enumerate(rides):
                stack.callback(ride.thread.join, 60)
                ride.start(number * poll / rollouts)
            stack.callback(stop.set)
            memory, cpu, whole, since = _watched(seconds, settle, say)
        problems = [ride.problem for ride in rides if ride.problem]
        if problems:
            raise StateError(f"{len(problems)} of {rollouts} rollouts ended: {problems[0]}")
    lags, looks = [], 0
    for ride in rides:
        times = [at for at in ride.eyes.opened if at >= since]
        looks += len(times)
        lags += [max(0.0, b - a - poll) for a, b in itertools.pairwise(times)]
    lags.sort()
    per_look = cpu / max(1, looks)
    return Carried(
        rollouts=rollouts,
        poll=poll,
        seconds=round(whole, 1),
        looks=looks,
        lag_p50=round(lags[len(lags) // 2], 4),
        lag_p99=round(lags[int(0.99 * len(lags))], 4),
        lag_longest=round(lags[-1], 4),
        cpu=round(cpu / whole, 3),
        cpu_ms=round(1000 * per_look, 2),
        one_core=int(poll / per_look),
        memory_start=memory[0],
        memory_half=memory[1],
        memory_end=memory[2],
        machine=f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, load {busy:.1f} before",
    )


class _Ride:
    """One rollout in a thread."""

    def __init__(self, folder: Path, text: str, plan: Plan, address: str, stop: Callable[[], bool]) -> None:
        self._folder = folder
        self._text = text
        self._plan = plan
        self._stop = stop
        self.problem = ""
        self._ladder: Ladder = ladder_of(plan, COHORTS)
        clock = SystemClock()
        cohorts = {name: _arms(name) for name in COHORTS}
        self.eyes = _Timed(Collector(Prometheus(address), plan, cohorts, "v2", "v1"), clock)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._after = 0.0

    def start(self, after: float) -> None:
        """Begin so many seconds from now, so that not all look at the same moment."""
        self._after = after
        self.thread.start()

    def _run(self) -> None:
        time.sleep(self._after)
        clock = SystemClock()
        try:
            with Journal.open(self._folder / "journal.sqlite", clock) as journal:
                self._started(journal)
                evidence = FileEvidence(self._folder / "evidence.jsonl", Header(plan_hash(self._text), "1"))
                router = MemoryRouter(COHORTS)
                edge = Edge(journal, router, self.eyes, evidence, clock, _Silent(), self._folder, self._stop)
                edge.abort = self._asked
                Controller(self._folder.name, self._plan, self._ladder, edge).drive()
                evidence.close()
            if not self._stop():
                self.problem = "it ended before the bench did"
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"

    def _asked(self) -> str:
        return "asked" if (self._folder / "abort").exists() else ""

    def _started(self, journal: Journal) -> None:
        journal.append(
            "started",
            release="v2",
            stable_release="v1",
            plan_name=self._plan.name,
            plan_file="bench.yaml",
            plan_text=self._text,
            plan_hash=plan_hash(self._text),
            cohorts=list(COHORTS),
            salt="v2-1",
            token="bench-1",  # noqa: S106 - a version's prefix, no secret
            rollback_version="bench-1-stable",
        )


def _watched(
    seconds: float, settle: float, say: Callable[[str], None]
) -> tuple[list[float], float, float, float]:
    """Memory at the start, in the middle and at the end; CPU seconds, how long it was, and since when."""
    process = psutil.Process()
    time.sleep(settle)
    memory, began, cpu = [_mib(process)], time.monotonic(), time.process_time()
    for half in (1, 2):
        while time.monotonic() - began < half * seconds / 2:
            time.sleep(0.5)
            say(f"{time.monotonic() - began:.0f} of {seconds:.0f} s, {_mib(process):.0f} MiB")
        memory.append(_mib(process))
    return memory, time.process_time() - cpu, time.monotonic() - began, began


def _mib(process: psutil.Process) -> float:
    return round(float(process.memory_info().rss) / 2**20, 1)


def _arms(cohort: str) -> CohortArms:
    return CohortArms(route=cohort, stable=f"stable-{cohort}", candidate=f"candidate-{cohort}")


def _plan_text(address: str, poll: float) -> str:
    raw = yaml.safe_load((PLANS / "production.yaml").read_text(encoding="utf-8"))
    for key in ("synthetic", "comparison", "deploy", "guard", "freeze", "people"):
        raw.pop(key, None)
    raw["route"] = {
        "router": "envoy",
        "proxies": [{"file": "/nowhere", "admin": "127.0.0.1:1"}],
        "route_config": "arms",
        "cohorts": {name: _arms(name).model_dump(exclude_defaults=True) for name in COHORTS},
    }
    raw["observation"] |= {"prometheus": address, "poll": poll}
    raw["limits"] |= {"longest_bake": "24h"}
    return yaml.safe_dump(raw, sort_keys=False)


@contextlib.contextmanager
def _prometheus() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "rollout.bench.stand_in", str(port)]
    process = subprocess.Popen(command, env=environment)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > deadline:
                raise StateError("the stand-in for Prometheus did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
