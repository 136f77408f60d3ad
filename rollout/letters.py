"""Who must be told of what, and when again: folded from the journal, so that a crash loses no letter. Pure.

A letter is an event of the journal that people want to know of; its number is the event's. `told` says what
became of it at one address. A letter without a word of success is due, also for the process that comes next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from huidu.foundation.journal import Event
from rollout.controller.fold import Purpose, RolloutState
from rollout.controller.jobs import NOT_FINISHED
from rollout.plan.people import LEVELS, Address, EventKind, Level

SEVERITY: Mapping[EventKind, Level] = {
    "started": "info",
    "waiting": "warning",
    "held": "warning",
    "paused": "info",
    "aborted": "warning",
    "rolled-back": "failure",
    "retreated": "failure",
    "restarted": "info",
    "promoted": "success",
    "stuck": "failure",
    "guard-acted": "failure",
    "guard-cannot": "failure",
    "guard-silent": "warning",
    "changed": "warning",
}
EMERGENCIES: tuple[EventKind, ...] = ("rolled-back", "retreated", "stuck", "guard-acted", "guard-cannot")
"""What somebody has to acknowledge; until then the next addresses are told, too."""
ENDED_BY: Mapping[str, EventKind] = {"confirmed": "stuck", "resumed": "guard-cannot"}
"""Emergencies that are over when such an event is journaled: the proxies took it, a controller is back."""
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds before a letter that could not be sent is tried again: doubled each time, up to the longest."""
GIVEN_UP_AFTER = 86_400.0
"""Seconds after which a letter is news no more."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a letter at one address."""

    times: int = 0
    last: float = 0.0
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """`number`: the event's; `t`: Unix seconds; `tried`: by place of the address in the plan; `over`: what it
    told of has ended by itself."""

    number: int
    kind: EventKind
    t: float
    share: float
    sentence: str
    tried: Mapping[int, Tried] = field(default_factory=dict)
    acknowledged: bool = False
    over: bool = False

    @property
    def emergency(self) -> bool:
        """Whether somebody has to know of it now: a way back that was taken at last is called out no more."""
        return self.kind in EMERGENCIES and not self.over


Letters = Mapping[int, Letter]


def news(event: Event, before: RolloutState) -> tuple[EventKind, str] | None:
    """What people want to know of in `event`, which came after `before`; most events are none."""
    data = event.data
    sentence = str(data.get("sentence", ""))
    if event.kind == "started":
        return "started", f"release {data['release']} beside {data['stable_release']}"
    if event.kind == "ended":
        return _end(str(data["outcome"]), sentence, before)
    pending = before.pending
    if event.kind == "confirmed" and pending is not None:
        kind = _BACK.get(pending.move.purpose)
        return (kind, pending.move.sentence) if kind else None
    if event.kind == "failed" and pending is not None and not pending.problem:
        forward = pending.move.purpose in (Purpose.WIDEN, Purpose.TRIAL)
        return None if forward else ("stuck", f"{pending.move.sentence}: {data['problem']}")
    kind = _PLAIN.get(event.kind)
    return (kind, sentence) if kind else None


_BACK: Mapping[Purpose, EventKind] = {Purpose.RETREAT: "retreated", Purpose.UNATTENDED: "guard-acted"}
_PLAIN: Mapping[str, EventKind] = {
    "held": "held",
    "paused": "paused",
    "waiting": "waiting",
    "restarted": "restarted",
    "guard-told": "guard-cannot",
    "guard-silent": "guard-silent",
    "changed": "changed",
}


def _end(outcome: str, sentence: str, before: RolloutState) -> tuple[EventKind, str] | None:
    purpose = before.closing.purpose if before.closing is not None else None
    if purpose in _BACK and NOT_FINISHED not in sentence:
        return None  # that was told when it happened
    if purpose is Purpose.ABORT:
        return "aborted", sentence
    kinds: Mapping[str, EventKind] = {
        "promoted": "promoted",
        "rolled-back": "rolled-back",
        "held": "held",
        "retreated": "retreated",
    }
    return (kinds[outcome], sentence) if outcome in kinds else None


def fold_letters(letters: Letters, event: Event, before: RolloutState) -> Letters:
    """The letters after `event`."""
    if event.kind == "told":
        return _told(letters, event)
    if event.kind == "act" and event.data["act"] == "acknowledge":
        return acknowledged(letters, event.t)
    if (ended := ENDED_BY.get(event.kind)) is not None:
        letters = {
            number: dataclasses.replace(each, over=each.over or each.kind == ended)
            for number, each in letters.items()
        }
    found = news(event, before)
    if found is None:
        return letters
    kind, sentence = found
    share = before.pending.move.share if before.pending and event.kind == "confirmed" else before.share
    number = event.seq or -len(letters) - 1  # an event that could not be written has no number
    return {**letters, number: Letter(number, kind, event.t, share, sentence)}


def acknowledged(letters: Letters, t: float) -> Letters:
    """Somebody said at `t` that he knows of everything before."""
    return {
        number: dataclasses.replace(each, acknowledged=each.acknowledged or each.t <= t)
        for number, each in letters.items()
    }


def _told(letters: Letters, event: Event) -> Letters:
    number, place = event.data.get("letter"), event.data.get("address")
    if not isinstance(number, int) or not isinstance(place, int) or number not in letters:
        return letters
    letter = letters[number]
    before = letter.tried.get(place, Tried())
    after = Tried(before.times + 1, event.t, before.sent or bool(event.data["sent"]))
    return {**letters, number: dataclasses.replace(letter, tried={**letter.tried, place: after})}


def wanted(address: Address, letter: Letter) -> bool:
    """Whether this address hears of such a letter at all."""
    if address.events and letter.kind not in address.events:
        return False
    if address.after and not letter.emergency:
        return False
    loud, least = LEVELS.index(SEVERITY[letter.kind]), LEVELS.index(address.least)
    return bool(loud >= least)


def due(letters: Letters, addresses: Sequence[Address], now: float) -> list[tuple[Letter, int]]:
    """What has to be sent to which address (its place) now."""
    return [
        (letter, place)
        for letter in letters.values()
        if now - letter.t < GIVEN_UP_AFTER
        for place, address in enumerate(addresses)
        if wanted(address, letter) and _is_due(letter, letter.tried.get(place, Tried()), address, now)
    ]


def _is_due(letter: Letter, tried: Tried, address: Address, now: float) -> bool:
    if tried.sent:
        return False
    if tried.times:
        return now >= tried.last + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (tried.times - 1))
    if address.after:
        return not letter.acknowledged and now >= letter.t + address.after
    return True


def unanswered(letters: Letters, addresses: Sequence[Address], now: float) -> bool:
    """Whether an emergency still waits for somebody, or a letter for its address."""
    return any(
        now - letter.t < GIVEN_UP_AFTER
        and wanted(address, letter)
        and not letter.tried.get(place, Tried()).sent
        and not (address.after and letter.acknowledged)
        for letter in letters.values()
        for place, address in enumerate(addresses)
    )
