"""Watching at a fixed share: when would each method roll back, on the very same evidence?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import ndtr

from rollout.bench.cells import SHARE, Cell
from rollout.bench.peers.argo import Argo, ArgoStep
from rollout.bench.peers.argo_metric import ArgoMetric
from rollout.bench.peers.flagger import Flagger, FlaggerMetric
from rollout.bench.peers.kayenta import ERRORS, Kayenta
from rollout.bench.peers.peer import Peer, PeerOutcome, WatchedArrays
from rollout.bench.peers.queries import (
    ARGO_SUCCESS_RATE,
    FLAGGER_SUCCESS_RATE,
    KAYENTA_ERROR_PERCENTAGE,
    RatioQuery,
    ratio_arrays,
)
from rollout.bench.traffic import POLL, Queue, Traffic, errors, real
from rollout.judge import Arms, BatchEvidence, GateEvidence, JudgeConfig, numbers, observe, start
from rollout.judge.arrays import Floats
from rollout.judge.dispersion import CLUSTERS, measure, measure_in_time
from rollout.judge.gate import ASSUMED_DISPERSION

HISTORY = 720
"""Polls of stable before the release from which the dispersion is measured: an hour."""
THIS = "huidu"


def watch(cell: Cell, runs: int, seed: np.random.SeedSequence) -> dict[str, Floats]:
    """Seconds until each method rolls back, (runs,); infinite where it does not. Deterministic by seed."""
    random = np.random.default_rng(seed)
    polls = round(cell.minutes * 60 / POLL)
    share = np.full(runs, SHARE)
    if isinstance(cell.traffic, Queue):
        evidence = cell.traffic.draw_all(random, runs, polls)
    else:
        evidence = [cell.traffic.draw(random, k * POLL, share) for k in range(polls)]
    c = _dispersion(cell, random, runs)
    found = {THIS: _judge(cell, [_tempered(arms, c) for arms in evidence])}
    if cell.peers and isinstance(cell.traffic, Traffic):
        n_c, x_c, n_b, x_b = (
            np.stack(each, axis=1)
            for each in zip(
                *((a.n_c[:, 0], a.x_c[:, 0, 0], a.n_b[:, 0], a.x_b[:, 0, 0]) for a in evidence), strict=True
            )
        )
        found["fixed-sample test, peeked"] = _peeked(n_c, x_c, n_b, x_b)
        for name, peer in _peers(cell.traffic.base).items():
            found[name] = peer(n_c, x_c, n_b, x_b)
    return found


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
                for k in range(len(traffic.edges))
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
        log_e = now.gates[cell.gate.name].log_compare if cell.compared else now.log_e
        found = np.minimum(found, np.where(log_e >= -np.log(config.alpha), (k + 1) * POLL, np.inf))
    return found


def _peeked(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats) -> Floats:
    """A one-sided two-proportion z test at 1 %, looked at after every poll as if it were the only look."""
    n_c, x_c, n_b, x_b = (np.cumsum(each, axis=1) for each in (n_c, x_c, n_b, x_b))
    pooled = (x_c + x_b) / np.maximum(n_c + n_b, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (x_c / n_c - x_b / n_b) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_b))
    enough = pooled * np.minimum(n_c, n_b) >= 5  # the textbook's condition for the normal approximation
    out = enough & (1.0 - ndtr(np.nan_to_num(z, nan=-9.0)) <= 0.01)
    return np.where(out.any(axis=1), (out.argmax(axis=1) + 1) * POLL, np.inf)


Method = Callable[[Floats, Floats, Floats, Floats], Floats]


def _peers(base: float) -> Mapping[str, Method]:
    """Today's gates as their documentation shows them, with the limit at twice the usual error rate.

    Intervals of a minute, so that they have a chance within half an hour (documented: 1 min, 5 min, 1 h).
    """
    limit = 2.0 * base
    flagger = Flagger(
        max_weight=30, step_weight=1, metrics=(FlaggerMetric("success", minimum=100.0 * (1.0 - limit)),)
    )
    argo = Argo(
        steps=(ArgoStep(5, 1800.0),),
        metrics=(ArgoMetric("success", f"result[0] >= {1.0 - limit}", interval=60.0, failure_limit=3),),
        starting_step=0,
    )
    kayenta = Kayenta(metrics=(ERRORS,), lifetime=1800.0, interval=600.0)

    def asked(peer: Peer, metric: str, query: RatioQuery) -> Method:
        def decide(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats) -> Floats:
            times = np.arange(n_c.shape[1] + 1) * POLL
            arms = [ratio_arrays(times, n, x, times[1:], query) for n, x in ((n_c, x_c), (n_b, x_b))]
            decided = peer.decide_batch({metric: WatchedArrays(*arms)})
            return np.where(decided.outcomes == PeerOutcome.ROLLED_BACK, decided.at, np.inf)

        return decide

    return {
        flagger.name: asked(flagger, "success", FLAGGER_SUCCESS_RATE),
        argo.name: asked(argo, "success", ARGO_SUCCESS_RATE),
        kayenta.name: asked(kayenta, "errors", KAYENTA_ERROR_PERCENTAGE),
    }
