"""Whether the generator itself grows: 500 requests a second for minutes, its memory read from outside.

What grows in an hour is the slope of a straight line through the samples after the first fifth (caches, pools
and the interpreter fill first), so a short run already tells a leak; how far it is stretched is said.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import numpy as np
import psutil
from pydantic import BaseModel, ConfigDict

from huidu.foundation.errors import StateError
from huidu.foundation.terminal import Terminal
from loadtests.null_server import null_server
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.recording import read_recording, recording_file
from loadtests.runners.local import LocalRun

RATE = 500.0
# An hour at 500 requests a second may grow the generator by this much.
ALLOWED_MB_PER_HOUR = 20.0
_SAMPLE_SECONDS = 2.0
_SETTLING = 0.2
_FEWEST = 10


class Flatness(BaseModel):
    """Resident memory in MB: at the end, and growth in an hour with its standard error, by process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minutes: float
    requests: int
    worker_mb: float
    worker_mb_per_hour: float
    worker_error: float
    parent_mb: float
    parent_mb_per_hour: float
    parent_error: float

    @property
    def sentence(self) -> str:
        """For a person."""
        total = self.worker_mb_per_hour + self.parent_mb_per_hour
        error = math.hypot(self.worker_error, self.parent_error)
        stretched = "" if self.minutes >= 60 else f", stretched from {self.minutes:g} minutes to an hour"
        return (
            f"{self.requests:,} requests: the worker ({self.worker_mb:.0f} MB) grows by"
            f" {self.worker_mb_per_hour:+.1f} MB in an hour, the parent ({self.parent_mb:.0f} MB) by"
            f" {self.parent_mb_per_hour:+.1f}: {total:+.1f} +- {2 * error:.1f} together{stretched};"
            f" aim: below {ALLOWED_MB_PER_HOUR:g}"
        )


def growth(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """(slope, its standard error) per hour of (second, value) samples, the first fifth left out.

    Raises StateError where they are too few.
    """
    kept = samples[math.floor(len(samples) * _SETTLING) :]
    if len(kept) < _FEWEST:
        raise StateError("too short to see memory grow", remedy="--memory with more minutes")
    t, value = (np.array(each) for each in zip(*kept, strict=True))
    slope, base = np.polyfit(t, value, 1)
    rest = value - (slope * t + base)
    spread = float(np.sum((t - t.mean()) ** 2))
    error = math.sqrt(float(np.sum(rest**2)) / (len(kept) - 2) / spread)
    return float(slope) * 3600, error * 3600


def measure(minutes: float, terminal: Terminal) -> Flatness:
    """Run for `minutes`, with everything a verify records. Raises StateError."""
    worker: list[tuple[float, float]] = []
    parent: list[tuple[float, float]] = []
    own = psutil.Process()
    with null_server() as host, tempfile.TemporaryDirectory(prefix="huidu-bench-") as name:
        folder, plan = Path(name), _plan(host, minutes)
        with LocalRun(plan, folder) as run:
            if not run.wait_ready():
                raise StateError(run.stopped, where=name, remedy=run.log_tail())
            run.go()
            last = -math.inf
            for _ in run.watch():
                now = run.seconds()
                if not 0 <= now <= (plan.duration or 0) or now - last < _SAMPLE_SECONDS:
                    continue
                last = now
                worker.append((now, _megabytes(_worker(folder))))
                parent.append((now, _megabytes(own)))
                sizes = f"worker {worker[-1][1]:.1f} MB, parent {parent[-1][1]:.1f} MB"
                terminal.progress(f"{now:.0f} s of {plan.duration:.0f} s | {sizes}")
        terminal.close()
        requests = read_recording(folder, 1).requests().number
    (worker_slope, worker_error), (parent_slope, parent_error) = growth(worker), growth(parent)
    return Flatness(
        minutes=minutes,
        requests=requests,
        worker_mb=round(worker[-1][1], 1),
        worker_mb_per_hour=round(worker_slope, 2),
        worker_error=round(worker_error, 2),
        parent_mb=round(parent[-1][1], 1),
        parent_mb_per_hour=round(parent_slope, 2),
        parent_error=round(parent_error, 2),
    )


def _plan(host: str, minutes: float) -> Plan:
    profile = Profile.model_validate(
        {
            "channels": {"web": {"peak": RATE, "journey": {"http": [{"get": "/"}]}}},
            "offer": 1.0,
            "duration": minutes * 60,
            "warmup": 2,
            "calibration": 0,
        }
    )
    return make_plan(profile, Path("bench"), host=host, stack=None)


def _worker(folder: Path) -> psutil.Process:
    with recording_file(folder, 0).open(encoding="utf-8") as stream:
        return psutil.Process(int(json.loads(stream.readline())["pid"]))


def _megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        raise StateError("the worker died", where=f"process {process.pid}") from None
