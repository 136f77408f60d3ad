"""The controllers' own metrics, told from their journals: they are there while a controller is dead. Pure.

What stands here is what alert rules need (alerts.yaml): is somebody looking, how late, how long blind, and
what became of rollouts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from rollout.plan import Plan
from rollout.serve.readings import Reading
from rollout.serve.story import outcome

_HELP = {
    "huidu_rollout_info": "1 for every rollout; outcome as in report.json, running while it is under way.",
    "huidu_rollout_share": "The candidate's share of all requests, 0 to 1.",
    "huidu_rollout_attended": "1 while a process holds the rollout's journal; absent where nobody can tell.",
    "huidu_rollout_look_age_seconds": "Since the newest look at the evidence.",
    "huidu_rollout_lag_seconds": "How much later than planned the newest look came.",
    "huidu_rollout_poll_seconds": "Seconds between two looks, by the plan.",
    "huidu_rollout_blind_seconds": "Since the newest usable evidence, while customers are on the candidate.",
    "huidu_rollout_blind_limit_seconds": "Longest time without evidence, by the plan.",
    "huidu_rollout_exposed_customers": "Customers who have met the candidate.",
    "huidu_rollout_gate_level": "Evidence of harm as a part of its bound; at 1 the release goes back.",
    "huidu_rollout_events_total": "Events journaled so far, by kind.",
    "huidu_rollout_journal_readable": "0 where the journal cannot be read.",
    "huidu_rollouts": "Rollouts in this workspace, by outcome.",
}
_COUNTED = (
    "held",
    "paused",
    "failed",
    "blind",
    "rollback",
    "retreat",
    "service",
    "abort",
    "widen",
    "resumed",
)
"""Kinds of turns (story.Turn) that are counted."""

Sample = tuple[str, dict[str, str], float]


def exposition(readings: Iterable[Reading], plans: dict[str, Plan | None], now: float) -> str:
    """In Prometheus's text format. `plans`: by the hash that the journal remembers."""
    samples = list(_samples(readings, plans, now))
    lines: list[str] = []
    for name, text in _HELP.items():
        mine = [each for each in samples if each[0] == name]
        if mine:
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{_labels(labels)} {value:.10g}" for _, labels, value in mine]
    return "\n".join(lines) + "\n"


def _samples(readings: Iterable[Reading], plans: dict[str, Plan | None], now: float) -> Iterator[Sample]:
    outcomes: Counter[str] = Counter()
    for reading in readings:
        mine = {"rollout": reading.name}
        yield "huidu_rollout_journal_readable", mine, 0.0 if reading.problem else 1.0
        state = reading.story.state
        if not state.started:
            continue
        word = outcome(state)
        outcomes[word] += 1
        facts = {"release": state.release, "plan": str(state.started.get("plan_name", "")), "outcome": word}
        yield "huidu_rollout_info", {**mine, **facts}, 1.0
        yield "huidu_rollout_share", mine, state.share
        yield from _told(reading, mine)
        if not state.outcome:
            plan = plans.get(str(state.started.get("plan_hash", "")))
            yield from _going(reading, mine, plan, now)
    for word, number in sorted(outcomes.items()):
        yield "huidu_rollouts", {"outcome": word}, float(number)


def _told(reading: Reading, mine: dict[str, str]) -> Iterator[Sample]:
    state = reading.story.state
    exposed = state.last.get("exposed")
    if exposed is not None:
        yield "huidu_rollout_exposed_customers", mine, float(exposed)
    for name, gate in state.last.get("gates", {}).items():
        if gate["bound"]:
            yield "huidu_rollout_gate_level", {**mine, "gate": name}, gate["log_e"] / gate["bound"]
    counts = Counter(turn.kind for turn in reading.story.turns)
    for kind in _COUNTED:
        yield "huidu_rollout_events_total", {**mine, "kind": kind}, float(counts[kind])


def _going(reading: Reading, mine: dict[str, str], plan: Plan | None, now: float) -> Iterator[Sample]:
    story = reading.story
    if reading.driven is not None:
        yield "huidu_rollout_attended", mine, float(reading.driven)
    if story.looked_at is not None:
        yield "huidu_rollout_look_age_seconds", mine, max(0.0, now - story.looked_at)
    if plan is None:
        return
    poll = plan.observation.poll
    yield "huidu_rollout_poll_seconds", mine, poll
    yield "huidu_rollout_blind_limit_seconds", mine, plan.limits.blind
    if story.between_looks is not None:
        yield "huidu_rollout_lag_seconds", mine, max(0.0, story.between_looks - poll)
    state = story.state
    exposed = state.position > 0 or state.pending is not None
    since = max(state.evidence_at, state.watched_from, state.opened_at)
    yield "huidu_rollout_blind_seconds", mine, max(0.0, now - since) if exposed else 0.0


def _labels(labels: dict[str, str]) -> str:
    inner = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
