"""The plan: how a release goes from nobody to everybody, what may stop it, and what is done then.

A YAML document, validated once; every complaint names file and line. Shares are parts of one (5 % is
0.05), durations are seconds. The numbers that ship stand in `plans/*.yaml`, with their source.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from huidu.foundation.document import Duration, Rate, Share
from huidu.foundation.errors import ConfigError
from rollout.judge.gate import ALPHA, BETA, ERROR_LIMIT, MAX_SHARE, GateSpec, JudgeConfig, Role
from rollout.ladder import ALL, Ladder, Step


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CohortArms(_Part):
    """One cohort: the proxy's route that selects it and the cluster of each arm.

    `trial`: a cluster of stable's endpoints for the customers who are chosen first (the A/A stage).
    `stable_parts`: further clusters of stable's endpoints, which share its customers evenly with it: what
    they differ by is how clumped requests are. `fresh`: the cluster of a process of the stable version that
    is as new as the candidate's, last in the weighted list (`baseline: fresh`).
    """

    route: str
    stable: str
    candidate: str
    trial: str = ""
    stable_parts: tuple[str, ...] = ()
    fresh: str = ""

    @property
    def baseline(self) -> tuple[str, ...]:
        """Every cluster of the stable arm."""
        return (self.stable, *self.stable_parts)


class Proxy(_Part):
    """One Envoy: the route file it watches, its admin address."""

    file: Path
    admin: str


def _route(value: Any) -> Any:
    return {"router": value} if isinstance(value, str) else value


class Route(_Part):
    """Whose weights the rollout moves: `stack` takes everything from the provisioned stack's `stack.json`."""

    router: Literal["stack", "envoy"] = "stack"
    proxies: tuple[Proxy, ...] = ()
    route_config: str = ""
    cohorts: dict[str, CohortArms] = Field(default={})
    confirm_within: Duration = 10.0


class StagePlan(_Part):
    """One stage: the candidate's weight per cohort (`all`: every cohort not named), kept for at least `bake`.

    A cohort that is not named keeps the weight it had.
    """

    name: str = Field(min_length=1)
    weights: dict[str, Share] = Field(min_length=1)
    bake: Duration = Field(default=0.0, ge=0)


class Metrics(_Part):
    """Where a gate's counts come from: selectors of raw counters, never rate() or increase().

    Placeholders: {cluster} (the proxy's cluster of arm and cohort), {release} (the arm's version),
    {tier} and {cohort} (the cohort's name), {limit} (the gate's limit in seconds), {limit_ms}.
    `total` and `bad` (or `good`: those that are not bad) are sums of counters. `buckets` is a classic
    histogram in `unit`; `lost` counts requests that never enter it (timeouts, resets) and are slower than
    any edge.
    """

    preset: Literal["envoy"] | None = None
    total: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    good: tuple[str, ...] = ()
    buckets: str = ""
    lost: tuple[str, ...] = ()
    unit: Literal["s", "ms"] = "s"


GateKind = Literal["error-ratio", "absolute-margin", "slo", "latency", "delay", "conversion", "service"]


class Gate(_Part):
    """One gate. Its bound must be stated; what else is left out takes the default of its kind.

    `tolerated_ratio`: how much worse than stable the candidate may be. `floor`: the error rate that must
    be exceeded as well. `limit` and `quantile`: at most 1 - quantile may take longer than the limit.
    """

    kind: GateKind
    role: Role = "rollback"
    tolerated_ratio: float | None = Field(default=None, gt=0)
    floor: Share | None = None
    margin: Share | None = None
    limit: Duration | None = Field(default=None, gt=0)
    quantile: Share | None = None
    dispersion: float | None = Field(default=None, ge=1)
    late_onset: bool = True
    weight: float = Field(default=1.0, gt=0)
    harm_budget: Share | None = None
    promotion: Literal["harm", "ratio", "none"] | None = None
    promotion_ratio: float | None = Field(default=None, gt=1)
    edges: tuple[Duration, ...] = ()
    metrics: Metrics = Metrics()


class Journey(_Part):
    """One HTTP request of the synthetic testers, and the status a good release answers it with."""

    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE"] = "GET"
    path: str = Field(pattern="^/")
    expect: int = Field(default=200, ge=100, le=599)
    body: dict[str, Any] | None = None
    headers: dict[str, str] = Field(default={})


class Entry(_Part):
    """Where testers come in, for a proxy of one's own: `url`, and for each arm the header that leads to it.

    Its value is read from `secret_file`. `candidate`, `stable`: the clusters that count the testers alone.
    """

    url: str = Field(pattern="^https?://")
    candidate_header: str
    stable_header: str
    secret_file: Path
    candidate: str
    stable: str


class Synthetic(_Part):
    """Stage 0: before any customer, synthetic requests to both arms, `rate` a second to each.

    They are compared like any cohort. The first share opens when they bear it; nothing proved for `longest`
    is held. `timeout`: of one request. They end when the first customers come.
    """

    rate: Rate = Field(default=5.0, gt=0, le=100)
    longest: Duration = Field(default=600.0, gt=0)
    timeout: Duration = Field(default=5.0, gt=0)
    journeys: tuple[Journey, ...] = Field(min_length=1)
    entry: Entry | None = None


class Comparison(_Part):
    """The A/A stage: for `bake` the first customers go through clusters of their own to stable's endpoints.

    If they differ from the others already there, their cohort is not comparable, and no release is judged by
    it. Needs a `trial` cluster in every cohort of the first stage; the proxy's own counters are compared.
    """

    bake: Duration = Field(default=300.0, gt=0)


class Promotion(_Part):
    """What must be proved before more customers meet the candidate.

    A share w of all requests opens when every promoting gate has refuted an excess above its harm budget
    divided by w. `ramp` moves along the stages by at most `step_factor`; `fixed` stops at each of them.
    """

    rule: Literal["ramp", "fixed"] = "ramp"
    beta: Share = BETA
    harm_budget: Share = ERROR_LIMIT
    widest_judged: Share = MAX_SHARE
    step_factor: float = Field(default=3.0, gt=1)
    dwell: Duration = Field(default=10.0, ge=0)
    final_bake: Duration = Field(default=600.0, ge=0)


class Rollback(_Part):
    """`alpha`: a release that is no worse is rolled back in at most this part of all rollouts."""

    alpha: Share = ALPHA


class Limits(_Part):
    """`longest_bake`: longest stay at one share without a proof, then hold. `blind`: longest time without
    evidence, then share 0. `max_excluded`: above this part of excluded intervals it is not evidence."""

    longest_bake: Duration = Field(default=1800.0, gt=0)
    blind: Duration = Field(default=300.0, gt=0)
    max_excluded: Share = 0.5


class Observation(_Part):
    """How evidence is gathered: every `poll`; nothing of the first `warm_up` of the candidate, nothing of
    `settle` after a change of weights. `history`: how much of the time before the release is read for the
    dispersion of gates that state none (0: none, it is assumed)."""

    prometheus: str = "stack"
    history: Duration = Field(default=1800.0, ge=0)
    poll: Duration = Field(default=5.0, ge=0.2)
    settle: Duration = Field(default=2.0, ge=0)
    warm_up: Duration = Field(default=30.0, ge=0)
    traffic: Metrics = Metrics(preset="envoy")
    exposed: str | None = None


class Command(_Part):
    """A command (a list, no shell) with its time limit; it must do no harm when it is run twice."""

    run: tuple[str, ...] = Field(min_length=1)
    timeout: Duration = Field(default=600.0, gt=0)


class Deploy(_Part):
    """`promote`: makes the stable arm the candidate's version while the candidate serves everybody;
    afterwards traffic returns to stable. Left out: the candidate keeps all traffic."""

    promote: Command | None = None


class Plan(_Part):
    """A release plan."""

    name: str = "unnamed"
    route: Annotated[Route, BeforeValidator(_route)] = Route()
    stages: tuple[StagePlan, ...] = ()
    gates: dict[str, Gate] = Field(min_length=1)
    synthetic: Synthetic | None = None
    comparison: Comparison | None = None
    promotion: Promotion = Promotion()
    rollback: Rollback = Rollback()
    limits: Limits = Limits()
    observation: Observation = Observation()
    deploy: Deploy = Deploy()
    notify: tuple[str, ...] = ()


TESTERS = "testers"
"""The stratum of the synthetic requests."""


def ladder_of(plan: Plan, cohorts: tuple[str, ...]) -> Ladder:
    """The stages as weights of `cohorts`. Raises ConfigError for a cohort the route does not have."""
    for stage in plan.stages:
        for cohort in stage.weights:
            if cohort not in (*cohorts, ALL):
                raise ConfigError(
                    f"stage {stage.name!r}: the route has no cohort {cohort!r}",
                    expected=f"one of {', '.join(cohorts)}, or {ALL}",
                )
    return Ladder.of([Step(stage.name, stage.weights, stage.bake) for stage in plan.stages], cohorts)


def judge_config(plan: Plan, cohorts: tuple[str, ...], shares: tuple[float, ...] = ()) -> JudgeConfig:
    """The judge's side of the plan; `shares`: of all requests, those the stages will ask for."""
    return JudgeConfig(
        gates=tuple(gate_spec(name, gate, plan) for name, gate in plan.gates.items()),
        strata=(*cohorts, TESTERS) if plan.synthetic else cohorts or ("",),
        alpha=plan.rollback.alpha,
        beta=plan.promotion.beta,
        max_share=plan.promotion.widest_judged,
        shares=shares,
        max_excluded=plan.limits.max_excluded,
        # The judge says "not evidence" well before the controller takes the release back for it.
        blind_after=min(60.0, plan.limits.blind / 2),
    )


def gate_spec(name: str, gate: Gate, plan: Plan) -> GateSpec:
    """A gate as the judge knows it. Raises ConfigError."""
    stated: dict[str, Any] = {
        field: value
        for field in ("margin", "quantile", "promotion_ratio", "harm_budget")
        if (value := getattr(gate, field)) is not None
    }
    if gate.kind in ("error-ratio", "absolute-margin", "slo"):
        stated.setdefault("harm_budget", plan.promotion.harm_budget)
    return GateSpec(
        name=name,
        kind=gate.kind,
        role=gate.role,
        tolerated_ratio=gate.tolerated_ratio,
        floor=gate.floor,
        limit=gate.limit,
        dispersion=gate.dispersion,
        late_onset=gate.late_onset,
        longest_bake=plan.limits.longest_bake,
        weight=gate.weight,
        promotion=gate.promotion,
        edges=gate.edges,
        **stated,
    )
