"""Facts and checks -> one self-contained HTML page and the same facts as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from runbooks.report.charts import Plot, number, seconds
from runbooks.report.drawing import Drawing, draw
from runbooks.report.facts import Facts, GatePoint, Rollout
from runbooks.report.figures import (
    evidence_over_time,
    exposed_over_time,
    gate_names,
    offered_and_done,
    percentile_curve,
    share_over_time,
    turning_points,
)
from runbooks.report.judge import Check, Expectations, Wanted, gate_zh, outcome_zh, standing_zh

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class GateRow:
    """One gate of a rollout at the poll that matters: the decisive one, else the last that saw it."""

    name: str
    name_zh: str
    point: GatePoint
    blamed: bool
    colour: int


@dataclass(frozen=True, slots=True)
class Card:
    """One rollout as the page shows it; `rollout` is None where there is no report of it."""

    wanted: Wanted
    check: Check
    rollout: Rollout | None
    share: Plot | None = None
    evidence: Plot | None = None
    exposed: Plot | None = None
    gates: tuple[GateRow, ...] = ()
    decisions: tuple[Any, ...] = ()


def to_json(facts: Facts, checks: tuple[Check, ...], wanted: Expectations, run: str) -> str:
    """go-live.json: the numbers are those of the inputs, unrounded."""
    ok = {check.subject: check.ok for check in checks}
    load = None if facts.load is None else facts.load.model_dump(exclude={"curve", "bins"})
    document = {
        "proved": all(ok.values()),
        "run": run,
        "checks": [{"subject": c.subject, "ok": c.ok, "text": c.text.en} for c in checks],
        "stack": None if facts.stack is None else _stack_json(facts),
        "load": load,
        "rollouts": [
            _rollout_json(each, facts.rollouts[each.name], ok[each.name])
            for each in wanted.rollouts
            if each.name in facts.rollouts
        ],
        "missing": facts.missing,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _stack_json(facts: Facts) -> dict[str, Any]:
    assert facts.stack is not None
    return {
        "name": facts.stack.name,
        "target": facts.stack.target,
        "releases": facts.stack.releases.model_dump(),
        "components": [
            c.model_dump(include={"name", "zone", "kind", "version"}) for c in facts.stack.components
        ],
    }


def _rollout_json(wanted: Wanted, rollout: Rollout, as_expected: bool) -> dict[str, Any]:
    return {
        "name": wanted.name,
        "rollout": rollout.name,
        "release": rollout.release,
        "stable_release": rollout.stable_release,
        "outcome": rollout.outcome,
        "expected_outcome": wanted.outcome,
        "as_expected": as_expected,
        "blamed_gate": rollout.blamed_gate,
        "seconds_from_start": rollout.seconds_from_start,
        "seconds_from_first_bad_request": rollout.seconds_from_first_bad_request,
        "exposed_customers": rollout.exposed_customers,
        "requests_canary": rollout.requests_canary,
        "requests_synthetic": rollout.requests_synthetic,
        "customers_warning": rollout.customers_warning,
        "schema": [each.model_dump() for each in rollout.schema_steps],
        "emergencies": [each.model_dump() for each in rollout.emergencies],
        "sentence": rollout.sentence,
    }


def to_html(facts: Facts, checks: tuple[Check, ...], wanted: Expectations, run: str, made: str) -> str:
    """The page. `made`: when, as a person writes it."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, seconds=seconds, outcome_zh=outcome_zh, gate_zh=gate_zh, standing_zh=standing_zh
    )
    by_subject = {check.subject: check for check in checks}
    drawings: tuple[Drawing, ...] = ()
    if facts.stack is not None and facts.stack.components:
        drawings = (draw(facts.stack), draw(facts.stack, narrow=True))
    return environment.get_template("go-live.html.j2").render(
        proved=all(check.ok for check in checks),
        checks=checks,
        by_subject=by_subject,
        facts=facts,
        stack=facts.stack,
        drawings=drawings,
        load=facts.load,
        limit_ms=wanted.p95_below_ms,
        curve=facts.load and percentile_curve(facts.load, wanted.p95_below_ms),
        bins=facts.load and offered_and_done(facts.load.bins),
        cards=[_card(each, by_subject[each.name], facts.rollouts.get(each.name)) for each in wanted.rollouts],
        run=run,
        made=made,
        css=Markup((_HERE / "templates" / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "templates" / "page.js").read_text(encoding="utf-8")),
    )


def _card(wanted: Wanted, check: Check, rollout: Rollout | None) -> Card:
    if rollout is None or not rollout.timeline:
        return Card(wanted, check, rollout)
    return Card(
        wanted,
        check,
        rollout,
        share_over_time(rollout),
        evidence_over_time(rollout),
        exposed_over_time(rollout),
        _gate_rows(rollout),
        turning_points(rollout.timeline),
    )


def _gate_rows(rollout: Rollout) -> tuple[GateRow, ...]:
    rows = []
    for index, name in enumerate(gate_names(rollout)):
        points = [poll.gates[name] for poll in rollout.timeline if name in poll.gates]
        blamed = name == rollout.blamed_gate
        known = [point for point in points if point.log_e is not None]
        point = max(known, key=lambda each: each.log_e or 0.0) if blamed and known else points[-1]
        rows.append(GateRow(name, gate_zh(name), point, blamed, index % 6))
    return tuple(sorted(rows, key=lambda row: not row.blamed))
