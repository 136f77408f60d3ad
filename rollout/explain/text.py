"""The account for a terminal, and for pipelines. Pure."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import asdict
from typing import Any

from rollout.evidence_file import format_time
from rollout.explain.account import Account, GateAccount
from rollout.failing import Failing
from rollout.failing.told import customers_said, warning
from rollout.judge.explain import percent, rate

ASKED = 2
"""Queries shown on a terminal; page and JSON have them all."""


def lines(told: Account) -> list[str]:
    """For a terminal."""
    at = time.strftime("%H:%M:%S", time.localtime(told.decided))
    said = [f"{told.name}: {told.outcome}", f"  {told.sentence}", f"  as of the look at {at}"]
    said += [f"  note: {remark}" for remark in (*told.remarks, warning(told.failing)) if remark]
    for gate in told.gates:
        said += ["", *_gate_lines(gate, told.max_excluded)]
    return [*said, "", *_failing_lines(told.failing)]


def _gate_lines(gate: GateAccount, max_excluded: float) -> list[str]:
    mark = "reached its bound" if gate.crossed is not None else "below its bound"
    said = [
        f"{gate.name} ({gate.kind}, {gate.role}): E = {size(gate.log_e)} of {size(gate.bound)}, {mark}"
        f"{f' after {gate.crossed:.0f} s' if gate.crossed is not None else ''}",
        f"  candidate  {gate.canary.said}",
        f"  {'stable' if gate.against == 'stable' else 'baseline':<10} {gate.baseline.said}",
    ]
    if gate.stratum:
        said.append(f"  the group that spoke: {gate.stratum}")
    if len(gate.groups) > 1:
        said += [
            f"  {each.stratum:<10} {rate(each.canary)} against {rate(each.baseline)}" for each in gate.groups
        ]
    said.append(f"  {worth_of(gate)}")
    left = ", ".join(f"{count} {why}" for why, count in gate.excluded.items())
    said.append(f"  intervals  {gate.intervals}" + (f", left out: {left}" if left else ", none left out"))
    if gate.excluded_share > 0:
        limit = f"(above {percent(max_excluded)} it is not evidence)"
        said.append(f"             {percent(gate.excluded_share)} of those since the last step {limit}")
    said.append(f"  dispersion {gate.dispersion:g} ({gate.dispersion_from})")
    said += [f"  asked      {query}" for query in gate.queries[:ASKED]]
    if len(gate.queries) > ASKED:
        said.append(f"             and {len(gate.queries) - ASKED} more, for other arms and cohorts")
    return said


def _failing_lines(failing: Failing | None) -> list[str]:
    if failing is None:
        return ["customers and failed requests: not kept beside this evidence"]
    said = ["customers, since the processes began", *(f"  {each}" for each in customers_said(failing))]
    if failing.requests_unknown:
        return [*said, f"failed requests of the candidate are not known: {failing.requests_unknown}"]
    said.append(f"failed requests of the candidate: {failing.count} in the proxy's log")
    said += [
        f"  {each.count:>5} {each.method} {each.path} {status_said(each.status)}" for each in failing.shapes
    ]
    if failing.count > len(failing.requests):
        said.append(f"  {len(failing.requests)} of them, spread over the time:")
    said += [
        f"  {format_time(each.t)[:19]}Z {each.id} {each.method} {each.path} {status_said(each.status)}"
        f"{f' {each.flags}' if each.flags else ''} {each.cluster}".rstrip()
        for each in failing.requests
    ]
    return said


def status_said(status: int) -> str:
    """The status, or that there was none."""
    return str(status) if status else "no answer"


def worth_of(gate: GateAccount) -> str:
    """What its evidence is worth, as a clause."""
    return gate.sentence.partition("; ")[2] or gate.sentence


def size(log_e: float) -> str:
    """E itself: "1,424", "0.03", "10^12"."""
    if log_e > math.log(1e6):
        return f"10^{log_e / math.log(10):.0f}"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def as_json(told: Account) -> dict[str, Any]:
    """For pipelines."""
    raw = asdict(dataclasses.replace(told, specs={}, failing=None))
    del raw["specs"]
    raw["failing"] = told.failing.model_dump(mode="json") if told.failing else None
    raw["warning"] = warning(told.failing)
    raw["began"], raw["decided"] = format_time(told.began), format_time(told.decided)
    for gate, plain in zip(told.gates, raw["gates"], strict=True):
        plain["worth"] = worth_of(gate)
    return {"version": 1, **raw}
