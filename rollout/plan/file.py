"""Plans as files: found, read, and refused with file and line where their parts do not fit each other."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from huidu.foundation.document import line_in, parse_document
from huidu.foundation.errors import ConfigError
from rollout.judge.gate import ERROR_LIMIT
from rollout.ladder import ALL
from rollout.plan.deploy_check import deploy_problems
from rollout.plan.gates import Gate
from rollout.plan.model import Plan, gate_spec
from rollout.plan.route_check import route_problems

PLANS = Path(__file__).parents[1] / "plans"


def load_plan(path: Path) -> Plan:
    """The plan at `path`, or one that ships (`production`, `fixed`, `demo`). Raises ConfigError."""
    path = found_plan(path)
    shipped = ", ".join(sorted(each.stem for each in PLANS.glob("*.yaml")))
    try:
        return parse_plan(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise ConfigError(
            error.strerror or "cannot be read",
            file=path,
            remedy=f"give a file, or a plan that ships: {shipped}",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=path) from None


def found_plan(path: Path) -> Path:
    """A file, or a plan that ships by its bare name."""
    shipped = PLANS / f"{path}.yaml"
    return shipped if not path.exists() and len(path.parts) == 1 and shipped.exists() else path


def plan_text(path: Path) -> str:
    """The text of the plan that `load_plan` would load."""
    return found_plan(path).read_text(encoding="utf-8")


def parse_plan(text: str, path: Path | str) -> Plan:
    """As `load_plan`, from text; `path` is only named in errors."""
    return parse_document(text, _CheckedPlan, path)


def plan_hash(text: str) -> str:
    """What the journal remembers a plan's text by."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _CheckedPlan(Plan):
    """A plan whose parts also fit each other. Problems are reported at the key that has them."""

    def model_post_init(self, context: Any) -> None:
        if (shared := _shared_fate(self)) is not None:
            self.gates["service"] = shared
        problems = [
            *(_cohort_problems(self, self.route.cohorts) if self.route.cohorts else ()),
            *_stage_problems(self),
            *_gate_problems(self),
            *route_problems(self),
            *_people_problems(self),
            *deploy_problems(self),
        ]
        if problems:
            raise ValidationError.from_exception_data(
                "plan",
                [
                    InitErrorDetails(
                        type=PydanticCustomError("plan", "{text}", {"text": text}), loc=loc, input=None
                    )
                    for loc, text in problems
                ],
            )


def _shared_fate(plan: Plan) -> Gate | None:
    """The gate about the whole service, which every rollout has that can tell errors: no comparison sees a
    candidate that takes stable down with it. It counts what the plan's own gate about errors counts. A plan
    that names a gate of this kind, if only to watch, has said what it wants."""
    told = [gate for gate in plan.gates.values() if gate.kind in ("error-ratio", "absolute-margin", "slo")]
    if not plan.stages or not told or any(gate.kind == "service" for gate in plan.gates.values()):
        return None
    if "service" in plan.gates:
        return None
    floor = max((gate.floor for gate in told if gate.floor is not None), default=ERROR_LIMIT)
    return Gate(kind="service", floor=max(floor, ERROR_LIMIT), metrics=told[0].metrics)


_Problem = tuple[tuple[str | int, ...], str]


def _stage_problems(plan: Plan) -> list[_Problem]:
    problems: list[_Problem] = []
    held = {ALL: 0.0}
    for number, stage in enumerate(plan.stages):
        here = ("stages", number)
        if any(stage.name == earlier.name for earlier in plan.stages[:number]):
            problems.append(((*here, "name"), f"two stages are named {stage.name!r}"))
        before = {cohort: held.get(cohort, held[ALL]) for cohort in {*held, *stage.weights}}
        held = dict.fromkeys(before, stage.weights[ALL]) if ALL in stage.weights else before
        held = held | stage.weights
        shrunk = [cohort for cohort in before if held[cohort] < before[cohort]]
        for cohort in shrunk:
            key = cohort if cohort in stage.weights else ALL
            text = (
                f"stage {stage.name!r} shrinks {cohort!r} from {before[cohort]:.4g} to {held[cohort]:.4g}: "
                "expected stages that only grow; going back is what a rollback does"
            )
            problems.append(((*here, "weights", key), text))
        if held == before:
            problems.append(((*here, "weights"), f"stage {stage.name!r} sends nobody more to the candidate"))
    everybody = {cohort: share for cohort, share in held.items() if cohort != ALL or held[ALL] > 0}
    if plan.stages and any(share < 1 for share in everybody.values()):
        text = "the last stage must give the candidate 100 % of every cohort"
        problems.append((("stages", len(plan.stages) - 1, "weights"), text))
    return problems


def check_cohorts(plan: Plan, path: Path, cohorts: Collection[str]) -> None:
    """That the stages of the plan at `path` name only `cohorts`. Raises ConfigError with file and line."""
    for loc, text in _cohort_problems(plan, cohorts):
        path = found_plan(path)
        line = line_in(path.read_text(encoding="utf-8"), loc)
        raise ConfigError(f"{'.'.join(map(str, loc))}: {text}", file=path, line=line)


def _cohort_problems(plan: Plan, cohorts: Collection[str]) -> Iterator[_Problem]:
    for number, stage in enumerate(plan.stages):
        for cohort in stage.weights:
            if cohort not in (*cohorts, ALL):
                near = difflib.get_close_matches(cohort, cohorts, 1)
                meant = f"did you mean {near[0]!r}? " if near else ""
                text = f"{meant}expected one of {', '.join(cohorts)}, or {ALL}"
                yield ("stages", number, "weights", cohort), f"the route has no cohort {cohort!r}: {text}"


def _gate_problems(plan: Plan) -> list[_Problem]:
    problems: list[_Problem] = []
    for name, gate in plan.gates.items():
        metrics = gate.metrics
        if (metrics.value or metrics.rise or metrics.per) and gate.kind != "gauge":
            text = f"`value`, `rise` and `per` are for gauges, not for a gate of kind {gate.kind}"
            problems.append((("gates", name, "metrics"), text))
        if gate.kind == "gauge" and (metrics.total or metrics.buckets or (metrics.value and metrics.rise)):
            text = "a gauge is read from `value`, or from the `rise` of counters"
            problems.append((("gates", name, "metrics"), text))
        needed = _BOUNDS[gate.kind]
        if all(getattr(gate, field) is None for field in needed):
            problems.append((("gates", name), f"a gate without a bound: expected {_EXAMPLES[gate.kind]}"))
            continue
        try:
            gate_spec(name, gate, plan)
        except ConfigError as error:
            problems.append((("gates", name), f"{error.what}: expected {error.expected}"))
    return problems


_BOUNDS: Mapping[str, tuple[str, ...]] = {
    "error-ratio": ("tolerated_ratio", "floor"),
    "absolute-margin": ("margin",),
    "slo": ("floor",),
    "service": ("floor",),
    "latency": ("limit",),
    "delay": ("limit",),
    "conversion": ("tolerated_ratio",),
    "gauge": ("limit",),
}
_EXAMPLES: Mapping[str, str] = {
    "error-ratio": "floor: 0.1 %, or tolerated_ratio: 1.5 (implementation guides: error rate < 0.1 %)",
    "absolute-margin": "margin: 0.1 %",
    "slo": "floor: 0.1 % (implementation guides: error rate < 0.1 %)",
    "service": "floor: 0.1 % (implementation guides: error rate < 0.1 %)",
    "latency": "limit: 500ms (implementation guides: API response < 500 ms)",
    "delay": "limit: 30s (implementation guides: data synchronisation delay < 30 s)",
    "conversion": "tolerated_ratio: 0.9 (the part of the conversion that must remain)",
    "gauge": "limit: 0.8 (in the gauge's own unit)",
}


def _people_problems(plan: Plan) -> list[_Problem]:
    problems: list[_Problem] = []
    known = plan.people.roles
    asked = [(("people", "may", act), roles) for act, roles in plan.people.may.items()]
    for number, stage in enumerate(plan.stages):
        if stage.approval is None:
            continue
        here = ("stages", number, "approval")
        asked.append(((*here, "roles"), stage.approval.roles))  # type: ignore[arg-type]
        names = {name for role in stage.approval.roles for name in known.get(role, ())}
        if stage.approval.roles and len(names) < stage.approval.needed:
            text = f"{stage.approval.needed} people are needed, and these roles have {len(names)}"
            problems.append(((*here, "needed"), text))
    problems += [
        (loc, f"no role {role!r}: expected one of people.roles ({', '.join(known) or 'none'})")
        for loc, roles in asked
        for role in roles
        if role not in known
    ]
    problems += [
        (("notify", number), "expected either an address (`to`) or a file that holds it (`file`)")
        for number, address in enumerate(plan.notify)
        if bool(address.to) == bool(address.file)
    ]
    return problems
