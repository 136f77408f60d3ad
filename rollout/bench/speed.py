"""What one poll of one rollout costs: ten gates, three strata."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from huidu.model.evidence import Counts, Histogram, Interval
from rollout.judge import GateSpec, JudgeConfig, judge_intervals, start
from rollout.judge.gate import Kind

KINDS: tuple[Kind, ...] = (
    "error-ratio",
    "error-ratio",
    "absolute-margin",
    "slo",
    "latency",
    "latency",
    "delay",
    "conversion",
    "service",
    "gauge",
)
STRATA = ("high", "standard", "anonymous")
EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class PollCost:
    """Milliseconds of one poll: CPU time of this process and time on the clock, the median each, `first` at
    the beginning and `last` at the end of `polls` polls (it must not grow); `least` CPU time of any. Other
    processes on the machine make every number larger, the least one least."""

    polls: int
    first_ms: float
    last_ms: float
    least_ms: float
    first_wall_ms: float
    last_wall_ms: float


def poll_cost(polls: int = 300) -> PollCost:
    """Judge that many polls and time each."""
    config = JudgeConfig(
        tuple(
            GateSpec(f"{kind} {i}", kind, limit=0.8 if kind == "gauge" else None)
            for i, kind in enumerate(KINDS)
        ),
        strata=STRATA,
    )
    random = np.random.default_rng(1)
    state, cpu, wall = start(config), [], []
    for k in range(polls):
        evidence = [
            _interval(spec.name, spec.kind, stratum, k, random) for spec in config.gates for stratum in STRATA
        ]
        begun, spent = time.perf_counter(), time.process_time()
        state, _ = judge_intervals(config, state, evidence, 5.0 * k + 5.0)
        cpu.append(1000.0 * (time.process_time() - spent))
        wall.append(1000.0 * (time.perf_counter() - begun))
    third = polls // 3
    return PollCost(
        polls=polls,
        first_ms=float(np.median(cpu[5:third])),
        last_ms=float(np.median(cpu[-third:])),
        least_ms=min(cpu[5:]),
        first_wall_ms=float(np.median(wall[5:third])),
        last_wall_ms=float(np.median(wall[-third:])),
    )


def _interval(name: str, kind: Kind, stratum: str, k: int, random: np.random.Generator) -> Interval:
    arms: list[Counts | Histogram] = []
    for n in (50.0, 950.0):
        if kind == "latency":
            arms.append(Histogram({edge: min(n, n * (i + 1) / 10) for i, edge in enumerate(EDGES)}, n))
        elif kind == "delay":
            arms.append(Histogram({30.0: n}, n))
        else:
            arms.append(Counts(n, float(random.binomial(int(n), 0.001))))
    return Interval(name, stratum, 5.0 * k, 5.0 * k + 5.0, arms[0], arms[1], 0.05)
