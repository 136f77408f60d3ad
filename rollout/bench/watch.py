"""Watching at a fixed share: when would each method roll back, on the very same evidence?"""

from __future__ import annotations

import numpy as np

from rollout.bench.cells import SHARE, Cell
from rollout.bench.today import on_errors, on_latencies
from rollout.bench.traffic import POLL, Queue, Traffic, errors, real
from rollout.judge import Arms, BatchEvidence, GateEvidence, GateNumbers, JudgeConfig, numbers, observe, start
from rollout.judge.arrays import Bools, Floats
from rollout.judge.dispersion import CLUSTERS, measure, measure_in_time
from rollout.judge.gate import ASSUMED_DISPERSION

HISTORY = 720
"""Polls of stable before the release from which the dispersion is measured: an hour."""
THIS = "huidu"


def watch(cell: Cell, runs: int, seed: np.random.SeedSequence) -> dict[str, Floats]:
    """Seconds until each method rolls back (or lets the release on, where that is asked), (runs,); infinite
    where it does not. Deterministic by seed."""
    random = np.random.default_rng(seed)
    polls = round(cell.minutes * 60 / POLL)
    share = np.full(runs, SHARE)
    if isinstance(cell.traffic, Queue):
        evidence = cell.traffic.draw_all(random, runs, polls)
    else:
        evidence = [cell.traffic.draw(random, k * POLL, share) for k in range(polls)]
    c = _dispersion(cell, random, runs)
    found = {THIS: _judge(cell, [_tempered(_judged(cell, arms), c) for arms in evidence])}
    if not cell.peers:
        return found
    n_c, x_c, n_b, x_b = (
        np.stack(each, axis=1)
        for each in zip(
            *((a.n_c[:, 0], a.x_c[:, 0], a.n_b[:, 0], a.x_b[:, 0]) for a in evidence), strict=True
        )
    )
    if isinstance(cell.traffic, Traffic):
        methods = on_errors(cell.traffic.base)
        x_c, x_b = x_c[..., 0], x_b[..., 0]
    else:
        methods = on_latencies(cell.traffic.edges, n_b, x_b)
    return found | {name: decide(n_c, x_c, n_b, x_b) for name, decide in methods.items()}


def _judged(cell: Cell, arms: Arms) -> Arms:
    """At the bucket edges that the judge compares at; those beyond are there for the quantiles of others."""
    edges = max(1, len(cell.edges))
    return Arms(arms.n_c, arms.x_c[..., :edges], arms.n_b, arms.x_b[..., :edges])


def _dispersion(cell: Cell, random: np.random.Generator, runs: int) -> Floats:
    """c of every rollout, per edge: (runs, 1) or (runs, edges)."""
    if not cell.measured:
        return np.ones((runs, 1))
    traffic = cell.traffic
    if isinstance(traffic, Queue):
        n, x = traffic.serve(random, runs, HISTORY // 4, CLUSTERS)
        n, x = np.moveaxis(n, 0, 1), np.moveaxis(x, 0, 1)
        found = np.stack(
            [
                np.fmax(
                    measure(POLL, n, x[..., k]).c,
                    measure_in_time(POLL, n.sum(axis=2), x[..., k].sum(axis=2)).c,
                )
                for k in range(len(cell.edges))
            ],
            axis=1,
        )
    else:
        assert isinstance(traffic, Traffic)
        each = traffic.rate * POLL * (1.0 - SHARE) / CLUSTERS
        n_each = random.poisson(each, (runs, HISTORY, CLUSTERS))
        found = measure(POLL, real(n_each), errors(random, n_each, traffic.base, traffic.clump)).c[:, None]
    return np.where(np.isnan(found), ASSUMED_DISPERSION, found)


def _tempered(arms: Arms, c: Floats) -> Arms:
    """Counts divided by each rollout's own c.

    The likelihood ratios of a gate of dispersion 1 are linear in the counts, so this is what a gate of
    dispersion c does, for a batch in which every rollout has measured its own. Latency keeps one c, the
    largest.
    """
    most = c.max(axis=1, keepdims=True)
    return Arms(arms.n_c / most, arms.x_c / most[..., None], arms.n_b / most, arms.x_b / most[..., None])


def _judge(cell: Cell, evidence: list[Arms]) -> Floats:
    config = JudgeConfig((cell.gate,))
    state = start(config, len(evidence[0].n_c))
    found = np.full(state.batch, np.inf)
    for k, arms in enumerate(evidence):
        seen = GateEvidence(k * POLL, (k + 1) * POLL, arms, cell.edges)
        state = observe(config, state, BatchEvidence({cell.gate.name: seen}))
        now = numbers(config, state)
        said = _said(cell, now.gates[cell.gate.name], now.log_e, -np.log(config.alpha))
        found = np.minimum(found, np.where(said, (k + 1) * POLL, np.inf))
    return found


def _said(cell: Cell, gate: GateNumbers, log_e: Floats, bound: float) -> Bools:
    """In which rollouts it is said now: roll back, or of cells that ask about promotion, go on."""
    if cell.promotion:
        assert gate.proved is not None
        return gate.proved
    result: Bools = (gate.log_compare if cell.compared else log_e) >= bound
    return result
