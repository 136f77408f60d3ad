"""Today's gates as the bench sets them up: by their own documentation, with limits beside the usual level.

Intervals of a minute, so that they have a chance within half an hour (documented: 1 min, 5 min, 1 h).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import ndtr

from rollout.bench.peers.argo import Argo, ArgoStep
from rollout.bench.peers.argo_metric import ArgoMetric
from rollout.bench.peers.flagger import Flagger, FlaggerMetric
from rollout.bench.peers.kayenta import ERRORS, LATENCY, Kayenta
from rollout.bench.peers.kayenta_judge import KayentaMetric
from rollout.bench.peers.peer import Peer, PeerOutcome, TickArrays, WatchedArrays
from rollout.bench.peers.queries import (
    ARGO_SUCCESS_RATE,
    FLAGGER_DURATION,
    FLAGGER_SUCCESS_RATE,
    KAYENTA_ERROR_PERCENTAGE,
    QuantileQuery,
    RatioQuery,
    interpolated,
    quantile_arrays,
    ratio_arrays,
)
from rollout.bench.traffic import POLL
from rollout.judge.arrays import Floats

Method = Callable[[Floats, Floats, Floats, Floats], Floats]
"""n_c, x_c, n_b, x_b (runs, polls), x of latencies also by edge, to seconds until the rollback (runs,)."""

PEEKED = "fixed-sample test, peeked"
ERRORS_LIMIT = 2.0
"""The limit of an error rate, as a multiple of the usual one."""
LATENCY_LIMIT = 1.25
"""The limit of a percentile, as a multiple of the usual one: half way to the defect of the bench, so that it
can be found at all."""
ARGO_LATENCY = QuantileQuery(quantile=0.95, window=300.0)
"""Argo documents no gate for latency; plans in use ask histogram_quantile over the window of its template."""
KAYENTA_LATENCY = QuantileQuery(quantile=0.95, window=60.0)
WATCHED = 1800.0


def on_errors(base: float) -> Mapping[str, Method]:
    """All methods for error rates whose usual level is `base`."""
    limit = ERRORS_LIMIT * base

    def asked(query: RatioQuery) -> Callable[[Floats, Floats], TickArrays]:
        return lambda n, x: ratio_arrays(_scrapes(n), n, x, _scrapes(n)[1:], query)

    flagger = _flagger(FlaggerMetric("success", minimum=100.0 * (1.0 - limit)))
    argo = _argo("success", f"result[0] >= {1.0 - limit}")
    kayenta = _kayenta(ERRORS)
    return {
        PEEKED: _peeked,
        flagger.name: _method(flagger, "success", asked(FLAGGER_SUCCESS_RATE)),
        argo.name: _method(argo, "success", asked(ARGO_SUCCESS_RATE)),
        kayenta.name: _method(kayenta, ERRORS.name, asked(KAYENTA_ERROR_PERCENTAGE)),
    }


def on_latencies(edges: tuple[float, ...], n_b: Floats, x_b: Floats) -> Mapping[str, Method]:
    """All methods for latencies: Flagger's 99th percentile at most a limit, Argo's 95th likewise, Kayenta's
    Mann-Whitney on the 95th percentiles of successive minutes, a test at the edge that a twentieth exceeds.

    What is usual is seen at stable: `n_b` (runs, polls), `x_b` (runs, polls, edges).
    """
    total, above = n_b.sum(), x_b.sum(axis=(0, 1))
    within = np.append(total - above, total)[None]

    def usual(quantile: float) -> float:
        return float(interpolated(quantile, np.array(edges), within)[0])

    def asked(query: QuantileQuery) -> Callable[[Floats, Floats], TickArrays]:
        def ask(n: Floats, x: Floats) -> TickArrays:
            buckets = np.concatenate([n[..., None] - x, n[..., None]], axis=-1)
            return quantile_arrays(_scrapes(n), np.array(edges), buckets, _scrapes(n)[1:], query)

        return ask

    milliseconds = 1000.0 * LATENCY_LIMIT * usual(FLAGGER_DURATION.quantile)
    flagger = _flagger(FlaggerMetric("request-duration", maximum=milliseconds, whole_milliseconds=True))
    argo = _argo("latency", f"result[0] <= {1000.0 * LATENCY_LIMIT * usual(ARGO_LATENCY.quantile)}")
    kayenta = _kayenta(LATENCY)
    edge = int(np.argmin(np.abs(above / total - 0.05)))
    return {
        PEEKED: lambda n_c, x_c, n_b, x_b: _peeked(n_c, x_c[..., edge], n_b, x_b[..., edge]),
        flagger.name: _method(flagger, "request-duration", asked(FLAGGER_DURATION)),
        argo.name: _method(argo, "latency", asked(ARGO_LATENCY)),
        kayenta.name: _method(kayenta, LATENCY.name, asked(KAYENTA_LATENCY)),
    }


def _scrapes(n: Floats) -> Floats:
    return np.arange(n.shape[1] + 1) * POLL


def _flagger(metric: FlaggerMetric) -> Flagger:
    return Flagger(max_weight=30, step_weight=1, metrics=(metric,))


def _argo(name: str, condition: str) -> Argo:
    return Argo(
        steps=(ArgoStep(5, WATCHED),),
        metrics=(ArgoMetric(name, condition, interval=60.0, failure_limit=3),),
        starting_step=0,
    )


def _kayenta(metric: KayentaMetric) -> Kayenta:
    return Kayenta(metrics=(metric,), lifetime=WATCHED, interval=600.0)


def _method(peer: Peer, metric: str, ask: Callable[[Floats, Floats], TickArrays]) -> Method:
    def decide(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats) -> Floats:
        decided = peer.decide_batch({metric: WatchedArrays(ask(n_c, x_c), ask(n_b, x_b))})
        return np.where(decided.outcomes == PeerOutcome.ROLLED_BACK, decided.at, np.inf)

    return decide


def _peeked(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats) -> Floats:
    """A one-sided two-proportion z test at 1 %, looked at after every poll as if it were the only look."""
    n_c, x_c, n_b, x_b = (np.cumsum(each, axis=1) for each in (n_c, x_c, n_b, x_b))
    pooled = (x_c + x_b) / np.maximum(n_c + n_b, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (x_c / n_c - x_b / n_b) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_b))
    enough = pooled * np.minimum(n_c, n_b) >= 5  # the textbook's condition for the normal approximation
    out = enough & (1.0 - ndtr(np.nan_to_num(z, nan=-9.0)) <= 0.01)
    return np.where(out.any(axis=1), (out.argmax(axis=1) + 1) * POLL, np.inf)
