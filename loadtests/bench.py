"""What a request costs the generator: ours, open and fully recorded, beside stock Locust's fast client.

Turn about against the same null server, in one run on one machine: only the ratio means anything elsewhere.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from huidu.foundation.errors import StateError
from huidu.foundation.terminal import Terminal
from loadtests.null_server import null_server
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.recording import Recording
from loadtests.runners.local import LocalRun

STOCK = Path(__file__).with_name("stock_user.py")
_WARMUP_SECONDS = 1.0
# Of the rate at which stock Locust fills a core: both are measured busy, neither late.
_LOAD = 0.6
_USERS = 20


class Cost(BaseModel):
    """One measurement: requests in `seconds`, for `cpu` seconds of the generator's process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generator: str
    requests: int
    cpu: float
    seconds: float

    @property
    def each(self) -> float:
        """Requests per CPU-second."""
        return self.requests / self.cpu if self.cpu else 0.0


class BenchResult(BaseModel):
    """All measurements; `ratio`: ours over stock (medians); `parent_cpu`: of the process that watches a run,
    as a share of a core."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ours_per_cpu_second: float
    stock_per_cpu_second: float
    ratio: float
    parent_cpu: float
    costs: list[Cost]


def bench(seconds: float, rounds: int, terminal: Terminal) -> BenchResult:
    """Measure `rounds` times each, `seconds` at a time. Raises StateError."""
    costs: list[Cost] = []
    parents: list[float] = []
    with null_server() as host, tempfile.TemporaryDirectory(prefix="huidu-bench-") as folder:
        for number in range(rounds):
            stock = _stock(host, seconds, Path(folder))
            rate = max(50.0, stock.each * _LOAD)
            ours, parent = _ours(host, seconds, rate, Path(folder) / f"run-{number}")
            costs += [stock, ours]
            parents.append(parent)
            terminal.say(
                f"  stock FastHttpUser {stock.each:,.0f}, huidu {ours.each:,.0f} requests/CPU-second"
            )
    ours_all, stock_all = (
        statistics.median(each.each for each in costs if each.generator == name)
        for name in ("huidu", "stock")
    )
    return BenchResult(
        ours_per_cpu_second=round(ours_all, 1),
        stock_per_cpu_second=round(stock_all, 1),
        ratio=round(ours_all / stock_all, 3) if stock_all else 0.0,
        parent_cpu=round(statistics.median(parents), 4),
        costs=costs,
    )


def _stock(host: str, seconds: float, folder: Path) -> Cost:
    out = folder / "stock.json"
    out.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    environment |= {
        "PYTHONSAFEPATH": "1",
        "HOME": str(folder),
        "HUIDU_BENCH_OUT": str(out),
        "HUIDU_BENCH_WARMUP": str(_WARMUP_SECONDS),
        "HUIDU_BENCH_SECONDS": str(seconds),
    }
    command = [
        *(sys.executable, "-m", "locust", "-f", str(STOCK), "--headless", "--host", host),
        *("--users", str(_USERS), "--spawn-rate", str(_USERS), "--only-summary", "--loglevel", "WARNING"),
    ]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=seconds + 60, check=False
        )
    except subprocess.TimeoutExpired:
        raise StateError("stock Locust did not end in time", where=str(STOCK)) from None
    if not out.is_file():
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise StateError("stock Locust measured nothing", where=str(STOCK), remedy=said[-1] if said else "")
    return Cost(generator="stock", **json.loads(out.read_text(encoding="utf-8")))


def _ours(host: str, seconds: float, rate: float, folder: Path) -> tuple[Cost, float]:
    plan = _plan(host, seconds, rate)
    folder.mkdir()
    with LocalRun(plan, folder) as run:
        if not run.wait_ready():
            raise StateError(run.stopped, where=str(folder), remedy=run.log_tail())
        run.go()
        cpu, began = time.process_time(), time.monotonic()
        for _ in run.watch():
            pass
        parent = (time.process_time() - cpu) / (time.monotonic() - began)
        recording, _ends = run.result()
    if recording.tally().ok == 0:
        raise StateError("the null server answered nothing", where=host)
    return _cost(recording), parent


def _plan(host: str, seconds: float, rate: float) -> Plan:
    profile = Profile.model_validate(
        {
            "channels": {"web": {"peak": rate, "journey": {"http": [{"get": "/"}]}}},
            "offer": 1.0,
            "duration": max(5.0, seconds),
            "warmup": _WARMUP_SECONDS,
            "calibration": 0,
        }
    )
    return make_plan(profile, Path("bench"), host=host, stack=None)


def _cost(recording: Recording) -> Cost:
    """Of the window and what was still open at its end: on a crowded machine much of the work falls there."""
    pulses = [each for each in recording.pulses.get(0, []) if each.t > 0]
    shares = [min(1.0, each.t / each.seconds) if each.seconds else 0.0 for each in pulses]
    return Cost(
        generator="huidu",
        requests=recording.tally().ok,
        cpu=sum(share * each.cpu for share, each in zip(shares, pulses, strict=True)),
        seconds=sum(share * each.seconds for share, each in zip(shares, pulses, strict=True)),
    )
