"""The A/A stage: is the chosen cohort comparable at all, before any candidate serves it?

One broken integration among the chosen customers fails three times as often for ever, without any release.
So the cohort first goes through its own route to the *stable* endpoints, and both directions are judged: a
cohort that is worse by itself would be rolled back for nothing, one that is better would hide harm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from huidu.model.evidence import Interval
from huidu.model.verdict import Decision, Verdict
from rollout.judge.gate import GateSpec, JudgeConfig

REVERSED = " reversed"
_COMPARED = ("error-ratio", "absolute-margin", "latency", "delay")


def compared_gates(config: JudgeConfig) -> tuple[GateSpec, ...]:
    """Those that can tell two groups apart."""
    return tuple(spec for spec in config.gates if spec.kind in _COMPARED and spec.role != "watch")


def both_ways(config: JudgeConfig) -> JudgeConfig:
    """The judge of the A/A stage: every gate that compares, in both directions."""
    gates = [
        dataclasses.replace(spec, name=name, role="rollback", promotion="none")
        for spec in compared_gates(config)
        for name in (spec.name, spec.name + REVERSED)
    ]
    return dataclasses.replace(config, gates=tuple(gates))


def reflected(config: JudgeConfig, intervals: Iterable[Interval]) -> list[Interval]:
    """The intervals of gates that compare, and each again with the arms exchanged."""
    names = {spec.name for spec in both_ways(config).gates}
    compared = [each for each in intervals if each.gate in names and each.baseline is not None]
    return [
        *compared,
        *(
            dataclasses.replace(each, gate=each.gate + REVERSED, canary=each.baseline, baseline=each.canary)
            for each in compared
            if each.baseline is not None
        ),
    ]


def difference(verdict: Verdict) -> str:
    """Why the cohort is not comparable, by the A/A stage's verdict; "" while nothing speaks against it."""
    if verdict.decision is not Decision.ROLLBACK or verdict.blamed is None:
        return ""
    better = verdict.blamed.endswith(REVERSED)
    what = "better" if better else "worse"
    gate = verdict.gates[verdict.blamed]
    return (
        f"cohort not comparable: with the stable release it is already {what} than the others "
        f"({verdict.blamed.removesuffix(REVERSED)}: {gate.sentence}); change the salt, or count customers"
    )
