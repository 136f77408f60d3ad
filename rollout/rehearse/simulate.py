"""Many rollouts of one plan side by side, from the first share to their end, with the judge's own functions.

The rules are the controller's (reconcile.py), with traffic that stays as it is, so that all rollouts take
the same steps and differ only in when. Time goes in polls; later, when nothing happens from one poll to the
next, several are taken as one (merging intervals changes nothing in the evidence, only how finely the moment
of a decision is known: to a fortieth of the time that has passed).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from rollout.judge import (
    Arms,
    BatchEvidence,
    GateEvidence,
    JudgeConfig,
    mark_step,
    numbers,
    observe,
    start,
)
from rollout.judge.arrays import Bools, Floats
from rollout.judge.decide import Numbers
from rollout.ladder import share_of
from rollout.plan import Plan
from rollout.rehearse.draw import NOTHING, Defect, Source, baseline_part, drawn, sources
from rollout.rehearse.flow import Flow, course
from rollout.rehearse.trial import told_apart
from rollout.routers.router import WHOLE
from rollout.sources import testers_count

FINENESS = 40.0
LONGEST_POLL = 60.0
RUNNING, PROMOTED, ROLLED_BACK, SERVICE, HELD, RETREATED = 0, 1, 2, 3, 4, 5


@dataclass(frozen=True, slots=True)
class Runs:
    """What became of each rollout, all (B,): `outcome` (codes above), `end` in seconds from the start,
    `exposed` (customers), `requests` the candidate served, `failed` and `added` bad events of the gate that
    shows the defect (all, and beyond stable's rate), `blamed` (index of the gate, -1: none)."""

    outcome: Floats
    end: Floats
    exposed: Floats
    requests: Floats
    failed: Floats
    added: Floats
    blamed: Floats


@dataclass
class _Way:
    """The steps as arrays: weights (steps + 1, S), shares and least stay (steps + 1,)."""

    weights: Floats
    shares: Floats
    dwell: Floats


def simulate(
    plan: Plan,
    flow: Flow,
    defect: Defect,
    shown: str,
    runs: int,
    seed: np.random.SeedSequence,
    odd: Defect = NOTHING,
) -> Runs:
    """`runs` rollouts of a release with `defect`; bad events are counted at the gate `shown`.

    `odd`: what is wrong with the first customers themselves, on stable already.
    """
    random = np.random.default_rng(seed)
    config, found, way = _course(plan, flow)
    differ = told_apart(plan, flow, config, found, way.weights[1], odd, random, runs)
    return _Simulation(plan, flow, defect, shown, config, found, way, random, differ).run()


def _course(plan: Plan, flow: Flow) -> tuple[JudgeConfig, list[Source], _Way]:
    config, ladder, positions = course(plan, flow)
    points = [ladder.nobody, *(ladder.point(position) for position in positions)]
    weights = np.array([[point[name] / WHOLE for name in flow.cohorts] for point in points])
    shares = np.array([0.0, *(share_of(point, flow.cohorts) for point in points[1:])])
    stays = [0.0]
    for position in positions:
        bake = ladder.corners[int(position) - 1].bake if position == int(position) else 0.0
        stays.append(max(plan.promotion.dwell, bake))
    return config, sources(plan, config.gates, flow), _Way(weights, shares, np.array(stays))


class _Simulation:
    def __init__(
        self,
        plan: Plan,
        flow: Flow,
        defect: Defect,
        shown: str,
        config: JudgeConfig,
        found: list[Source],
        way: _Way,
        random: np.random.Generator,
        differ: Floats,
    ) -> None:
        runs = differ.size
        self._plan, self._flow, self._defect, self._shown = plan, flow, defect, shown
        self._config, self._found, self._way, self._random = config, found, way, random
        self._state = start(config, runs)
        self._parts = np.array(list(flow.cohorts.values()))
        # Without synthetic requests the first share is not earned: it is open from the start, or after the
        # A/A stage. `trial`: since when that lasts (inf before), `differ`: seconds until it ends the rollout.
        self._step = np.full(runs, 0 if plan.synthetic or plan.comparison else 1)
        self._trial, self._differ = np.full(runs, np.inf if plan.synthetic else 0.0), differ
        self._changed = np.zeros(runs)
        self._met = np.zeros((runs, self._parts.size))
        self._row = np.arange(runs)
        self._tested = {
            source.spec.name
            for source in found
            if plan.synthetic and testers_count(plan.gates[source.spec.name])
        }
        # Gates for which the same intervals count, and the same part of stable.
        self._alike: dict[tuple[bool, str], list[Source]] = {}
        for source in sorted(found, key=lambda each: each.spec.kind == "conversion"):
            key = source.spec.kind == "conversion", source.spec.baseline
            self._alike.setdefault(key, []).append(source)
        zeros = {part.name: np.zeros(runs) for part in dataclasses.fields(Runs)}
        self._out = Runs(**{**zeros, "end": np.full(runs, np.inf), "blamed": np.full(runs, -1.0)})

    def run(self) -> Runs:
        poll, t = self._plan.observation.poll, 0.0
        while self._row.size and t < 7 * 86400:
            seconds = poll * max(1, round(min(LONGEST_POLL, t / FINENESS) / poll))
            self._poll(t, seconds)
            t += seconds
        return self._out

    def _poll(self, t: float, seconds: float) -> None:
        arms = self._arms(t, seconds)
        edges = {source.spec.name: source.edges for source in self._found}
        gates = {name: GateEvidence(t, t + seconds, each, edges[name]) for name, each in arms.items()}
        share = self._way.shares[self._step]
        self._state = observe(self._config, self._state, BatchEvidence(gates, share))
        self._count(seconds)
        self._act(numbers(self._config, self._state), t + seconds)

    @property
    def _trying(self) -> Bools:
        """Whose A/A stage goes on: there is no evidence of the release meanwhile."""
        result: Bools = (self._step == 0) & np.isfinite(self._trial) & (self._plan.comparison is not None)
        return result

    def _arms(self, t: float, seconds: float) -> dict[str, Arms]:
        arms = {}
        for (aging, _), alike in self._alike.items():
            arms.update(self._drawn(alike, t, seconds, aging=aging))
        return arms

    def _drawn(self, sources: list[Source], t: float, seconds: float, *, aging: bool) -> dict[str, Arms]:
        """Counts of these gates; `aging`: conversions, of sessions of the same age only."""
        weights = self._way.weights[self._step]
        requests = self._flow.rate * self._parts * seconds
        n_c, n_b = requests * weights, requests * baseline_part(sources[0].spec, weights)
        # What falls into the time in which new weights settle is left out of the evidence.
        used = self._used(t, seconds, self._ages(sources) if aging else 0.0)[:, None]
        synthetic = self._plan.synthetic
        if synthetic is not None:
            testing = np.where(self._step == 0, self._used(t, seconds) * synthetic.rate * seconds, 0.0)[
                :, None
            ]
            n_c, n_b = np.hstack([n_c * used, testing]), np.hstack([n_b * used, testing])
        else:
            n_c, n_b = n_c * used, n_b * used
        arms = drawn(sources, self._random, n_c, n_b, self._defect)
        if synthetic is not None:
            arms = {name: each if name in self._tested else _untested(each) for name, each in arms.items()}
        return arms

    def _ages(self, sources: list[Source]) -> float:
        return max((self._plan.gates[each.spec.name].age for each in sources), default=0.0)

    def _used(self, t: float, seconds: float, age: float = 0.0) -> Floats:
        """The part of these seconds that is evidence, (B,)."""
        observation = self._plan.observation
        cold = max(observation.settle, observation.warm_up)
        first = 0 if self._plan.synthetic else 1
        quiet = np.maximum(np.where(self._step == first, cold, observation.settle), age)
        part = np.clip((t + seconds - (self._changed + quiet)) / seconds, 0.0, 1.0)
        return np.where(self._trying, 0.0, part)

    def _count(self, seconds: float) -> None:
        """Harm and exposure in these seconds, whether or not they were evidence."""
        source = next(each for each in self._found if each.spec.name == self._shown)
        rate_c, rate_b = (rates[_limit_edge(source)] for rates in source.rates(self._defect))
        weights = self._way.weights[self._step]
        served = (self._flow.rate * self._parts * seconds * weights).sum(axis=1)
        events = self._random.poisson(served * source.events)
        row, out = self._row, self._out
        out.requests[row] += served
        out.failed[row] += self._random.binomial(events, min(1.0, float(rate_c)))
        out.added[row] += events * (float(rate_c) - float(rate_b))
        customers = self._flow.customers * self._parts
        each = self._flow.rate * seconds / self._flow.customers
        self._met += np.maximum(customers * weights - self._met, 0.0) * (1.0 - np.exp(-each))
        out.exposed[row] = self._met.sum(axis=1)

    def _act(self, now: Numbers, t: float) -> None:
        last = self._way.shares.size - 1
        stayed = t - self._changed
        trying, tried = self._trying, t - self._trial
        over = np.zeros(self._row.size)
        over[self._held(stayed, last)] = HELD
        over[trying & (tried >= self._differ)] = RETREATED
        over[(self._step == last) & (stayed >= self._plan.promotion.final_bake)] = PROMOTED
        over[now.service & (self._step > 0)] = SERVICE
        over[now.rollback] = ROLLED_BACK
        earned = self._earned(now, np.minimum(self._step + 1, last), stayed)
        widens = (over == 0) & (self._step < last) & (stayed >= self._way.dwell[self._step]) & earned
        if self._plan.comparison is not None:
            bake = self._plan.comparison.bake
            opens = widens & (self._step == 0) & ~trying
            self._trial = np.where(opens, t, self._trial)
            widens = (widens & (self._step > 0)) | ((over == 0) & trying & (tried >= bake))
            self._changed = np.where(opens, t, self._changed)
        self._step = self._step + widens
        self._changed = np.where(widens, t, self._changed)
        self._state = mark_step(self._state, widens)
        ended = over > 0
        if ended.any():
            self._end(ended, over, now, t)

    def _held(self, stayed: Floats, last: int) -> Bools:
        held: Bools = (stayed > self._plan.limits.longest_bake) & (self._step > 0) & (self._step < last)
        if self._plan.synthetic is not None:
            held |= (self._step == 0) & ~self._trying & (stayed > self._plan.synthetic.longest)
        return held

    def _earned(self, now: Numbers, step: Floats, stayed: Floats) -> Bools:
        """Whether the evidence bears the next share, by the rules of reconcile.py and stage_zero.py."""
        wanted = self._way.shares[step]
        enough: Bools = now.share_allowed >= np.minimum(wanted, self._config.max_share) - 1e-9
        for name, gate in now.gates.items():
            spec = self._config.gate(name)
            if spec.governs == "harm" and gate.harm_upper is not None:
                enough &= (wanted <= self._config.max_share + 1e-9) | (gate.harm_upper <= spec.harm)
            elif spec.governs == "ratio" and gate.proved is not None:
                enough &= gate.proved
        if self._plan.synthetic is None:
            return enough
        opens = stayed >= max(self._plan.observation.warm_up, self._plan.observation.poll)
        for name in self._tested:
            spec, gate = self._config.gate(name), now.gates[name]
            if spec.governs == "harm" and gate.harm_upper is not None:
                bears = spec.harm / gate.harm_upper >= np.minimum(wanted, self._config.max_share) - 1e-9
                opens = opens & (gate.harm_upper < 1.0) & bears
        return np.where(self._step == 0, opens, enough)

    def _end(self, ended: Bools, over: Floats, now: Numbers, t: float) -> None:
        gone = self._row[ended]
        self._out.outcome[gone], self._out.end[gone] = over[ended], t
        names = [source.spec.name for source in self._found]
        self._out.blamed[gone] = [
            names.index(who) if who in names else -1
            for who, out in zip(now.blamed, ended, strict=True)
            if out
        ]
        kept = ~ended
        self._row, self._step, self._changed = self._row[kept], self._step[kept], self._changed[kept]
        self._trial, self._differ = self._trial[kept], self._differ[kept]
        self._met, self._state = self._met[kept], self._state.only(kept)


def _untested(arms: Arms) -> Arms:
    """Without what the testers would have counted: the gate has no counters of their own."""
    n_c, n_b, x_c, x_b = arms.n_c.copy(), arms.n_b.copy(), arms.x_c.copy(), arms.x_b.copy()
    for counts in (n_c, n_b, x_c, x_b):
        counts[:, -1] = 0.0
    return Arms(n_c, x_c, n_b, x_b)


def _limit_edge(source: Source) -> int:
    return source.edges.index(source.spec.seconds) if source.edges else 0
