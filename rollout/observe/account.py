"""What came of an observation: what somebody did, beside what huidu would have done. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from huidu.foundation.journal import Event
from rollout.observe.fold import observed
from rollout.observe.would import BACK

Json = dict[str, Any]


def account(name: str, events: Iterable[Event]) -> Json:
    """`would`: each act with its time (`t`: seconds from the start); `shifts`: each share that somebody set;
    `after_back`: what the candidate still served, and how much of it was bad by the blamed gate, between the
    moment when huidu would have gone back and the end (None: it would not have)."""
    events = list(events)
    state = observed(events)
    start = state.started_at
    would = [{"t": round(e.t - start, 3), **e.data} for e in events if e.kind == "would"]
    return {
        "name": name,
        "mode": "observed",
        "release": state.started.get("release"),
        "stable_release": state.started.get("stable_release"),
        "plan": state.started.get("plan_name"),
        "started": _iso(start),
        "ended": _iso(state.ended_at or (events[-1].t if events else 0.0)),
        "outcome": next((w["act"] for w in would if w["act"] in (*BACK, "promote")), "undecided"),
        "ended_because": state.sentence,
        "share": state.share,
        "shifts": [
            {"t": round(e.t - start, 3), **{k: e.data[k] for k in ("before", "share", "borne", "ahead")}}
            for e in events
            if e.kind == "shifted"
        ],
        "would": would,
        "after_back": _after_back(events),
    }


def _after_back(events: list[Event]) -> Json | None:
    back = next((e for e in events if e.kind == "would" and e.data["act"] in BACK), None)
    looks = [e for e in events if e.kind == "judged"]
    if back is None or not looks:
        return None
    before = [e for e in looks if e.seq < back.seq][-1].data
    last = looks[-1].data
    gone = next(
        (e for e in events if e.seq > back.seq and e.kind == "shifted" and e.data["share"] <= 0), None
    )
    gate = back.data["blamed"]
    bad = _bad(last, gate) - _bad(before, gate)
    return {
        "gate": gate,
        "requests": last["requests"] - before["requests"],
        "bad": bad,
        "seconds_until_taken_back": round(gone.t - back.t, 3) if gone else None,
    }


def _bad(judged: Mapping[str, Any], gate: str | None) -> float:
    return float(judged["gates"].get(gate, {}).get("canary", {}).get("bad", 0.0))


def _iso(t: float) -> str | None:
    if not t:
        return None
    return datetime.datetime.fromtimestamp(t, datetime.UTC).isoformat(timespec="milliseconds")


def rows(facts: Json) -> tuple[list[str], list[list[str]]]:
    """One row per thing that somebody did or huidu would have done, in the order of time."""
    happened = [
        (
            each["t"],
            f"{each['share']:.1%}",
            "more than the evidence bore" if each["ahead"] else "",
            f"somebody set it, from {each['before']:.1%}; the evidence bore {each['borne']:.1%}",
        )
        for each in facts["shifts"]
    ]
    happened += [
        (each["t"], f"{each['share']:.1%}", f"huidu would: {each['act']}", each["sentence"])
        for each in facts["would"]
    ]
    found = [[f"{t:.0f} s", share, what, why] for t, share, what, why in sorted(happened)]
    return ["after", "share", "", "why"], found


def last_lines(facts: Json) -> list[str]:
    """What a person should take away."""
    word = {
        "promote": "huidu would have promoted it",
        "rollback": "huidu would have rolled it back",
        "service": "huidu would have given everybody back to stable and held: the whole service failed",
        "retreat": "huidu would have retreated: it was blind for too long",
    }.get(facts["outcome"], "huidu would still be waiting for evidence")
    lines = [f"{facts['name']}: {word}"]
    after = facts["after_back"]
    if after is not None:
        taken = after["seconds_until_taken_back"]
        how = f"it was taken back {taken:.0f} s later" if taken is not None else "it was not taken back"
        lines.append(
            f"  {how}; until then the candidate answered {after['requests']:.0f} more requests"
            + (f", {after['bad']:.0f} of them bad by {after['gate']}" if after["gate"] else "")
        )
    ahead = sum(each["ahead"] for each in facts["shifts"])
    if ahead:
        lines.append(f"  {ahead} of {len(facts['shifts'])} changes opened more than the evidence bore")
    return lines
