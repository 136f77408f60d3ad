"""Made-up traffic for the bench: what both arms would show of a release with a known defect.

Everything is drawn for a batch of rollouts at once, from one generator, so that a seed gives a bench.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rollout.judge.arrays import Arms, Floats

POLL = 5.0
"""Seconds between two looks."""
CLUMP = 5.0
"""Errors per clump in cells with bursts: the mean of a geometric distribution."""

EDGES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)
"""Bucket edges of the proxy, from 50 ms on."""

Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """`rate`: requests per second of the whole service; `base`: stable's error rate.

    `factor`: the candidate's error rate over stable's, from `onset` seconds on. `drift`: both arms' error
    rate and the load swing together. `clump`: mean number of errors that come at once (1: each by itself).
    """

    rate: float
    base: float
    factor: float = 1.0
    onset: float = 0.0
    drift: bool = False
    clump: float = 1.0

    def level(self, t: float) -> float:
        """Stable's error rate at `t` seconds."""
        return self.base * (1.0 + 0.6 * np.sin(t / 300.0) + 0.3 * t / 1800.0) if self.drift else self.base

    def load(self, t: float) -> float:
        """Requests per second at `t` seconds."""
        return self.rate * (1.0 + 0.5 * np.sin(t / 500.0 + 1.0)) if self.drift else self.rate

    def draw(self, random: np.random.Generator, t: float, share: Floats) -> Arms:
        """Counts of both arms in the poll that begins at `t`; `share` of the candidate (B,)."""
        p = self.level(t)
        n_c, n_b = requests(random, self.load(t), share)
        q = min(1.0, p * self.factor) if t >= self.onset else p
        return counted(n_c, errors(random, n_c, q, self.clump), n_b, errors(random, n_b, p, self.clump))


def requests(random: np.random.Generator, rate: float, share: Floats) -> tuple[Numbers, Numbers]:
    """Requests of both arms in one poll, each (B,)."""
    return random.poisson(rate * POLL * share), random.poisson(rate * POLL * (1.0 - share))


def counted(n_c: Numbers, x_c: Floats, n_b: Numbers, x_b: Floats) -> Arms:
    """One stratum of plain counts, all (B,)."""
    return Arms.plain(real(n_c)[:, None], x_c[:, None], real(n_b)[:, None], x_b[:, None])


def real(counts: Numbers) -> Floats:
    """Counts as the judge takes them."""
    return counts.astype(np.float64)


def errors(random: np.random.Generator, n: Numbers, p: float | Floats, clump: float = 1.0) -> Floats:
    """Errors among `n` requests at rate `p`, in geometric clumps of mean `clump`."""
    if clump <= 1.0:
        return real(random.binomial(n, p))
    clumps = random.poisson(n * p / clump)
    more = random.negative_binomial(np.maximum(clumps, 1), 1.0 / clump)
    return real(np.minimum(clumps + np.where(clumps > 0, more, 0), n))


@dataclass(frozen=True, slots=True)
class Latencies:
    """Log-normal latencies: median `median` seconds, shape `sigma`; the candidate's are `factor` as long."""

    rate: float
    factor: float = 1.0
    median: float = 0.12
    sigma: float = 0.6
    edges: tuple[float, ...] = EDGES

    def draw(self, random: np.random.Generator, t: float, share: Floats) -> Arms:
        """Counts above every edge in the poll that begins at `t`."""
        del t
        n_c, n_b = requests(random, self.rate, share)
        x_c, x_b = self._above(random, n_c, self.factor), self._above(random, n_b, 1.0)
        return Arms(real(n_c)[:, None], x_c[:, None, :], real(n_b)[:, None], x_b[:, None, :])

    def _above(self, random: np.random.Generator, n: Numbers, factor: float) -> Floats:
        above: Floats = 1.0 - ndtr(np.log(np.array(self.edges) / (self.median * factor)) / self.sigma)
        inside = -np.diff(np.concatenate([[1.0], above, [0.0]]))
        counts = random.multinomial(n, inside / inside.sum())
        result = np.asarray(n[:, None] - np.cumsum(counts, axis=1)[:, :-1], dtype=np.float64)
        return result


@dataclass(frozen=True, slots=True)
class Queue:
    """Latencies of neighbours that hang together: each arm is an M/M/1 queue at `load`, with pauses of 1 s.

    `rate`: requests per second of one arm (both have as many); `service`: mean seconds of work.
    """

    rate: float = 20.0
    load: float = 0.8
    pause_every: float = 0.0
    edges: tuple[float, ...] = EDGES

    def draw_all(self, random: np.random.Generator, batch: int, polls: int) -> list[Arms]:
        """Counts above every edge, for all polls at once: a queue remembers."""
        (n_c, x_c), (n_b, x_b) = (self.serve(random, batch, polls, 1) for _ in range(2))
        return [Arms(n_c[k], x_c[k], n_b[k], x_b[k]) for k in range(polls)]

    def serve(
        self, random: np.random.Generator, batch: int, polls: int, clusters: int
    ) -> tuple[Floats, Floats]:
        """One queue, its customers split at random into `clusters`: (polls, batch, clusters[, edges])."""
        n = np.zeros((polls, batch, clusters))
        x = np.zeros((polls, batch, clusters, len(self.edges)))
        edges, rows = np.array(self.edges), np.arange(batch)
        clock, waiting = np.zeros(batch), np.zeros(batch)
        # Lindley's recursion, one request of every rollout at a time.
        for _ in range(round(self.rate * POLL * polls)):
            gap = random.exponential(1.0 / self.rate, batch)
            work = random.exponential(self.load / self.rate, batch)
            if self.pause_every > 0:
                work = work + (random.uniform(size=batch) < gap / self.pause_every)
            clock, waiting = clock + gap, np.maximum(0.0, waiting - gap) + work
            k = np.minimum((clock / POLL).astype(np.int64), polls - 1)
            cluster = random.integers(0, clusters, batch)
            n[k, rows, cluster] += 1.0
            x[k, rows, cluster] += waiting[:, None] > edges
        return n, x
