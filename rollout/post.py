"""Tells people what the journal says they should know. Never waits: sending happens in threads of its own.

Whoever holds the journal's lock has the post's duty: the controller while it lives, else the guard. Between
sending and writing `told` a crash sends a letter twice; never not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import yaml

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError, StateError
from huidu.foundation.journal import Event, Journal
from rollout.controller.fold import RolloutState, fold
from rollout.letters import SEVERITY, Letter, Letters, acknowledged, due, fold_letters, unanswered
from rollout.plan import Plan
from rollout.plan.people import Address

if TYPE_CHECKING:  # apprise takes half a second to import, and most rollouts tell nobody
    from huidu.foundation.notify import Delivery, Message, Notifier

NOTICES = Path(__file__).with_name("notices")


@cache
def notices(language: str) -> Mapping[str, Mapping[str, str]]:
    """Title and body of every event."""
    found: Mapping[str, Mapping[str, str]] = yaml.safe_load(
        (NOTICES / f"{language}.yaml").read_text(encoding="utf-8")
    )
    return found


def url_of(address: Address, place: int) -> str:
    """The apprise address; never to be printed. Raises ConfigError (a file that others can read)."""
    if address.file is None:
        return address.to
    try:
        if address.file.stat().st_mode & 0o077:
            raise ConfigError(
                "others can read this address", file=address.file, remedy=f"chmod 600 {address.file}"
            )
        return address.file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(
            f"notification address {place + 1} cannot be read: {why}", file=address.file
        ) from None


def notifiers(addresses: Sequence[Address]) -> tuple[Notifier, ...]:
    """One for each address, so that a dead one keeps nothing from the others. Raises ConfigError."""
    if not addresses:
        return ()
    from huidu.foundation.notify import Notifier

    made = []
    for place, address in enumerate(addresses):
        url = url_of(address, place)
        try:
            made.append(Notifier([url]))
        except ConfigError as error:
            raise ConfigError(
                error.what.replace("address 1", f"address {place + 1}"), expected=error.expected
            ) from None
    return tuple(made)


class Sender(Protocol):
    """What a letter is handed to; see notify.Notifier."""

    def tell(self, message: Message) -> None:
        """Returns at once."""

    def deliveries(self) -> list[Delivery]:
        """What became of messages since the last call."""

    def close(self, timeout: float = 5.0) -> list[Delivery]:
        """Waits a little for what is under way."""


class Patient:
    """An address that is looked up when there is something to tell.

    For whoever gives customers back: an address that was good at the start and is not any more (its file was
    removed, others can read it) holds up no way back. The letter counts as not sent, and is tried again.
    """

    def __init__(self, address: Address, place: int, complain: Callable[[str], None]) -> None:
        self._address = address
        self._place = place
        self._complain = complain
        self._notifier: Notifier | None = None
        self._unsent: list[Delivery] = []

    def tell(self, message: Message) -> None:
        """As Sender."""
        from huidu.foundation.notify import Delivery, Notifier

        try:
            self._notifier = self._notifier or Notifier([url_of(self._address, self._place)])
        except ConfigError as error:
            self._complain(f"address {self._place + 1} cannot be used: {error.what}")
            self._unsent.append(Delivery(message, False))
            return
        self._notifier.tell(message)

    def deliveries(self) -> list[Delivery]:
        """As Sender."""
        found, self._unsent = self._unsent, []
        return found + (self._notifier.deliveries() if self._notifier is not None else [])

    def close(self, timeout: float = 5.0) -> list[Delivery]:
        """As Sender."""
        found = self.deliveries()
        return found + (self._notifier.close(timeout) if self._notifier is not None else [])


def patient(addresses: Sequence[Address], complain: Callable[[str], None]) -> tuple[Patient, ...]:
    """One for each address; never raises. `complain` hears of addresses that cannot be used."""
    return tuple(Patient(address, place, complain) for place, address in enumerate(addresses))


def message(letter: Letter, plan: Plan, name: str, release: str, language: str) -> Message:
    """As a person reads it."""
    return written(letter.kind, letter.number, plan, name, release, language, letter.sentence, letter.share)


def written(
    kind: str, number: int, plan: Plan, name: str, release: str, language: str, sentence: str, share: float
) -> Message:
    """The template of `kind` in `language`, filled in."""
    from huidu.foundation.notify import Message, Severity

    template = notices(language)[kind]
    link = _led_to(plan, name if kind != "test" else "")
    facts = {"name": name, "release": release, "share": f"{share:.1%}", "sentence": sentence, "link": link}
    severity = Severity(dict(SEVERITY).get(kind, "info"))  # type: ignore[call-overload]
    title, body = (template[part].format_map(facts) for part in ("title", "body"))
    return Message(str(number), title, body, severity)


def _led_to(plan: Plan, name: str) -> str:
    """What a letter leads to: the page of the rollout, or of all, where there is no rollout yet."""
    if not plan.link:
        return f"huidu rollout status {name}".rstrip()
    parts = urlsplit(plan.link)
    return plan.link.replace("{name}", name) if name else f"{parts.scheme}://{parts.netloc}/"


class Post:
    """`see` every event, `turn` now and then, `close` at the end."""

    def __init__(
        self, plan: Plan, name: str, journal: Journal, clock: Clock, senders: Sequence[Sender]
    ) -> None:
        self._plan = plan
        self._name = name
        self._journal = journal
        self._clock = clock
        self._senders = tuple(senders)
        self._letters: Letters = {}
        self._state = RolloutState()
        self._under_way: set[tuple[int, int]] = set()
        self.see(journal.events())

    def see(self, events: Iterable[Event]) -> None:
        """What happened; nothing is sent yet."""
        if not self._senders:
            return
        for event in events:
            self._letters = fold_letters(self._letters, event, self._state)
            self._state = fold((event,), self._state)

    def acknowledge(self, t: float) -> None:
        """Somebody said so, and it is not journaled yet."""
        self._letters = acknowledged(self._letters, t)

    def turn(self) -> None:
        """Write down what became of letters, and hand over those that are due. Waits for nobody."""
        self._collect()
        self._hand_over()

    def _collect(self) -> bool:
        found = [(place, each) for place, sender in enumerate(self._senders) for each in sender.deliveries()]
        for place, delivery in found:
            self._note(int(delivery.message.key), place, delivery.sent)
        return bool(found)

    def _hand_over(self) -> None:
        for letter, place in due(self._letters, self._plan.notify, self._clock.now()):
            if (letter.number, place) in self._under_way:
                continue
            self._under_way.add((letter.number, place))
            language = self._plan.notify[place].language
            release = self._state.release
            self._senders[place].tell(message(letter, self._plan, self._name, release, language))

    def unanswered(self) -> bool:
        """Whether there is something left to do."""
        return unanswered(self._letters, self._plan.notify, self._clock.now())

    def reached(self) -> bool:
        """Whether anybody took the newest letter."""
        newest = max(self._letters.values(), key=lambda each: each.t, default=None)
        return newest is not None and any(each.sent for each in newest.tried.values())

    def close(self, timeout: float = 5.0) -> bool:
        """Hand over what is due and wait a little for it; what is not sent then is the next one's. Whether
        something became of any."""
        noted = self._collect()
        self._hand_over()
        for place, sender in enumerate(self._senders):
            for delivery in sender.close(timeout):
                self._note(int(delivery.message.key), place, delivery.sent)
                noted = True
        return noted

    def _note(self, number: int, place: int, sent: bool) -> None:
        self._under_way.discard((number, place))
        data = {"letter": number, "address": place, "sent": sent}
        event = Event(0, self._clock.now(), "told", data, "")
        with contextlib.suppress(StateError):
            event = self._journal.append("told", **data)
        self.see((event,))


def send_test(plan: Plan, say: Callable[[str, bool], None], timeout: float = 30.0) -> bool:
    """Tell every address of the plan that this is a test; whether all took it. Raises ConfigError."""
    senders = notifiers(plan.notify)
    good = True
    for place, sender in enumerate(senders):
        language = plan.notify[place].language
        sender.tell(written("test", 0, plan, plan.name, "", language, "", 0.0))
    for place, sender in enumerate(senders):
        found = sender.close(timeout)
        sent = any(delivery.sent for delivery in found)
        good = good and sent
        why = "it was refused, or the service is not reached" if found else f"no answer in {timeout:.0f} s"
        kind = url_of(plan.notify[place], place).partition(":")[0]
        say(f"address {place + 1} ({kind}): {'sent' if sent else f'NOT sent: {why}'}", sent)
    return good
