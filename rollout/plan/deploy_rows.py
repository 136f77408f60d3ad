"""The part of a plan that is about more than traffic, as rows for a person."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.plan.model import Plan

DAY = 86400.0


def beyond_traffic(plan: Plan) -> list[tuple[str, str]]:
    """(what, how), in the order in which it happens; what the plan does not have is left out."""
    return [*_before(plan), *_after(plan)]


def _before(plan: Plan) -> Iterator[tuple[str, str]]:
    deploy, change = plan.deploy, plan.schema_change
    if plan.prepared is not None:
        names = ", ".join(plan.prepared.runbooks)
        yield "starts only if rehearsed", f"{names}: run well within {plan.prepared.within / DAY:g} days"
    if change is not None:
        yield "schema, before stage 0", _command(change.expand.run, change.expand.timeout)
    if deploy.start is not None:
        text = _command(deploy.start.run, deploy.start.timeout)
        yield "start the candidate with", f"{text}, unless the stack runs it already"
    if deploy.scale is not None:
        yield "scale it, before each step", _command(deploy.scale.run, deploy.scale.timeout)
    capacity = deploy.capacity
    if capacity is not None:
        whole = capacity.peak * (1 + capacity.head_room)
        yield (
            "a step waits for",
            f"share x {whole:g}/s ready ({capacity.peak:g}/s peak and {capacity.head_room:.0%}), for at most "
            f"{capacity.longest:g} s, then hold: {capacity.per_replica:g}/s each of {capacity.ready}",
        )


def _after(plan: Plan) -> Iterator[tuple[str, str]]:
    deploy, change = plan.deploy, plan.schema_change
    if plan.rollback.close is not None:
        text = _command(plan.rollback.close.run, plan.rollback.close.timeout)
        yield f"open on it {plan.rollback.drain:g} s after a way back", f"ended by {text}"
    for number, step in enumerate(plan.rollback.steps, start=1):
        undo = f"; undo: {' '.join(step.undo)}" if step.undo else "; nothing takes it back"
        text = f"{step.name}: {' '.join(step.run)}; verify: {' '.join(step.verify)}{undo}"
        yield f"back on stable, step {number}", text
    if deploy.stop is not None:
        yield "stop the candidate with", _command(deploy.stop.run, deploy.stop.timeout)
    if change is not None and change.contract is not None:
        text = _command(change.contract.run, change.contract.timeout)
        yield f"schema, {change.wait / DAY:g} days after promotion", text


def _command(run: tuple[str, ...], timeout: float) -> str:
    return f"{' '.join(run)} (at most {timeout:g} s)"
