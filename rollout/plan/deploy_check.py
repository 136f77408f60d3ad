"""What does not fit in the part of a plan that is about more than traffic."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollout.plan.model import Plan

_Problem = tuple[tuple[str | int, ...], str]
KNOWN = ("release", "rollout")
SCALING = (*KNOWN, "share", "percent")
ALONE = ("release",)


def deploy_problems(plan: Plan) -> list[_Problem]:
    """Every problem with the key that has it."""
    problems: list[_Problem] = []
    for loc, parts, known in commands(plan):
        for number, part in enumerate(parts):
            unknown = [name for name in re.findall(r"\{([a-z_]+)\}", part) if name not in known]
            if unknown:
                text = f"nothing stands for {{{unknown[0]}}} here: expected {', '.join(known)}"
                problems.append(((*loc, number), text))
    scale = plan.deploy.scale
    if scale is not None and not any(name in part for part in scale.run for name in ("{share}", "{percent}")):
        text = "scaled to what? expected {share} or {percent} in an argument"
        problems.append((("deploy", "scale", "run"), text))
    names = [step.name for step in plan.rollback.steps]
    problems += [
        (("rollback", "steps", number, "name"), f"two steps are named {name!r}")
        for number, name in enumerate(names)
        if name in names[:number]
    ]
    change = plan.schema_change
    if change is not None and change.contract is None and "wait" in change.model_fields_set:
        problems.append((("schema", "wait"), "`wait` is what passes before `contract`: expected a contract"))
    return problems


def commands(plan: Plan) -> Iterator[tuple[tuple[str | int, ...], tuple[str, ...], tuple[str, ...]]]:
    """Every command: the key that has it, its words, and the placeholders that it may name."""
    deploy, change = plan.deploy, plan.schema_change
    expand, contract = (change.expand, change.contract) if change is not None else (None, None)
    found = (
        ("deploy", "start", deploy.start, KNOWN),
        ("deploy", "scale", deploy.scale, SCALING),
        ("deploy", "promote", deploy.promote, ALONE),
        ("deploy", "stop", deploy.stop, KNOWN),
        ("rollback", "close", plan.rollback.close, KNOWN),
        ("schema", "expand", expand, KNOWN),
        ("schema", "contract", contract, KNOWN),
    )
    for part, name, command, known in found:
        if command is not None:
            yield (part, name, "run"), command.run, known
    for number, step in enumerate(plan.rollback.steps):
        for part in ("run", "verify", "undo"):
            yield ("rollback", "steps", number, part), getattr(step, part), KNOWN
