"""Telling people, through apprise (WeCom, DingTalk, Feishu, Slack, e-mail, PagerDuty, plain JSON, ...).

Sending happens beside the caller: a dead chat server never delays a rollback. What could not be sent is
kept and handed back, so that the caller can journal it and try again.
"""

from __future__ import annotations

import enum
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import apprise

from huidu.foundation.errors import ConfigError

_log = logging.getLogger(__name__)


class Severity(enum.Enum):
    """How loud; the values are apprise's."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to tell: `key` names it in the journal, `title` and `body` are for people."""

    key: str
    title: str
    body: str
    severity: Severity = Severity.INFO


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message."""

    message: Message
    sent: bool


class Notifier:
    """Sends to all `urls`. No urls: every message counts as sent, to nobody.

    Raises ConfigError for an address apprise does not understand (without printing the address: it
    carries the secret).
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._apprise = apprise.Apprise()
        for number, url in enumerate(urls, start=1):
            if not self._apprise.add(url):
                raise ConfigError(
                    f"notification address {number} is not understood",
                    expected="an apprise address, for example mailto://user:password@host or wecombot://key",
                )
        self._outbox: queue.Queue[Message | None] = queue.Queue()
        self._done: queue.Queue[Delivery] = queue.Queue()
        self._thread: threading.Thread | None = None

    def tell(self, message: Message) -> None:
        """Hand over a message; returns at once."""
        if not len(self._apprise):
            self._done.put(Delivery(message, True))
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()
        self._outbox.put(message)

    def deliveries(self) -> list[Delivery]:
        """What has been decided since the last call."""
        found = []
        while True:
            try:
                found.append(self._done.get_nowait())
            except queue.Empty:
                return found

    def close(self, timeout: float = 5.0) -> list[Delivery]:
        """Wait at most `timeout` seconds for what is under way; the remaining deliveries."""
        if self._thread is not None:
            self._outbox.put(None)
            self._thread.join(timeout)
        return self.deliveries()

    def _work(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                sent = bool(
                    self._apprise.notify(
                        title=message.title,
                        body=message.body,
                        notify_type=message.severity.value,
                        body_format=apprise.NotifyFormat.TEXT,  # sentences may hold < and &
                    )
                )
            except Exception:  # any plugin of apprise may fail in its own way; the message is kept
                _log.debug("a notification could not be sent", exc_info=True)
                sent = False
            self._done.put(Delivery(message, sent))
