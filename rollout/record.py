"""`report.json`: what happened in a rollout, told from its journal. Pure: events in, plain data out."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterable, Mapping
from typing import Any

from huidu.foundation.journal import Event
from rollout.around import letters_told, plan_of, schema_steps
from rollout.controller.fold import Purpose, fold
from rollout.dispersed import journaled

Json = dict[str, Any]


def report(name: str, events: Iterable[Event]) -> Json:
    """The report of the rollout `name`; `outcome` is "running" while it is neither over nor resting."""
    events = list(events)
    state = fold(events)
    started, plan = state.started, plan_of(state)
    end = state.ended_at or (events[-1].t if events else 0.0)
    blamed = state.closing.blamed if state.closing is not None else None
    confirmed_zero = _last_confirmed(events) if state.closing is not None else None
    first = state.first_bad.get(blamed) if blamed else None
    return {
        "name": name,
        "release": started.get("release"),
        "stable_release": started.get("stable_release"),
        "baseline": started.get("baseline", "stable"),
        "plan": started.get("plan_name"),
        "outcome": state.outcome or state.resting or "running",
        "over": bool(state.outcome),
        "partial": [dict(each) for each in state.proxies.partial],
        "blamed_gate": blamed,
        "sentence": state.sentence,
        "started": _iso(state.started_at),
        "ended": _iso(end) if state.outcome or state.resting else None,
        "last_look": _iso(next((event.t for event in reversed(events) if event.kind == "judged"), 0.0)),
        "seconds_from_start": round(end - state.started_at, 3),
        "seconds_from_first_bad_request": None
        if first is None or confirmed_zero is None
        else round(confirmed_zero - first, 3),
        "exposed_customers": state.last.get("exposed") if _widened(events) else 0,
        "requests_canary": int(state.last.get("requests", 0)),
        "requests_synthetic": int(state.last.get("synthetic", 0)),
        "dispersion": _dispersion(state.judging),
        "schema": [
            {**dataclasses.asdict(each), "at": _iso(each.at or 0.0)} for each in schema_steps(plan, state)
        ],
        "letters": letters_told(events, state, plan),
        "stages": _stages(events),
        "timeline": _timeline(events, state.started_at),
    }


def _dispersion(judging: Mapping[str, Any] | None) -> Json:
    """Of each gate whose plan states none: c (None: assumed), and where it came from or why it is assumed."""
    return {
        name: {"c": each.c, "from": ("assumed" if each.c is None else "measured") + each.told}
        for name, each in journaled(judging).items()
        if each.told
    }


def _iso(t: float) -> str | None:
    if not t:
        return None
    return (
        datetime.datetime.fromtimestamp(t, datetime.UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def _last_confirmed(events: list[Event]) -> float | None:
    return next((event.t for event in reversed(events) if event.kind == "confirmed"), None)


def _widened(events: list[Event]) -> bool:
    """Whether any customer can have met the candidate."""
    return any(e.kind == "intended" and e.data["purpose"] == Purpose.WIDEN.value for e in events)


def _stages(events: list[Event]) -> list[Json]:
    """Every share that was reached, in order."""
    stages = []
    pending: Json | None = None
    for event in events:
        if event.kind == "intended":
            pending = event.data
        elif event.kind == "confirmed" and pending is not None and pending["purpose"] == Purpose.WIDEN.value:
            stages.append({"name": pending["stage"], "share": pending["share"]})
    return stages


def _timeline(events: list[Event], start: float) -> list[Json]:
    """One entry per look and per change of weights."""
    timeline: list[Json] = []
    last: Json = {}
    intended: Json = {}
    share, stage, weights = 0.0, "start", dict[str, int]()
    for event in events:
        if event.kind == "started":
            weights = dict.fromkeys(event.data["cohorts"], 0)
            continue
        if event.kind == "intended":
            intended = event.data
            continue
        if event.kind == "confirmed":
            share, stage, weights = intended["share"], intended["stage"], intended["weights"]
            if intended["purpose"] == Purpose.TRIAL.value:
                weights = dict.fromkeys(weights, 0)  # stable serves them all
            decision, sentence = intended["purpose"], intended["sentence"]
        elif event.kind == "judged":
            last = event.data
            decision, sentence = last["decision"], last["sentence"]
        elif event.kind in _TOLD:
            told = (event.data.get(key) for key in ("sentence", "name", "problem"))
            decision, sentence = event.kind, ": ".join(str(each) for each in told if each)
        else:
            continue
        timeline.append(
            {
                "t": round(event.t - start, 3),
                "share": share,
                "stage": stage,
                "weights": {cohort: weight / 100 for cohort, weight in weights.items()},
                "exposed": last.get("exposed"),
                "gates": {name: _numbers(gate) for name, gate in last.get("gates", {}).items()},
                "decision": decision,
                "sentence": sentence,
            }
        )
    return timeline


_TOLD = (
    *(
        "failed",
        "paused",
        "held",
        "resumed",
        "ended",
        "compared",
        "act",
        "waiting",
        "frozen",
        "thawed",
        "plan-edited",
    ),
    *("restarted", "guard-silent", "guard-back", "guard-told", "guard-ended", "unsent"),
    *("partial", "changed", "unchanged", "strange-version", "draining", "drained"),
    *("job-begun", "job-done", "job-failed"),
)
"""Events that are a line of the timeline as they are."""


def _numbers(gate: Json) -> Json:
    numbers = {key: gate[key] for key in ("log_e", "bound", "harm_upper", "canary", "baseline")}
    return {**numbers, "excluded": gate.get("excluded", 0.0)}


def report_text(facts: Json) -> str:
    """As JSON text."""
    return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
