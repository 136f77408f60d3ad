"""The ramp from the testers' header to promotion, with the judge's own functions, many releases at once."""

from __future__ import annotations

import numpy as np

from rollout.bench.cells import RampCell
from rollout.bench.traffic import POLL, counted, errors
from rollout.judge import (
    BatchEvidence,
    GateEvidence,
    GateSpec,
    JudgeConfig,
    State,
    mark_step,
    numbers,
    observe,
    start,
)
from rollout.judge.arrays import Floats
from rollout.judge.ramp import next_shares

SYNTHETIC = 5.0
"""Synthetic journeys per second to the candidate in stage 0."""
FIRST = 0.01
DWELL = 10.0
HOURS = 3.0
GATE = GateSpec("errors", dispersion=1, late_onset=False)


def ramp(cell: RampCell, runs: int, seed: np.random.SeedSequence) -> dict[str, Floats]:
    """Per release (runs,): `end` in seconds, `promoted`, `harm` (failed requests added), `exposed`
    (customers' requests) and `worst` (the largest harm per request of the service, in parts of the budget).
    """
    random = np.random.default_rng(seed)
    config = JudgeConfig((GATE,), shares=(FIRST,))
    state, k = start(config, runs), 0
    share, stepped = np.zeros(runs), np.zeros(runs)
    end, promoted = np.full(runs, np.inf), np.zeros(runs, dtype=np.bool_)
    harm, exposed, worst = np.zeros(runs), np.zeros(runs), np.zeros(runs)
    while np.isinf(end).any() and k * POLL < HOURS * 3600:
        t, live = (k + 1) * POLL, np.isinf(end)
        rate = np.where(share >= cell.from_share, cell.candidate, cell.base)
        state, added, served = _poll(config, state, cell, random, k, share, rate)
        harm, exposed = harm + live * added, exposed + live * served
        worst = np.maximum(worst, live * share * (rate - cell.base) / GATE.harm)
        now = numbers(config, state)
        end = np.where(live & now.rollback, t, end)
        live &= ~now.rollback
        ready = live & (t - stepped >= DWELL)
        through = ready & (share >= config.max_share) & now.promoted
        promoted |= through
        end = np.where(through, t, end)
        worst = np.where(through, np.maximum(worst, (rate - cell.base) / GATE.harm), worst)
        wider = next_shares(share, now.share_allowed, FIRST, config.max_share)
        if cell.stages:
            wider = np.where(now.promoted | (share == 0), _next_stage(cell.stages, share, wider), share)
        target = np.where(ready & ~through, wider, share)
        moved = target > share
        share, stepped = target, np.where(moved, t, stepped)
        state, k = mark_step(state, moved), k + 1
    return {"end": end, "promoted": promoted * 1.0, "harm": harm, "exposed": exposed, "worst": worst}


def _next_stage(stages: tuple[float, ...], share: Floats, opened: Floats) -> Floats:
    """The stage after `share`; stage 0 opens the first one as the ramp does (`opened`)."""
    edges = np.array([*stages, stages[-1]])
    after = edges[np.searchsorted(edges[:-1], share * (1 + 1e-9))]
    return np.where(share == 0, np.where(opened > 0, stages[0], 0.0), after)


def _poll(
    config: JudgeConfig,
    state: State,
    cell: RampCell,
    random: np.random.Generator,
    k: int,
    share: Floats,
    rate: Floats,
) -> tuple[State, Floats, Floats]:
    """One poll: the state after it, failed requests added and customers' requests served by the candidate."""
    opening = share == 0
    n_c = np.where(
        opening, random.poisson(SYNTHETIC * POLL, share.size), random.poisson(cell.rate * POLL * share)
    )
    n_b = random.poisson(cell.rate * POLL * (1.0 - share))
    arms = counted(n_c, errors(random, n_c, rate), n_b, errors(random, n_b, cell.base))
    evidence = BatchEvidence({GATE.name: GateEvidence(k * POLL, (k + 1) * POLL, arms)})
    served = np.where(opening, 0.0, n_c)
    return observe(config, state, evidence), served * (rate - cell.base), served
