"""Starting an observation, or going on with one. It asks Prometheus, and writes into its own folder only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError, StateError, UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.prometheus import NoData, Prometheus
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.admission import check_apart, check_candidate
from rollout.collect import Collector
from rollout.controller.voice import Steady
from rollout.evidence_file import Header
from rollout.evidence_log import FileEvidence
from rollout.folder import reading
from rollout.judge.state import VERSION as JUDGE_VERSION
from rollout.observe.account import Json, account
from rollout.observe.fold import observed
from rollout.observe.watcher import Outside, Watcher, stated_share
from rollout.plan import CohortArms, Plan, judge_config, ladder_of
from rollout.plan.file import load_plan, parse_plan, plan_hash, plan_text
from rollout.sources import metrics_of
from rollout.target import Target

PROMETHEUS_TIMEOUT = 3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
EVERYBODY = "all"


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for. `cohorts`: (), as the plan or the stack names them; `share`: PromQL of it."""

    plan: Path
    release: str
    stable: str | None
    name: str
    cohorts: tuple[str, ...] = ()
    share: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where evidence comes from: cohorts with their clusters (empty where there are none), Prometheus.

    `target`: of the route, whose proxies are asked what they serve; None where there is none.
    """

    cohorts: dict[str, CohortArms]
    prometheus: str
    stable: str
    target: Target | None = None

    def to_data(self) -> dict[str, Any]:
        """For the journal."""
        arms = {name: each.model_dump() for name, each in self.cohorts.items()}
        route = {} if self.target is None else {"route": self.target.to_data()}
        return {"arms": arms, "prometheus": self.prometheus, "stable_release": self.stable, **route}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Place:
        """The inverse of `to_data`; other keys are ignored."""
        arms = {name: CohortArms(**each) for name, each in data["arms"].items()}
        target = Target.from_data(dict(data["route"])) if "route" in data else None
        return cls(arms, data["prometheus"], data["stable_release"], target)


def observations(workspace: Workspace) -> Path:
    """Where observations keep their journals: apart from rollouts, which somebody could abort."""
    return workspace.home / "observations"


@contextlib.contextmanager
def opened(
    workspace: Workspace, order: Order, clock: Clock, terminal: Terminal, stop: Callable[[], bool]
) -> Iterator[tuple[Watcher, Callable[[], Json]]]:
    """A new observation, or the unfinished one of that name; and what it came to. Raises HuiduError."""
    if not _NAME.fullmatch(order.name):
        raise UsageError(f"{order.name!r} cannot be the name of an observation")
    plan, text = load_plan(order.plan), plan_text(order.plan)
    folder = observations(workspace) / order.name
    workspace.ensure_writable()
    with contextlib.ExitStack() as stack:
        known = _known(folder, order)
        if known is not None:
            plan = parse_plan(str(known["plan_text"]), str(known["plan_file"]))
            place = Place.from_data(known)
            if known["plan_hash"] != plan_hash(text):
                terminal.say("note: the plan was edited; this goes on with the one it began with", "yellow")
        else:
            place = place_of(plan, order, workspace.stack_file)
        plan = plan.model_copy(update={"synthetic": None, "comparison": None})  # both would move requests
        prometheus = Prometheus(place.prometheus, timeout=PROMETHEUS_TIMEOUT)
        collector = Collector(prometheus, plan, place.cohorts, order.release, place.stable)
        collector.check()
        journal = stack.enter_context(Journal.open(folder / "journal.sqlite", clock))
        if known is None:
            journal.append(
                "started",
                mode="observed",
                release=order.release,
                plan_name=plan.name,
                plan_file=str(order.plan),
                plan_text=text,
                plan_hash=plan_hash(text),
                judge_version=JUDGE_VERSION,
                cohorts=list(place.cohorts),
                salt="",
                share_query=order.share,
                **place.to_data(),
            )
        strata = judge_config(plan, tuple(place.cohorts)).strata
        evidence = FileEvidence(
            folder / "evidence.jsonl", Header(plan_hash(text), str(JUDGE_VERSION), strata=strata)
        )
        stack.callback(evidence.close)
        state = observed(journal.events())
        if state.polls:
            collector.restore(evidence.read(state.evidence_lines), state.evidence_end)
        share = _stated(prometheus, order.share) if order.share else None
        weights = _served(place.target, clock)
        outside = Outside(journal, collector, evidence, clock, Steady(terminal), stop, share, weights)
        grain = place.target.grain if place.target else None
        ladder = ladder_of(plan, tuple(place.cohorts), grain)
        yield Watcher(order.name, plan, ladder, outside), lambda: account(order.name, journal.events())


def _known(folder: Path, order: Order) -> Mapping[str, Any] | None:
    path = folder / "journal.sqlite"
    if not path.exists():
        return None
    with reading(path) as journal:
        state = observed(journal.events())
    if not state.started:
        return None
    if state.outcome:
        raise UsageError(f"the observation {order.name!r} is over", remedy="give the next one --name NAME")
    if state.release != order.release:
        raise UsageError(
            f"the observation {order.name!r} is of {state.release!r}, not {order.release!r}",
            remedy="give --name NAME",
        )
    if state.started["judge_version"] != JUDGE_VERSION:
        raise StateError("it began with another version of the judge", remedy="give --name NAME")
    return state.started


def place_of(plan: Plan, order: Order, stack_file: Path) -> Place:
    """Cohorts and Prometheus: of the plan's route or the stack, where there is one; else by release alone.

    Raises ConfigError: nothing says where Prometheus is; a gate counts by a proxy's cluster, none is known.
    Raises UsageError: the stack's arms run other releases than those that are asked about.
    """
    routed = plan.route.router != "stack"
    if routed or (plan.observation.prometheus == "stack" and stack_file.exists()):
        target = Target.of(plan, stack_file)
        if not routed:
            _check_arms(order, target)
        return Place(dict(target.cohorts), target.prometheus, order.stable or target.stable_release, target)
    if plan.observation.prometheus == "stack":
        raise ConfigError(
            "no stack stands here, and the plan does not say where Prometheus is",
            file=order.plan,
            expected="observation: {prometheus: http://...}",
        )
    if order.stable is None:
        raise UsageError("which release is stable?", remedy="give --stable, as the label {release} names it")
    for name, gate in plan.gates.items():
        metrics = metrics_of(gate)
        texts = (*metrics.total, *metrics.bad, *metrics.good, metrics.buckets, *metrics.lost)
        if any("{cluster}" in text for text in texts):
            raise ConfigError(
                f"gate {name!r} counts by the proxy's clusters, and the plan names no route",
                file=order.plan,
                expected="`metrics` with {release}, or a `route` with its cohorts and clusters",
            )
    if plan.observation.traffic.preset is not None:
        raise ConfigError(
            "traffic is counted by the proxy's clusters, and the plan names no route",
            file=order.plan,
            expected="observation: {traffic: {total: ['requests_total{release=\"{release}\"}']}}",
        )
    named = order.cohorts or tuple(sorted({c for s in plan.stages for c in s.weights} - {EVERYBODY}))
    empty = CohortArms(route="", stable="", candidate="")
    return Place(dict.fromkeys(named or (EVERYBODY,), empty), plan.observation.prometheus, order.stable)


def _check_arms(order: Order, target: Target) -> None:
    """What clusters count is said of the releases that run there, and of no others."""
    if order.stable is not None and order.stable != target.stable_release:
        raise UsageError(
            f"the stable arm runs {target.stable_release!r}, not {order.stable!r}",
            remedy="leave --stable out: the stack says which release is stable",
        )
    check_candidate(order.release, target)
    check_apart(order.release, target.stable_release)


def _served(target: Target | None, clock: Clock) -> Callable[[], Mapping[str, int] | None]:
    """Asks the proxies for the candidate's weights; None where one is silent, or they disagree."""
    if target is None:
        return lambda: None
    router = target.router(clock)

    def weights() -> Mapping[str, int] | None:
        served = [proxy.served for proxy in router.look().proxies]
        first = served[0] if served else None
        if first is None or any(each is None or not each.same_traffic(first) for each in served):
            return None
        return dict.fromkeys(first.weights, 0) if first.trial else first.weights

    return weights


def _stated(prometheus: Prometheus, expression: str) -> Callable[[], float]:
    def share() -> float:
        answer = prometheus.instant(expression)
        values = [] if isinstance(answer, NoData) else [each.samples[-1][1] for each in answer]
        return stated_share(values, expression)

    return share
