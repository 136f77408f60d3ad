"""Gauges (CPU, queue, replication lag): how often the candidate is above an absolute limit.

Samples of a gauge are alike from one second to the next, so a *block* longer than its memory
counts as one observation: bad where most of its samples were above the limit. Form c then asks whether
more than the tolerated share of the blocks are bad. The candidate is not ranked among the other instances:
instances differ for ever, without any release. Gauges of load belong divided by requests.
"""

from __future__ import annotations

import numpy as np

from huidu.model.evidence import Counts, Histogram
from rollout.judge.arrays import Arms, Floats


def above(arm: Counts | Histogram, limit: float) -> Counts:
    """Samples of one arm, and those above the limit. The edges of a histogram are the values seen."""
    if isinstance(arm, Counts):
        return arm
    within = max((count for value, count in arm.le.items() if value <= limit), default=0.0)
    return Counts(arm.total, arm.total - within)


def fold(pending: Floats, arms: Arms, elapsed: float, seconds: float, block: float) -> tuple[Floats, Arms]:
    """Samples into blocks: `pending` (B, S, 4) grows until a block is over, and is one observation then.

    `elapsed`: before this interval of `seconds`.
    """
    pending = pending + np.stack([arms.n_c, arms.x_c[..., 0], arms.n_b, arms.x_b[..., 0]], axis=-1)
    if int(elapsed // block) == int((elapsed + seconds) // block):
        return pending, Arms.plain(*np.zeros((4, *arms.n_c.shape)))
    n_c, x_c, n_b, x_b = np.moveaxis(pending, -1, 0)
    blocks = Arms.plain(
        np.where(n_c > 0, 1.0, 0.0),
        np.where(2.0 * x_c > n_c, 1.0, 0.0),
        np.where(n_b > 0, 1.0, 0.0),
        np.where(2.0 * x_b > n_b, 1.0, 0.0),
    )
    return np.zeros_like(pending), blocks
