"""The plan: how a release goes from nobody to everybody, what may stop it, and what is done then.

A YAML document, validated once; every complaint names file and line. Shares are parts of one (5 % is
0.05), durations are seconds. The numbers that ship stand in `plans/*.yaml`, with their source.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from huidu.foundation.document import Duration, Rate, Share
from huidu.foundation.errors import ConfigError
from rollout.judge.gate import ALPHA, BETA, ERROR_LIMIT, MAX_SHARE, GateSpec, JudgeConfig
from rollout.ladder import ALL, Ladder, Step
from rollout.plan.address import PrometheusAddress
from rollout.plan.deploy import Command, DataStep, Deploy, Prepared, SchemaChange
from rollout.plan.gates import Gate, Metrics, PlanPart, spec_of
from rollout.plan.people import Approval, Freeze, People, Told
from rollout.plan.route import Route, spelled_out

Compared = Literal["stable", "fresh", "everybody"]
"""Whom a gate compares the candidate with: the stable arm, a fresh process of the stable version alone, or
both (everybody who is not on the candidate)."""
FRESH = "the fresh baseline"


class StagePlan(PlanPart):
    """One stage: the candidate's weight per cohort (`all`: every cohort not named), kept for at least `bake`.

    A cohort that is not named keeps the weight it had. `approval`: who has to agree before it opens.
    """

    name: str = Field(min_length=1)
    weights: dict[str, Share] = Field(min_length=1)
    bake: Duration = Field(default=0.0, ge=0)
    approval: Approval | None = None


class Journey(PlanPart):
    """One HTTP request of the synthetic testers, and the status a good release answers it with."""

    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE"] = "GET"
    path: str = Field(pattern="^/")
    expect: int = Field(default=200, ge=100, le=599)
    body: dict[str, Any] | None = None
    headers: dict[str, str] = Field(default={})


class Entry(PlanPart):
    """Where testers come in, for a proxy of one's own: `url`, and for each arm the header that leads to it.

    Its value is read from `secret_file`. `candidate`, `stable`: the clusters that count the testers alone.
    `ca_file`: the authority (PEM) of the proxy's certificate, where not every machine trusts it anyway.
    """

    url: str = Field(pattern="^https?://")
    candidate_header: str
    stable_header: str
    secret_file: Path
    ca_file: Path | None = None
    candidate: str
    stable: str


class Synthetic(PlanPart):
    """Stage 0: before any customer, synthetic requests to both arms, `rate` a second to each.

    They are compared like any cohort. The first share opens when they bear it; nothing proved for `longest`
    is held. `timeout`: of one request. They end when the first customers come.
    """

    rate: Rate = Field(default=5.0, gt=0, le=100)
    longest: Duration = Field(default=600.0, gt=0)
    timeout: Duration = Field(default=5.0, gt=0)
    journeys: tuple[Journey, ...] = Field(min_length=1)
    entry: Entry | None = None


class Comparison(PlanPart):
    """The A/A stage: for `bake` the first customers go through clusters of their own to stable's endpoints.

    If they differ from the others already there, their cohort is not comparable, and no release is judged by
    it. Needs a `trial` cluster in every cohort of the first stage; the proxy's own counters are compared.
    """

    bake: Duration = Field(default=300.0, gt=0)


class Promotion(PlanPart):
    """What must be proved before more customers meet the candidate.

    A share w of all requests opens when every promoting gate has refuted an excess above its harm budget
    divided by w. `ramp` moves along the stages by at most `step_factor`; `fixed` stops at each of them.
    """

    rule: Literal["ramp", "fixed"] = "ramp"
    beta: Share = Field(default=BETA, gt=0, lt=1)
    harm_budget: Share = Field(default=ERROR_LIMIT, gt=0)
    widest_judged: Share = Field(default=MAX_SHARE, gt=0)
    step_factor: float = Field(default=3.0, gt=1)
    dwell: Duration = Field(default=10.0, ge=0)
    final_bake: Duration = Field(default=600.0, ge=0)


class Limits(PlanPart):
    """`longest_bake`: longest stay at one share without a proof, then hold. `blind`: longest time without
    evidence, then share 0; if evidence is back within `restart_within`, it starts again at stage 0 (0: it is
    over). `max_excluded`: above this part of excluded intervals it is not evidence.

    `unattended`: a guard stands in for a controller that was silent for longer: it gives everybody back
    (`safe: stable`), or leaves the share and tells people (`stay`).
    """

    longest_bake: Duration = Field(default=1800.0, gt=0)
    blind: Duration = Field(default=300.0, gt=0)
    restart_within: Duration = Field(default=3600.0, ge=0)
    max_excluded: Share = Field(default=0.5, gt=0)
    unattended: Duration = Field(default=900.0, ge=5)
    safe: Literal["stable", "stay"] = "stable"


class Observation(PlanPart):
    """How evidence is gathered: every `poll`; nothing of the first `warm_up` of the candidate, nothing of
    `settle` after a change of weights. `history`: how much of the time before the release is read for the
    dispersion of gates that state none (0: none, it is assumed)."""

    prometheus: PrometheusAddress = "stack"
    history: Duration = Field(default=1800.0, ge=0)
    poll: Duration = Field(default=5.0, ge=0.2)
    settle: Duration = Field(default=2.0, ge=0)
    warm_up: Duration = Field(default=30.0, ge=0)
    traffic: Metrics = Metrics(preset="envoy")
    exposed: str | None = None


class Rollback(PlanPart):
    """`alpha`: a release that is no worse is rolled back in at most this part of all rollouts. `steps`: data
    and schema steps, one after the other, when stable serves everybody and the release was not promoted.

    `insist`: how long proxies that do not take the way back are asked again, before people are called and the
    process ends held. `drain`: how long requests that the candidate still serves then (a chat) may go on;
    afterwards `close` is run, which must end them (it stops the candidate). 0: they are only counted.
    """

    alpha: Share = Field(default=ALPHA, gt=0, lt=1)
    steps: tuple[DataStep, ...] = ()
    insist: Duration = Field(default=3600.0, gt=0)
    drain: Duration = Field(default=30.0, ge=0)
    close: Command | None = None


class Plan(PlanPart):
    """A release plan.

    `baseline`: whom the candidate is compared with. `stable`: its customers. `fresh`: a process of the stable
    version that is as new as the candidate's and gets as many customers, so that cold caches do not look like
    a bad release; the others stay on stable.
    """

    name: str = "unnamed"
    route: Annotated[Route, BeforeValidator(spelled_out)] = Route()
    stages: tuple[StagePlan, ...] = ()
    gates: dict[str, Gate] = Field(min_length=1)
    baseline: Literal["stable", "fresh"] = "stable"
    synthetic: Synthetic | None = None
    comparison: Comparison | None = None
    promotion: Promotion = Promotion()
    rollback: Rollback = Rollback()
    limits: Limits = Limits()
    observation: Observation = Observation()
    deploy: Deploy = Deploy()
    schema_change: SchemaChange | None = Field(default=None, alias="schema")
    prepared: Prepared | None = None
    notify: tuple[Told, ...] = ()
    link: str = ""
    """What letters lead to, for example "http://127.0.0.1:8765/rollouts/{name}"."""
    guard: Literal["required", "optional"] = "optional"
    """`required`: nothing widens while no guard watches the controller."""
    people: People = People()
    freeze: Freeze = Freeze()


TESTERS = "testers"
"""The stratum of the synthetic requests."""


def ladder_of(plan: Plan, cohorts: tuple[str, ...], grain: int | None = None) -> Ladder:
    """The stages as weights of `cohorts`, as fine as the route is (`grain`: where the plan does not say it).

    Raises ConfigError for a cohort the route does not have, and for a stage finer than the route.
    """
    grain = plan.route.grain if grain is None else grain
    for stage in plan.stages:
        for cohort in stage.weights:
            if cohort not in (*cohorts, ALL):
                raise ConfigError(
                    f"stage {stage.name!r}: the route has no cohort {cohort!r}",
                    expected=f"one of {', '.join(cohorts)}, or {ALL}",
                )
    steps = [Step(stage.name, stage.weights, stage.bake) for stage in plan.stages]
    ladder = Ladder.of(steps, cohorts, grain)
    for corner in ladder.corners:
        for cohort, weight in corner.weights.items():
            if weight % grain:
                share = f"{weight / 100:g} % of {cohort!r}"
                raise ConfigError(
                    f"stage {corner.name!r}: {share} is no whole percent, and there are a hundred buckets",
                    expected="whole percents, or a route by weights",
                )
    return ladder


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


def compared_with(plan: Plan, gate: Gate) -> Compared:
    """Whom `gate` compares the candidate with. The fate that is shared is everybody's.

    Metrics that only know releases cannot tell a fresh baseline from the rest of stable: they are compared
    with all of stable.
    """
    if plan.baseline == "stable":
        return "stable"
    return "fresh" if gate.kind != "service" and all(gate.metrics.tells_arms) else "everybody"


def gate_spec(name: str, gate: Gate, plan: Plan) -> GateSpec:
    """A gate as the judge knows it. Raises ConfigError."""
    baseline = FRESH if compared_with(plan, gate) == "fresh" else "stable"
    return spec_of(name, gate, plan.promotion.harm_budget, plan.limits.longest_bake, baseline)
