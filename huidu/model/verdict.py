"""What the judge says, and why: numbers, bound, interval, sentence."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from huidu.model.evidence import Counts


class Decision(enum.Enum):
    """What the evidence allows. Rollback beats everything else at the same poll."""

    ADVANCE = "advance"
    HOLD = "hold"
    ROLLBACK = "rollback"
    NOT_EVIDENCE = "not-evidence"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate with an interval that holds at every moment at once (level: 1 - alpha)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """One gate at one poll.

    `log_e` against `bound` (natural logarithms): evidence of harm; rollback where log_e >= bound.
    `harm_upper`: U of the harm-budget ramp, the smallest excess per request that is not yet refuted
    (1.0: nothing is refuted); None for gates that do not govern promotion.
    `decision`: what this gate alone says. `sentence`: the same for a person.
    """

    gate: str
    role: str
    decision: Decision
    log_e: float
    bound: float
    harm_upper: float | None
    stratum: str
    canary: Counts
    baseline: Counts
    estimate: Estimate | None = None
    dispersion: float = 1.0
    dispersion_from: str = "assumed"
    excluded: float = 0.0
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All gates at one poll. `share_allowed`: the largest share of all requests it bears (0 to 1)."""

    t: float
    decision: Decision
    blamed: str | None
    share_allowed: float
    gates: Mapping[str, GateVerdict] = field(default_factory=dict)
    sentence: str = ""
