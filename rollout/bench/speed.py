"""What one poll of one rollout costs: ten gates, three strata."""

from __future__ import annotations

import time

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


def poll_milliseconds(polls: int = 300) -> tuple[float, float]:
    """Median CPU time of a poll (ms), at the beginning and after `polls` polls: it must not grow."""
    config = JudgeConfig(
        tuple(
            GateSpec(f"{kind} {i}", kind, limit=0.8 if kind == "gauge" else None)
            for i, kind in enumerate(KINDS)
        ),
        strata=STRATA,
    )
    random = np.random.default_rng(1)
    state, times = start(config), []
    for k in range(polls):
        evidence = [
            _interval(spec.name, spec.kind, stratum, k, random) for spec in config.gates for stratum in STRATA
        ]
        before = time.process_time()
        state, _ = judge_intervals(config, state, evidence, 5.0 * k + 5.0)
        times.append(1000.0 * (time.process_time() - before))
    third = polls // 3
    return float(np.median(times[5:third])), float(np.median(times[-third:]))


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
