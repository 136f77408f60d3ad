"""What a report tells around traffic and evidence: who was told of what, where the schema stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from huidu.foundation.errors import HuiduError
from huidu.foundation.journal import Event
from rollout.controller.fold import RolloutState, fold
from rollout.controller.jobs import CONTRACT, EXPAND, contract_due
from rollout.letters import GIVEN_UP_AFTER, SEVERITY, Letter, Letters, Tried, fold_letters, wanted
from rollout.plan import Plan
from rollout.plan.file import parse_plan
from rollout.plan.people import Address

Standing = Literal["pending", "due", "running", "again", "done", "failed", "never"]
"""Of a schema step: `pending` while something comes before it, then `due`; `never` after a way back."""


def letters_of(events: Iterable[Event]) -> Letters:
    """What people had to be told."""
    letters: Letters = {}
    state = RolloutState()
    for event in events:
        letters = fold_letters(letters, event, state)
        state = fold((event,), state)
    return letters


@dataclass(frozen=True, slots=True)
class Call:
    """What became of one letter. `sent`, `wanted`: at how many addresses, of how many; `tried`: at how many
    of the others in vain; `next_at`: when the next one is called (Unix seconds), None: nobody is."""

    letter: Letter
    sent: int
    wanted: int
    tried: int
    next_at: float | None

    def unanswered(self, now: float) -> bool:
        """An emergency that people are called for, and nobody has acknowledged."""
        news = now - self.letter.t < GIVEN_UP_AFTER
        return self.letter.emergency and news and self.wanted > 0 and not self.letter.acknowledged


def calls(letters: Letters, addresses: Sequence[Address]) -> list[Call]:
    """Of every letter that some address hears of, and of every emergency; the newest first."""
    found = [_call(letter, addresses) for letter in letters.values()]
    return [call for call in reversed(found) if call.wanted or call.letter.emergency]


def _call(letter: Letter, addresses: Sequence[Address]) -> Call:
    mine = [
        (letter.tried.get(place, Tried()), address)
        for place, address in enumerate(addresses)
        if wanted(address, letter)
    ]
    open_ = [(tried, address) for tried, address in mine if tried.sent or not address.after]
    later = [letter.t + address.after for tried, address in mine if address.after and not tried.times]
    if not letter.acknowledged:
        open_ = mine
    sent = sum(tried.sent for tried, _ in open_)
    in_vain = sum(bool(tried.times) and not tried.sent for tried, _ in open_)
    return Call(letter, sent, len(open_), in_vain, None if letter.acknowledged else min(later, default=None))


def letters_told(events: Iterable[Event], state: RolloutState, plan: Plan | None) -> list[dict[str, Any]]:
    """For report.json: every letter, the oldest first; `t`: seconds from the start."""
    addresses = plan.notify if plan is not None else ()
    return [
        {
            "event": call.letter.kind,
            "severity": SEVERITY[call.letter.kind],
            "emergency": call.letter.emergency,
            "t": round(call.letter.t - state.started_at, 3),
            "sentence": call.letter.sentence,
            "sent": call.sent,
            "addresses": call.wanted,
            "acknowledged": call.letter.acknowledged,
        }
        for call in reversed(calls(letters_of(events), addresses))
    ]


@dataclass(frozen=True, slots=True)
class SchemaStep:
    """`name`: expand or contract. `at`: when it is due, or was done or failed (Unix seconds), None: open."""

    name: str
    standing: Standing
    at: float | None = None
    problem: str = ""


def schema_steps(plan: Plan | None, state: RolloutState) -> tuple[SchemaStep, ...]:
    """Where the plan's expand and contract stand; () for a plan that changes no schema."""
    change = plan.schema_change if plan is not None else None
    if plan is None or change is None:
        return ()
    expand = _step(EXPAND, state)
    if expand.standing == "pending" and state.outcome:
        expand = SchemaStep(EXPAND, "never")
    if change.contract is None:
        return (expand,)
    contract = _step(CONTRACT, state)
    if contract.standing == "pending" and state.outcome:
        due = contract_due(plan, state)
        contract = SchemaStep(CONTRACT, "never") if due is None else SchemaStep(CONTRACT, "due", due)
    return expand, contract


def _step(name: str, state: RolloutState) -> SchemaStep:
    job = state.jobs.get(name)
    return SchemaStep(name, "pending") if job is None else SchemaStep(name, job.status, job.at, job.problem)


def plan_of(state: RolloutState) -> Plan | None:
    """The plan that was journaled; None where this huidu does not understand it any more."""
    return _known(str(state.started.get("plan_text", "")), str(state.started.get("plan_file", "")))


@lru_cache(maxsize=256)
def _known(text: str, file: str) -> Plan | None:
    try:
        return parse_plan(text, file)
    except (HuiduError, ValueError):
        return None
