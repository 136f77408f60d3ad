"""Can this gate ever decide, with this traffic and within the longest bake? And if not, what would help?

Asked with the counts that are *expected*, no chance in them: half of all rollouts are faster, half slower.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from rollout.judge import GateSpec, JudgeConfig
from rollout.judge.explain import percent
from rollout.plan import Plan
from rollout.rehearse.draw import Source, sources
from rollout.rehearse.flow import Flow, course
from rollout.rehearse.until import Steps, reference, until_found, until_proved
from rollout.routers.router import WHOLE

MORE = (30, 100, 300, 1000, 3000, 10_000)
"""Times the traffic that are tried where no bake within reach is long enough."""
WIDER = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


@dataclass(frozen=True, slots=True)
class Outlook:
    """One gate. Seconds at the share named; infinite where REACH longest bakes are not enough.

    `finds`: until the reference `defect` is rolled back, at the widest judged share; `first`: the same at the
    first share. `proves`: the slowest step of a good release, and the share it was to open (None: the gate
    does not govern promotion). `known`: nothing about its traffic is assumed. `helps`: what would.
    """

    gate: str
    role: str
    defect: str
    finds: float | None
    first: float | None
    proves: float | None
    step: float | None
    longest_bake: float
    known: bool
    helps: tuple[str, ...] = ()

    @property
    def cannot(self) -> tuple[str, ...]:
        """What it cannot do within the longest bake."""
        parts = []
        if self.proves is not None and self.proves > self.longest_bake:
            parts.append(f"prove a good release ready for {self.step:.1%}")
        if self.role != "watch" and self.finds is not None and self.finds > self.longest_bake:
            parts.append(f"find {self.defect}")
        return tuple(parts)

    @property
    def stops(self) -> bool:
        """Whether the plan is useless with it: no promotion, or a protection that is known to be none."""
        slow = self.proves is not None and self.proves > self.longest_bake
        return bool(self.cannot) and (slow or self.known)

    @property
    def sentence(self) -> str:
        """For a person."""
        if not self.cannot:
            return f"{self.gate}: decides in time"
        needs = max(value for value in (self.proves, self.finds) if value is not None)
        takes = "it never can" if math.isinf(needs) else f"it takes about {words(needs)}"
        helps = f"; what would help: {', or '.join(self.helps)}" if self.helps else ""
        where = "" if self.known else " (its traffic is assumed)"
        return (
            f"{self.gate} cannot {' nor '.join(self.cannot)} within the longest bake of "
            f"{words(self.longest_bake)}: {takes}{where}{helps}"
        )


def outlooks(plan: Plan, flow: Flow) -> list[Outlook]:
    """Every gate that can be rehearsed."""
    config, ladder, positions = course(plan, flow)
    parts = np.array(list(flow.cohorts.values()))
    points = [ladder.point(position) for position in positions]
    weights = [np.array([point[name] / WHOLE for name in flow.cohorts]) for point in points]
    config = dataclasses.replace(config, strata=tuple(flow.cohorts))
    found = []
    for source in sources(plan, config.gates, flow):
        found.append(_outlook(plan, flow, config, source, Steps(parts, weights, flow.rate)))
    return found


def _outlook(plan: Plan, flow: Flow, config: JudgeConfig, source: Source, steps: Steps) -> Outlook:
    spec, bake = source.spec, plan.limits.longest_bake
    widest = max(
        (k for k in range(len(steps.weights)) if steps.share(k) <= config.max_share + 1e-9),
        key=steps.share,
        default=0,
    )
    defect, said = reference(source)
    finds = first = None
    if spec.role != "watch":
        finds = until_found(config, source, steps, widest, defect, bake)
        first = until_found(config, source, steps, 0, defect, bake)
    proves, step = None, None
    if spec.governs == "harm":
        slowest = [
            (until_proved(config, source, steps, k, bake, spec.harm), steps.share(k + 1))
            for k in range(len(steps.weights) - 1)
            if steps.share(k) <= config.max_share + 1e-9
        ]
        proves, step = max(slowest, key=lambda each: each[0], default=(None, None))
    outlook = Outlook(
        spec.name, spec.role, said, finds, first, proves, step, bake, flow.gates[spec.name].known
    )
    if not outlook.cannot:
        return outlook
    return dataclasses.replace(outlook, helps=tuple(_helps(config, source, steps, outlook, widest)))


def _helps(config: JudgeConfig, source: Source, steps: Steps, outlook: Outlook, widest: int) -> list[str]:
    spec, bake = source.spec, outlook.longest_bake
    slow = outlook.proves is not None and outlook.proves > bake
    needs = max(value for value in (outlook.proves, outlook.finds) if value is not None)
    helps = []
    if math.isinf(needs):
        times = _times_the_traffic(config, source, steps, outlook, widest)
        if times is not None:
            helps.append(f"about {times:,} times the traffic")
    if math.isfinite(needs):
        helps.append(f"a longest bake of {words(needs)}")
        helps.append(f"{needs / bake:.1f} times the traffic")
    if slow and math.isfinite(needs):
        first = steps.share(0)
        if outlook.step is not None and len(steps.weights) > 1 and outlook.step <= steps.share(1) + 1e-9:
            wider = min(config.max_share, first * needs / bake)
            helps.append(f"a first share of {wider:.1%} instead of {first:.1%}")
    elif outlook.finds is not None and math.isfinite(needs) and steps.share(widest) < config.max_share * 0.9:
        helps.append(
            f"a share of {min(config.max_share, steps.share(widest) * needs / bake):.0%} to judge at"
        )
    if spec.dispersion is None and spec.c > 1 and math.isfinite(needs):
        helps.append(f"a measured dispersion ({words(needs / spec.c)} if it is 1; {spec.c:g} is assumed)")
    if slow:
        factor = _wider(config, source, steps, bake)
        if factor is not None:
            helps.append(f"a harm budget of {percent(factor * spec.harm)} instead of {percent(spec.harm)}")
    return helps or ["`role: watch`, so that nobody waits for it"]


def _times_the_traffic(
    config: JudgeConfig, source: Source, steps: Steps, outlook: Outlook, widest: int
) -> int | None:
    """The least of MORE with which what never happens would happen within the longest bake."""
    bake, defect = outlook.longest_bake, reference(source)[0]
    for times in MORE:
        more = dataclasses.replace(steps, rate=steps.rate * times)
        found = proved = 0.0
        if outlook.finds is not None and outlook.finds > bake:
            found = until_found(config, source, more, widest, defect, bake)
        if outlook.proves is not None and outlook.proves > bake:
            proved = max(
                until_proved(config, source, more, k, bake, source.spec.harm)
                for k in range(len(steps.weights) - 1)
                if steps.share(k) <= config.max_share + 1e-9
            )
        if max(found, proved) <= bake:
            return times
    return None


def _wider(config: JudgeConfig, source: Source, steps: Steps, bake: float) -> float | None:
    """The smallest factor of the harm budget with which every step is proved in time."""
    for factor in WIDER:
        if source.spec.harm * factor >= 1.0:
            return None
        spec: GateSpec = dataclasses.replace(source.spec, harm_budget=source.spec.harm * factor)
        gates = tuple(spec if each.name == spec.name else each for each in config.gates)
        wider = dataclasses.replace(config, gates=gates)
        moved = dataclasses.replace(source, spec=spec)
        if all(
            until_proved(wider, moved, steps, k, bake, spec.harm) <= bake
            for k in range(len(steps.weights) - 1)
            if steps.share(k) <= config.max_share + 1e-9
        ):
            return factor
    return None


def words(seconds: float) -> str:
    """A duration for a person."""
    if math.isinf(seconds):
        return "never"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 600 and round(seconds / 60, 1) != round(seconds / 60):
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
