"""The family of releases a plan is rehearsed with, over all cores. Deterministic by seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from scipy.special import betaincinv

from rollout.judge import JudgeConfig
from rollout.judge.explain import percent
from rollout.judge.latency import edge_at_or_above
from rollout.plan import Plan
from rollout.rehearse.decide import Outlook, outlooks
from rollout.rehearse.draw import NOTHING, Defect, sources
from rollout.rehearse.flow import ERRORS, Flow, course, plain
from rollout.rehearse.simulate import HELD, PROMOTED, RETREATED, ROLLED_BACK, SERVICE, Runs, simulate
from rollout.workers import spread

GOOD, BUDGET, ODD = "good", "excess exactly the harm budget", "good, but the first customers fail x3"
ODD_COHORT = 3.0
"""One broken integration among the chosen customers gives such a ratio for ever, without any release."""
RUNS = 200


@dataclass(frozen=True, slots=True)
class Release:
    """One kind of release; its harm is counted at the gate `shown` as `what`.

    `odd`: what is wrong with the first customers by themselves; they are then worse with the release too.
    """

    name: str
    defect: Defect
    shown: str
    what: str
    odd: Defect = NOTHING


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What became of `runs` releases of one kind. Parts of all runs; seconds from the start of the rollout;
    `median`, `ninetieth`: until the rollback (until the promotion for a good release), None where fewer than
    half (nine tenths) of the runs did. `exposed` customers, `failed` and `added` events until then."""

    name: str
    what: str
    runs: int
    promoted: float
    rolled_back: float
    rolled_back_upper: float
    service: float
    held: float
    retreated: float
    median: float | None
    ninetieth: float | None
    exposed: float
    exposed_ninetieth: float
    requests: float
    failed: float
    failed_ninetieth: float
    added: float
    blamed: str | None
    ends: tuple[float, ...]
    """Deciles of the moment that `median` speaks of; infinite ones left out."""
    keeps: str = ""
    """Why a release is let through that is worse: the limit that it keeps all the same."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Everything: traffic, shares, releases, gates."""

    plan: str
    alpha: float
    beta: float
    flow: Flow
    shares: tuple[float, ...]
    releases: tuple[Rehearsed, ...]
    gates: tuple[Outlook, ...]
    not_rehearsed: tuple[str, ...]
    seed: int

    @property
    def undecided(self) -> tuple[Outlook, ...]:
        """Gates that make the plan useless with this traffic."""
        return tuple(gate for gate in self.gates if gate.stops)

    def release(self, name: str) -> Rehearsed:
        """The releases of that kind."""
        return next(each for each in self.releases if each.name == name)


def family(plan: Plan, flow: Flow) -> list[Release]:
    """Which releases can be told from a good one by the gates of this plan."""
    kinds = {name: gate.kind for name, gate in plan.gates.items()}
    errors = next((name for name, kind in kinds.items() if kind in ERRORS and kind != "service"), None)
    errors = errors or next((name for name, kind in kinds.items() if kind == "service"), None)
    latency = next((name for name, kind in kinds.items() if kind == "latency"), None)
    conversion = next((name for name, kind in kinds.items() if kind == "conversion"), None)
    shown = errors or latency or conversion or next(iter(kinds))
    found = [Release(GOOD, Defect(), shown, "failed requests")]
    if errors is not None:
        base = flow.gates[errors].base
        found += [
            Release(f"errors x{factor}", Defect(factor=factor), errors, "failed requests")
            for factor in (2, 5, 10)
            if 0 < base * factor < 1
        ]
        found.append(Release("fails everything", Defect(excess=1.0), errors, "failed requests"))
    if latency is not None:
        found.append(Release("latency +50 %", Defect(slower=1.5), latency, "slow requests"))
    if conversion is not None:
        found.append(
            Release("conversion -20 %", Defect(converts=0.8), conversion, "sessions without conversion")
        )
    if errors is not None:
        budget = plan.promotion.harm_budget if plan.gates[errors].harm_budget is None else None
        excess = budget if budget is not None else float(plan.gates[errors].harm_budget or 0.0)
        found.append(Release(BUDGET, Defect(excess=excess), errors, "failed requests"))
        if plan.comparison is not None:
            odd = Defect(factor=ODD_COHORT)
            found.append(Release(ODD, odd, errors, "failed requests", odd))
    return found


def rehearse(
    plan: Plan,
    flow: Flow,
    *,
    runs: int = RUNS,
    seed: int = 1,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Rehearsal:
    """Simulate every kind of release, and look whether each gate can decide."""
    releases = family(plan, flow)
    work = [(plan, flow, each, runs, (seed, crc32(each.name.encode()))) for each in releases]
    done: dict[str, Runs] = {}
    # The slow ones first, so that no core waits long for the last.
    order = sorted(range(len(work)), key=lambda k: "everything" in releases[k].name)
    with spread(_work, [work[k] for k in order], workers) as answers:
        gates = outlooks(plan, flow)
        for number, (place, runs_of) in enumerate(answers, start=1):
            name = releases[order[place]].name
            done[name] = runs_of
            if progress is not None:
                progress(name, number, len(work))
    config, _, _ = course(plan, flow)
    gauges = tuple(spec.name for spec in config.gates if spec.kind == "gauge")
    names = [spec.name for spec in config.gates if spec.kind != "gauge"]
    return Rehearsal(
        plan.name,
        config.alpha,
        config.beta,
        flow,
        config.shares,
        tuple(
            replace(_summary(each, done[each.name], names), keeps=_keeps(plan, config, flow, each))
            for each in releases
        ),
        tuple(gates),
        gauges,
        seed,
    )


def _work(task: tuple[Plan, Flow, Release, int, tuple[int, int]]) -> Runs:
    plan, flow, release, runs, entropy = task
    seed = np.random.SeedSequence(entropy)
    return simulate(plan, flow, release.defect, release.shown, runs, seed, release.odd)


def _summary(release: Release, runs: Runs, gates: list[str]) -> Rehearsed:
    count = runs.end.size
    aim = PROMOTED if release.name == GOOD else ROLLED_BACK
    when = np.sort(np.where(runs.outcome == aim, runs.end, np.inf))

    def quantile(part: float) -> float | None:
        value = float(when[min(count - 1, math.ceil(part * count) - 1)])
        return value if math.isfinite(value) else None

    back = int((runs.outcome == ROLLED_BACK).sum())
    blamed = runs.blamed[runs.blamed >= 0].astype(int)
    deciles = [quantile(part / 10) for part in range(1, 10)]
    return Rehearsed(
        release.name,
        release.what,
        count,
        float((runs.outcome == PROMOTED).mean()),
        back / count,
        _upper_limit(back, count),
        float((runs.outcome == SERVICE).mean()),
        float((runs.outcome == HELD).mean()),
        float((runs.outcome == RETREATED).mean()),
        quantile(0.5),
        quantile(0.9),
        _rounded(np.median(runs.exposed)),
        _rounded(np.quantile(runs.exposed, 0.9)),
        _rounded(np.median(runs.requests)),
        _rounded(np.median(runs.failed)),
        _rounded(np.quantile(runs.failed, 0.9)),
        _rounded(runs.added.mean()),
        gates[int(np.bincount(blamed).argmax())] if blamed.size else None,
        tuple(each for each in deciles if each is not None),
    )


def _keeps(plan: Plan, config: JudgeConfig, flow: Flow, release: Release) -> str:
    """The limit that a slower release keeps: without breaking it nothing is rolled back for latency."""
    if release.defect.slower == 1.0:
        return ""
    source = next(each for each in sources(plan, config.gates, flow) if each.spec.name == release.shown)
    spec, at = source.spec, edge_at_or_above(source.edges, source.spec.seconds)
    if at is None:
        return ""
    slow = float(source.rates(release.defect)[0][source.edges.index(at)])
    if slow > spec.tolerated_share:
        return ""
    allowed = percent(spec.tolerated_share)
    return f"{percent(slow)} of its requests take more than {spec.seconds:g} s, and {allowed} may"


def _rounded(value: float) -> float:
    """What is counted in whole customers and requests, without the dust of adding up parts of them."""
    return round(float(value), 3)


def _upper_limit(events: int, of: int) -> float:
    """Upper 95 % confidence limit of a rate (Clopper & Pearson)."""
    return 1.0 if events >= of else float(betaincinv(events + 1, of - events, 0.95))


def as_json(rehearsal: Rehearsal) -> dict[str, Any]:
    """Plain data; what never happens is null."""
    good = rehearsal.release(GOOD)
    worst = [each for each in rehearsal.releases if each.name == BUDGET]

    def finite(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    gates = []
    for gate in rehearsal.gates:
        raw = asdict(gate)
        raw |= {key: finite(raw[key]) for key in ("finds", "first", "proves")}
        raw["decides"] = not gate.cannot
        raw["cannot"] = list(gate.cannot)
        raw["sentence"] = gate.sentence
        gates.append(raw)
    return {
        "version": 1,
        "plan": rehearsal.plan,
        "seed": rehearsal.seed,
        "traffic": plain(rehearsal.flow),
        "shares": list(rehearsal.shares),
        "false_rollback": {
            "measured": good.rolled_back,
            "upper_95": good.rolled_back_upper,
            "promised": rehearsal.alpha,
        },
        "false_promotion": {
            "measured": worst[0].promoted if worst else None,
            "promised": rehearsal.beta,
            "release": BUDGET,
        },
        "full_promotion": {"median": good.median, "ninetieth": good.ninetieth, "part": good.promoted},
        "releases": [asdict(each) for each in rehearsal.releases],
        "gates": gates,
        "not_rehearsed": list(rehearsal.not_rehearsed),
        "undecided": [gate.gate for gate in rehearsal.undecided],
    }
