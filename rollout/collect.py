"""Prometheus -> counters -> evidence: one interval per gate and cohort at every look.

A silent Prometheus, a missing series, stale samples are problems of the `Look`, never evidence: neither good
nor bad. After a restart counting goes on at the scrape where the last interval ended, as long as Prometheus
still has it, so that nothing is counted twice or forgotten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from huidu.foundation.errors import Unreachable
from huidu.foundation.prometheus import NoData, Prometheus
from huidu.model.evidence import Counts, Histogram, Interval
from rollout import gauged
from rollout.controller.edge import Look
from rollout.controller.fold import RolloutState
from rollout.controller.judgement import SETTLING
from rollout.counters import Pair, difference
from rollout.plan import TESTERS, CohortArms, Compared, Metrics, Plan, compared_with
from rollout.questions import Answers, Questions, selectors_of
from rollout.selectors import Selector
from rollout.sources import (
    ENVOY_IN_FLIGHT,
    ENVOY_REQUESTS,
    Source,
    distinct,
    metrics_of,
    source_of,
    testers_count,
)
from rollout.traffic import LATELY, Traffic, last_sum

FOLDED = 30.0
"""Seconds for which the requests of one arm wait for some of the other."""
STALE_POLLS = 3.0
STALE_LEAST = 5.0
"""Samples older than three polls, and than this many seconds, are stale."""


class Collector:
    """Looks at every gate of the plan in every cohort, `release` against `stable_release`."""

    def __init__(
        self,
        prometheus: Prometheus,
        plan: Plan,
        cohorts: Mapping[str, CohortArms],
        release: str,
        stable_release: str,
        testers: CohortArms | None = None,
    ) -> None:
        self._prometheus = prometheus
        self._plan = plan
        self._cohorts = cohorts
        self._release = release
        releases = {"canary": release, "baseline": stable_release}

        everybody = {**cohorts, **({TESTERS: testers} if testers else {})}

        whole: Compared = "stable" if plan.baseline == "stable" else "everybody"

        def everywhere(
            metrics: Metrics, gate: str = "", limit: float | None = None, compared: Compared = whole
        ) -> dict[str, Source]:
            return {
                name: source_of(gate, name, metrics, arms, releases, limit, compared)
                for name, arms in everybody.items()
                if name != TESTERS or not gate or testers_count(plan.gates[gate])
            }

        envoy = plan.observation.traffic.preset is not None
        self._sources = [
            source
            for name, gate in plan.gates.items()
            for source in distinct(
                everywhere(metrics_of(gate), name, gate.limit, compared_with(plan, gate)).values()
            )
        ]
        # A fresh baseline shows nothing before it has customers: that a gate can count is seen at stable.
        self._early = [
            source
            for name, gate in plan.gates.items()
            for source in everywhere(metrics_of(gate), name, gate.limit).values()
            if plan.baseline == "fresh"
        ]
        traffic = ENVOY_REQUESTS if envoy else plan.observation.traffic
        in_flight = everywhere(Metrics(total=(ENVOY_IN_FLIGHT,))) if envoy else {}
        self._traffic = Traffic(everywhere(Metrics(total=traffic.total)), in_flight)
        usual = selectors_of([*self._sources, *self._traffic.sources])
        self._usual, self._all = Questions(usual), Questions([*usual, *selectors_of(self._early)])
        self._texts = {
            (source.gate, source.cohort): tuple(each.text() for each in source.all_of("canary"))
            for source in self._sources
        }
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._ends: dict[str, float] = {}
        self._since = 0.0

    def check(self) -> None:
        """Ask everything once. Raises ConfigError (not PromQL), Unreachable."""
        self._ask(LATELY, None)

    def restore(self, intervals: Iterable[Interval], until: float) -> None:
        """Go on behind `intervals`, which were judged already; counted traffic begins at `until`."""
        ends: dict[tuple[str, str], float] = {}
        for interval in intervals:
            ends[interval.gate, interval.stratum] = interval.end
            self._ends[interval.gate] = max(interval.end, self._ends.get(interval.gate, 0.0))
        self._since = min(ends.values(), default=0.0)
        for at in sorted(set(ends.values())):
            answers = self._ask(LATELY, at)
            in_flight = self._traffic.open_beyond(answers)
            for source in self._sources:
                key = (source.gate, source.cohort)
                if ends.get(key) == at and not source.gauge["canary"]:
                    self._pairs[key], _, _ = self._difference(source, answers, (), in_flight)
        self._traffic.begin(self._ask(LATELY, until))

    def look(self, state: RolloutState, now: float) -> Look:
        """See `Eyes.look`."""
        poll = self._plan.observation.poll
        try:
            if not self._traffic.begun:
                self._traffic.begin(self._ask(LATELY, now - LATELY))
            back = now - self._since if self._since else 0.0
            early = self._early_for(state)
            answers = self._ask(max(15.0, 4 * poll, back + 2 * poll), None, early)
        except Unreachable as error:
            return Look(problems=(error.what,))
        problems = self._missing(answers, early or self._sources)
        if answers.newest and now - answers.newest > max(STALE_LEAST, STALE_POLLS * poll):
            problems.append(f"the newest sample is {now - answers.newest:.0f} s old")
        requests = self._traffic.count(answers, now)
        synthetic = requests.pop(TESTERS, 0.0)
        intervals = self._intervals(answers, state)
        if not problems and intervals:
            self._since = min(interval.start for interval in intervals)
        customers = sum(requests.values())
        return Look(intervals, self._traffic.lately(), customers, self._exposed(), tuple(problems), synthetic)

    # asking

    def _early_for(self, state: RolloutState) -> Sequence[Source]:
        """Where to see that the gates can count, while nobody is on a fresh baseline."""
        return () if any(state.weights.values()) and state.trial != "open" else self._early

    def _ask(self, seconds: float, at: float | None, early: Sequence[Source] = ()) -> Answers:
        """Every counter of every gate, arm and cohort: one question for each different selector."""
        return (self._all if early else self._usual).ask(self._prometheus, seconds, at)

    def _missing(self, answers: Answers, expected: Sequence[Source]) -> list[str]:
        """Gates whose baseline shows no counter in any cohort: nothing can be compared."""
        problems = []
        for name, gate in self._plan.gates.items():
            if gate.role == "watch":
                continue
            mine = [source for source in expected if source.gate == name]
            needed = [source.selectors["baseline"] for source in mine]
            seen = any(
                answers.reading(each).get("total") or answers.reading(each).get("bucket") for each in needed
            ) or any(any(answers.reading(each.gauge["baseline"]).values()) for each in mine)
            if not seen:
                problems.append(f"gate {name}: no series such as {mine[0].all_of('baseline')[0].text()}")
        return problems

    # counting

    def _intervals(self, answers: Answers, state: RolloutState) -> tuple[Interval, ...]:
        found: dict[str, list[Interval]] = {}
        changes, in_flight = _changes(state), self._traffic.open_beyond(answers)
        for source in self._sources:
            key = (source.gate, source.cohort)
            if source.gauge["canary"]:
                interval = self._gauged(source, answers, state.share)
            else:
                pair, interval, _ = self._difference(source, answers, changes, in_flight, state.share)
                if interval is not None and self._lonely(interval):
                    continue  # nothing is consumed: the counts fold into the next interval
                self._pairs[key] = pair
            if interval is not None:
                found.setdefault(source.gate, []).append(interval)
        # The judge is told about one gate's cohorts together, so they must span the same time.
        return tuple(
            self._settled(self._shaped(interval), state)
            for gate, several in found.items()
            for interval in self._aligned(gate, several)
        )

    def _lonely(self, interval: Interval) -> bool:
        """Whether only one arm was asked. That compares nothing, and a fresh baseline is so small that with
        little traffic most requests of the candidate would be lost so. Only totals decide, never failures."""
        if compared_with(self._plan, self._plan.gates[interval.gate]) != "fresh" or interval.excluded:
            return False
        asked = [arm.total > 0 for arm in (interval.canary, interval.baseline) if arm is not None]
        return any(asked) and not all(asked) and interval.end - interval.start < FOLDED

    def _difference(
        self,
        source: Source,
        answers: Answers,
        changes: Sequence[float],
        in_flight: Mapping[str, float],
        share: float = 0.0,
    ) -> tuple[Pair, Interval | None, str]:
        key, metrics = (source.gate, source.cohort), metrics_of(self._plan.gates[source.gate])
        return difference(
            *key,
            self._pairs.get(key, Pair()),
            answers.reading(source.selectors["canary"]),
            answers.reading(source.selectors["baseline"]),
            share=share,
            in_flight=in_flight.get(source.cohort, 0.0),
            changes=changes,
            unit=0.001 if metrics.unit == "ms" else 1.0,
            queries=self._texts[key],
            seen=answers.seen,
        )

    def _gauged(self, source: Source, answers: Answers, share: float) -> Interval | None:
        """What both arms' instances show now, where they show something new."""
        poll, last = self._plan.observation.poll, self._ends.get(source.gate, 0.0)
        fresh = max(last, answers.newest - max(STALE_LEAST, STALE_POLLS * poll))
        canary, end = gauged.read(answers.reading(source.gauge["canary"]), 2 * poll, fresh)
        baseline, _ = gauged.read(answers.reading(source.gauge["baseline"]), 2 * poll, fresh)
        if canary is None:
            return None
        key, start = (source.gate, source.cohort), last or end - poll
        return Interval(*key, start, end, canary, baseline, share=share, queries=self._texts[key])

    def _aligned(self, gate: str, intervals: list[Interval]) -> list[Interval]:
        """Cohorts scraped from different targets end at slightly different times: one look, one interval."""
        last = self._ends.get(gate, 0.0)
        end = max(max(interval.end for interval in intervals), last + 0.001)
        start = max(min(interval.start for interval in intervals), last)
        self._ends[gate] = end
        return [
            dataclasses.replace(interval, start=min(start, end - 0.001), end=end) for interval in intervals
        ]

    def _shaped(self, interval: Interval) -> Interval:
        """As the judge wants them: a limit is a histogram with one edge; what is not good is bad."""
        gate = self._plan.gates[interval.gate]

        def shape(arm: Counts | Histogram | None) -> Counts | Histogram | None:
            if not isinstance(arm, Counts):
                return arm
            if gate.kind in ("latency", "delay") and gate.limit is not None:
                return Histogram({gate.limit: max(0.0, arm.total - arm.bad)}, arm.total)
            if gate.metrics.good:
                return Counts(arm.total, max(0.0, arm.total - arm.bad))
            return arm

        canary, baseline = cast(Counts | Histogram, shape(interval.canary)), shape(interval.baseline)
        if canary is interval.canary and baseline is interval.baseline:
            return interval
        return dataclasses.replace(interval, canary=canary, baseline=baseline)

    def _settled(self, interval: Interval, state: RolloutState) -> Interval:
        """Leave out what was gathered while a change of weights settled, or while the candidate warmed up."""
        observation, gate = self._plan.observation, self._plan.gates[interval.gate]
        cold = self._plan.synthetic is None  # else the synthetic requests have warmed the candidate
        if interval.stratum == TESTERS and interval.start < state.judging_at + observation.warm_up:
            return dataclasses.replace(interval, excluded=f"{SETTLING}: the candidate warms up")
        for number, (_, confirmed) in enumerate(state.changes):
            first = cold and not number
            aging = gate.kind == "conversion" and gate.age > observation.settle
            settle = gate.age if aging else observation.settle
            quiet = max(settle, observation.warm_up) if first else settle
            if interval.end > confirmed and interval.start < confirmed + quiet:
                why = "the candidate warms up" if first else "the new weights settle"
                why = "sessions of the same age only" if aging else why
                return dataclasses.replace(interval, excluded=f"{SETTLING}: {why}")
        if any(before < interval.end and interval.start < after for before, after in state.changes):
            return dataclasses.replace(interval, excluded=f"{SETTLING}: weights change")
        return interval

    def _exposed(self) -> int | None:
        """Customers the candidate has served, where the plan says how to ask."""
        template = self._plan.observation.exposed
        if template is None:
            return None
        selector = Selector.parse(template).filled(
            {
                "release": self._release,
                **dict.fromkeys(("cluster", "arm", "tier", "cohort", "limit", "limit_ms"), ""),
            }
        )
        try:
            answer = self._prometheus.instant(selector.text())
        except Unreachable:
            return None
        return None if isinstance(answer, NoData) else int(last_sum(answer))


def _changes(state: RolloutState) -> tuple[float, ...]:
    times = [t for change in state.changes for t in change]
    return tuple(times if state.pending is None else [*times, state.pending.since])
