"""Arrays of the judge. Axes, in this order where they occur:

B  rollouts judged side by side (one, or thousands in the bench)
S  strata (cohorts; each is compared within itself)
K  bucket edges (1 for plain counts)
J  alternatives of an e-process
D  excesses on the grid of the ramp
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Arms:
    """Evidence of one gate between two polls: candidate (c) and baseline (b).

    Totals have shape (B, S), bad counts (B, S, K). An interval that must not be used is zero in all four.
    """

    n_c: Floats
    x_c: Floats
    n_b: Floats
    x_b: Floats

    @staticmethod
    def plain(n_c: Floats, x_c: Floats, n_b: Floats, x_b: Floats) -> Arms:
        """Plain counts, all of shape (B, S)."""
        return Arms(n_c, x_c[..., None], n_b, x_b[..., None])


def past_rate(bad: Floats, total: Floats) -> Floats:
    """Estimate of a rate from what was seen before: (x + 1/2) / (n + 1), never 0 and never 1."""
    return (bad + 0.5) / (total + 1.0)
