"""The cells of the bench, and the bars they must reach. Data; watch.py and ramped.py make evidence of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from rollout.bench.traffic import CLUMP, Latencies, Queue, Traffic
from rollout.judge.gate import GateSpec
from rollout.judge.latency import MOST_EDGES

SHARE = 0.05
MINUTES = 30.0
FALSE_ROLLBACK = 0.015
"""Upper 95 % limit of the measured rate of false rollbacks; the promise itself is 1 %."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of release under one kind of traffic, watched at a fixed share.

    `defect`: whether the release is bad; then the time from `onset` until the rollback is measured, whose
    median must not exceed `median` seconds (None: shown without a bar). Otherwise rollbacks are false.
    `measured`: the dispersion is estimated from an hour of stable's eight clusters before the release.
    `compared`: latency is judged by the comparison alone, without its own limit. `promotion`: measured is how
    often the gate is proved no worse (form h) and would let the release on, which is false there.
    """

    name: str
    traffic: Traffic | Latencies | Queue
    gate: GateSpec
    runs: int
    quick: int
    defect: bool = False
    median: float | None = None
    onset: float = 0.0
    measured: bool = False
    compared: bool = False
    promotion: bool = False
    minutes: float = MINUTES
    peers: bool = False

    @property
    def edges(self) -> tuple[float, ...]:
        """Bucket edges that the judge compares latencies at."""
        return () if isinstance(self.traffic, Traffic) else self.traffic.edges[:MOST_EDGES]


@dataclass(frozen=True, slots=True)
class RampCell:
    """One kind of release on the ramp: error rate of the candidate, from the share `from_share` upwards.

    `stages`: instead of the ramp these shares one after the other, each left only when the whole budget is
    proved at it alone, as plans with fixed stages do.

    `minutes`: the median that was simulated for this design before it was built; the bar is a fifth of it,
    and two polls.
    """

    name: str
    rate: float
    candidate: float
    minutes: float
    promoted: bool
    from_share: float = 0.0
    base: float = 0.0005
    runs: int = 1000
    quick: int = 100
    stages: tuple[float, ...] = ()

    @property
    def grows(self) -> bool:
        """Whether the excess grows with the share; the promise excludes that."""
        return self.from_share > 0


BARE = GateSpec("errors", tolerated_ratio=1.0, floor=None, dispersion=1, late_onset=False, promotion="none")
LATE = GateSpec("errors", tolerated_ratio=1.0, floor=None, dispersion=1, late_onset=True, promotion="none")
SLOW = GateSpec(
    "latency", kind="latency", tolerated_ratio=1.0, dispersion=1, late_onset=False, promotion="none"
)
RATIO = GateSpec("errors", floor=None, dispersion=1, late_onset=False, promotion="ratio")
DEFAULTS = GateSpec("errors", dispersion=1, promotion="none")

_WAYS: tuple[tuple[str, bool, float], ...] = (
    ("steady", False, 1.0),
    ("drift", True, 1.0),
    ("bursts", False, CLUMP),
)

HARMLESS: tuple[Cell, ...] = (
    *(
        Cell(
            f"A/A, {base:.1%}, {rate:g} rps, {way}",
            Traffic(rate, base, drift=drift, clump=clump),
            BARE,
            runs=5000,
            quick=250,
            measured=clump > 1,
            peers=True,
        )
        for base, rate, (way, drift, clump) in product((0.001, 0.01), (20.0, 200.0, 2000.0), _WAYS)
    ),
    Cell("A/A, 0.1%, 200 rps, late onset on", Traffic(200, 0.001), LATE, 5000, 250),
    Cell("A/A latency, 200 rps", Latencies(200), SLOW, 2000, 250, compared=True, peers=True),
)
PROMOTED: tuple[Cell, ...] = tuple(
    Cell(
        f"errors exactly x{RATIO.promotion_ratio:g} (the ratio to refute), 0.1%, {rate:g} rps",
        Traffic(rate, 0.001, RATIO.promotion_ratio),
        RATIO,
        15_000,
        250,
        promotion=True,
    )
    for rate in (200.0, 2000.0)
)
CORRELATED: tuple[Cell, ...] = tuple(
    Cell(name, queue, SLOW, 1000, 60, measured=True, compared=True, peers=True)
    for name, queue in (
        ("A/A latency, M/M/1 queue at 0.8", Queue()),
        ("A/A latency, M/M/1, pauses of 1 s", Queue(load=0.5, pause_every=60)),
    )
)
HARMFUL: tuple[Cell, ...] = (
    *(
        Cell(
            name, traffic, BARE, 1000, 150, defect=True, median=median, peers=True, measured=traffic.clump > 1
        )
        for name, traffic, median in (
            ("errors x10, 0.1%, 200 rps", Traffic(200, 0.001, 10), 60.0),
            ("errors x5, 0.1%, 200 rps", Traffic(200, 0.001, 5), 170.0),
            ("errors x2, 0.1%, 2000 rps", Traffic(2000, 0.001, 2), 170.0),
            ("bursty x5, 0.1%, 2000 rps", Traffic(2000, 0.001, 5, clump=CLUMP), 180.0),
        )
    ),
    Cell(
        "latency +50 %, 200 rps", Latencies(200, 1.5), SLOW, 1000, 150, True, 15.0, compared=True, peers=True
    ),
    Cell(
        "late x5 (minute 15), 2000 rps",
        Traffic(2000, 0.001, 5, onset=900),
        LATE,
        1000,
        100,
        defect=True,
        median=45.0,
        onset=900.0,
        peers=True,
    ),
    *(
        Cell(f"defaults: {name}", traffic, DEFAULTS, 1000, 100, defect=True, minutes=60)
        for name, traffic in (
            ("errors x10, 200 rps", Traffic(200, 0.001, 10)),
            ("errors x5, 200 rps", Traffic(200, 0.001, 5)),
            ("errors x2, 2000 rps", Traffic(2000, 0.001, 2)),
        )
    ),
)
RAMPED: tuple[RampCell, ...] = (
    RampCell("good, 50 rps", 50, 0.0005, 22, True),
    RampCell("good, 200 rps", 200, 0.0005, 5.9, True),
    RampCell("good, 2000 rps", 2000, 0.0005, 1.1, True),
    RampCell(
        "good, 200 rps, fixed stages",
        200,
        0.0005,
        61,
        True,
        runs=500,
        quick=50,
        stages=(0.01, 0.05, 0.25, 0.5),
    ),
    RampCell("errors x10 (0.5 %), 200 rps", 200, 0.005, 4.0, False),
    RampCell("errors 5 %, 200 rps", 200, 0.05, 0.25, False),
    RampCell("fails everything, 200 rps", 200, 1.0, 5 / 60, False),
    RampCell("excess exactly H, 200 rps", 200, 0.0015, 21, False),
    RampCell("5 % errors from a share of 20 %", 200, 0.05, 3.3, False, from_share=0.2),
)
CELLS: tuple[Cell | RampCell, ...] = (*HARMLESS, *CORRELATED, *HARMFUL, *PROMOTED, *RAMPED)
