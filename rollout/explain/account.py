"""The account of one rollout or recording: per gate the counts, the estimate, E over time, and what was left
out. Pure: it judges the evidence again, and takes nothing on trust but the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from huidu.model.evidence import Counts, Histogram, Interval
from huidu.model.verdict import Decision, Estimate, GateVerdict
from rollout.failing import Failing
from rollout.judge import GateSpec, JudgeConfig, estimate, gauges
from rollout.judge.explain import count, hypothesis, percent, rate, subject
from rollout.judge.latency import edge_at_or_above
from rollout.replay import Look, Replayed, from_the_start, log_e_by_interval, sentence_of


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm up to the decision: counts, and its rate with an interval that holds at every moment; `unused`:
    what the evidence holds of it where nothing was compared."""

    counts: Counts
    estimate: Estimate | None
    unused: Counts

    @property
    def said(self) -> str:
        """ "0.52 % (8 of 1,538), surely between 0.2 % and 1.1 %"."""
        if self.unused.total > 0:
            return f"{count(self.unused.bad)} of {count(self.unused.total)}, not used: the other arm has none"
        if self.estimate is None:
            return rate(self.counts)
        low, high = percent(self.estimate.low), percent(self.estimate.high)
        return f"{rate(self.counts)}, between {low} and {high}"


@dataclass(frozen=True, slots=True)
class Group:
    """One stratum of a gate up to the decision, as it was counted."""

    stratum: str
    canary: Counts
    baseline: Counts


@dataclass(frozen=True, slots=True)
class Gap:
    """Time (seconds from the first interval) that was left out of the evidence, and why."""

    start: float
    end: float
    why: str


@dataclass(frozen=True, slots=True)
class GateAccount:
    """One gate. `series`: (seconds from the first interval, log E), one value an interval; `crossed`: when it
    first reached its bound; `excluded`: reason and how many intervals, `gaps` when; `excluded_share`: of the
    intervals since the last step, without those left out by plan; `hypothesis`: H0 in words."""

    name: str
    kind: str
    role: str
    spoke: bool
    log_e: float
    bound: float
    highest: float
    crossed: float | None
    harm_upper: float | None
    stratum: str
    canary: Arm
    baseline: Arm
    groups: tuple[Group, ...]
    intervals: int
    excluded: Mapping[str, int]
    gaps: tuple[Gap, ...]
    excluded_share: float
    dispersion: float
    dispersion_from: str
    queries: tuple[str, ...]
    against: str
    hypothesis: str
    counted: str
    sentence: str
    series: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Account:
    """The whole. `max_excluded`: above this part of excluded intervals it is not evidence.
    `began`, `decided`: Unix seconds; `shares`: (seconds, share) whenever it changed; `remarks`:
    what a reader should know before he trusts it."""

    name: str
    outcome: str
    verdict: str
    blamed: str | None
    sentence: str
    began: float
    decided: float
    gates: tuple[GateAccount, ...]
    shares: tuple[tuple[float, float], ...]
    remarks: tuple[str, ...]
    level: float
    max_excluded: float
    specs: Mapping[str, GateSpec]
    failing: Failing | None = None


def account(
    replayed: Replayed,
    name: str,
    outcome: str = "",
    sentence: str = "",
    remarks: Iterable[str] = (),
    failing: Failing | None = None,
) -> Account:
    """The account of what `replay` found; the gate that spoke comes first."""
    intervals, assumed = from_the_start([each for look in replayed.looks for each in look.intervals])
    began = min(interval.start for interval in intervals)
    mended = iter(intervals)
    looks = [replace(look, intervals=tuple(islice(mended, len(look.intervals)))) for look in replayed.looks]
    until = [look for look in looks if look.t <= replayed.decided.t]
    blamed = replayed.decided.verdict.blamed
    series = log_e_by_interval(replayed)
    gates = [
        _gate(
            replayed.config, spec, replayed.decided.verdict.gates[spec.name], until, series[spec.name], began
        )
        for spec in replayed.config.gates
    ]
    gates.sort(key=lambda gate: (gate.name != blamed, gate.role == "watch", gate.bound - gate.highest))
    return Account(
        name,
        outcome or replayed.verdict,
        replayed.verdict,
        blamed,
        sentence or sentence_of(replayed),
        began,
        replayed.decided.t,
        tuple(gates),
        tuple(_shares(looks, began)),
        (*remarks, assumed) if assumed else tuple(remarks),
        1.0 - replayed.config.alpha,
        replayed.config.max_excluded,
        {spec.name: spec for spec in replayed.config.gates},
        failing,
    )


def _gate(
    config: JudgeConfig,
    spec: GateSpec,
    verdict: GateVerdict,
    looks: Iterable[Look],
    series: list[tuple[float, float]],
    began: float,
) -> GateAccount:
    ours = [each for look in looks for each in look.intervals if each.gate == spec.name]
    used = [each for each in ours if not each.excluded and _compares(spec, each)]
    groups = tuple(
        Group(stratum, _sum(spec, used, stratum, "canary"), _sum(spec, used, stratum, "baseline"))
        for stratum in config.strata
        if any(each.stratum == stratum for each in used)
    )
    crossed = next((t - began for t, value in series if value >= verdict.bound), None)
    return GateAccount(
        name=spec.name,
        kind=spec.kind,
        role=spec.role,
        spoke=verdict.decision is Decision.ROLLBACK or (crossed is not None and spec.role != "watch"),
        log_e=verdict.log_e,
        bound=verdict.bound,
        highest=max((value for _, value in series), default=0.0),
        crossed=crossed,
        harm_upper=verdict.harm_upper,
        stratum=verdict.stratum,
        canary=Arm(verdict.canary, verdict.estimate, _unused(spec, verdict, ours, "canary")),
        baseline=Arm(
            verdict.baseline,
            _estimate(verdict.baseline, verdict.dispersion, config.alpha),
            _unused(spec, verdict, ours, "baseline"),
        ),
        groups=groups,
        intervals=len(ours),
        excluded=dict(Counter(each.excluded for each in ours if each.excluded)),
        gaps=tuple(_gaps(ours, began)),
        excluded_share=verdict.excluded,
        dispersion=verdict.dispersion,
        dispersion_from=verdict.dispersion_from,
        queries=tuple(dict.fromkeys(query for each in ours for query in each.queries)),
        against=spec.baseline,
        hypothesis=hypothesis(spec),
        counted=subject(spec),
        sentence=verdict.sentence,
        series=tuple((t - began, value) for t, value in series),
    )


def _estimate(counts: Counts, dispersion: float, alpha: float) -> Estimate | None:
    return estimate.rate(counts.total, counts.bad, dispersion, alpha)


def _unused(spec: GateSpec, verdict: GateVerdict, intervals: Iterable[Interval], arm: str) -> Counts:
    """What one arm counted where a gate that compares had the other arm in no interval."""
    if spec.kind == "gauge" or verdict.canary.total > 0 or verdict.baseline.total > 0:
        return Counts(0.0, 0.0)
    return _sum(spec, (each for each in intervals if not each.excluded), None, arm)


def _compares(spec: GateSpec, interval: Interval) -> bool:
    """Whether the judge counts it: what compares needs requests in both arms."""
    if spec.kind in ("slo", "service", "gauge"):
        return True
    return interval.canary.total > 0 and interval.baseline is not None and interval.baseline.total > 0


def _sum(spec: GateSpec, intervals: Iterable[Interval], stratum: str | None, arm: str) -> Counts:
    """Of one arm in one stratum, or (None) in all of them."""
    total = bad = 0.0
    for each in intervals:
        counts = getattr(each, arm)
        if stratum in (None, each.stratum) and counts is not None:
            one = counted(spec, counts)
            total, bad = total + one.total, bad + one.bad
    return Counts(total, bad)


def counted(spec: GateSpec, arm: Counts | Histogram) -> Counts:
    """Events of one arm and those the gate calls bad; of a histogram those beyond its edge."""
    if isinstance(arm, Counts):
        return arm
    if spec.kind == "gauge":
        return gauges.above(arm, spec.seconds)
    edge = edge_at_or_above(arm.le, spec.seconds)
    return Counts(arm.total, 0.0) if edge is None else arm.above(edge)


def counted_until(replayed: Replayed) -> dict[str, dict[str, Counts]]:
    """Per gate and arm what the evidence holds until the decision, of intervals that may be used; a gate that
    compares uses it only where both arms have requests."""
    looks = [look for look in replayed.looks if look.t <= replayed.decided.t]
    usable = [each for look in looks for each in look.intervals if not each.excluded]
    found = {}
    for spec in replayed.config.gates:
        ours = [each for each in usable if each.gate == spec.name]
        found[spec.name] = {arm: _sum(spec, ours, None, arm) for arm in ("canary", "baseline")}
    return found


def _gaps(intervals: Iterable[Interval], began: float) -> Iterable[Gap]:
    """Excluded intervals, those that follow each other for the same reason as one."""
    last: Gap | None = None
    for each in sorted((each for each in intervals if each.excluded), key=lambda each: each.start):
        start, end = max(0.0, each.start - began), max(0.0, each.end - began)
        if last is not None and last.why == each.excluded and start <= last.end + 1e-6:
            last = Gap(last.start, max(last.end, end), last.why)
            continue
        if last is not None:
            yield last
        last = Gap(start, end, each.excluded)
    if last is not None:
        yield last


def _shares(looks: Iterable[Look], began: float) -> Iterable[tuple[float, float]]:
    last = -1.0
    for look in looks:
        if abs(look.share - last) > 1e-4:
            last = look.share
            yield look.t - began, look.share
