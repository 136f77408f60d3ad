"""Synthetic testers: requests to both arms before any customer meets the candidate.

They go through the edge's public address, each with the header that leads to one arm, so that they are
counted by the same counters as customers, in clusters of their own. What the proxy cannot see, an answer with
another status than the plan expects, is compared here. Requests have a time limit, their rate is bounded,
their threads are daemons: nothing ever waits for them.
"""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import requests

from huidu.foundation.errors import ConfigError
from rollout.plan import Entry, Journey, Synthetic

WORKERS = 8
"""Requests an arm may have open at once: one that hangs is asked less often, not more."""
FEWEST = 3
"""So many answers with another status than expected are no accident."""
SERVER_ERROR = 500


@dataclass
class _Answers:
    """To one journey, in one arm. 5xx are left to the proxy's counters: they may have a rate."""

    expected: int = 0
    otherwise: int = 0
    failed: int = 0
    status: int = 0


@dataclass
class _Arm:
    """One arm: the header that leads to it, and when (monotonic seconds) its next request may leave."""

    header: str
    answers: list[_Answers]
    sent: int = 0
    due: float = field(default_factory=time.monotonic)
    silent: int = 0


class SyntheticTesters:
    """See `controller.edge.Testers`. Raises ConfigError where the secret or the authority cannot be read."""

    def __init__(self, plan: Synthetic, entry: Entry) -> None:
        self._plan = plan
        self._url = entry.url.rstrip("/")
        self._secret = _secret(entry.secret_file)
        self._trusted = _authority(entry.ca_file)
        self._untrusted = False
        self._lock = threading.Lock()
        self._stopping: threading.Event | None = None
        self._candidate = _Arm(entry.candidate_header, [_Answers() for _ in plan.journeys])
        self._stable = _Arm(entry.stable_header, [_Answers() for _ in plan.journeys])

    def start(self) -> None:
        if self._stopping is not None:
            return
        self._stopping = threading.Event()
        for arm in (self._candidate, self._stable):
            arm.due = time.monotonic()
            for _ in range(WORKERS):
                threading.Thread(target=self._work, args=(arm, self._stopping), daemon=True).start()

    def stop(self) -> None:
        if self._stopping is not None:
            self._stopping.set()
            self._stopping = None

    def problem(self) -> str:
        with self._lock:
            if min(self._candidate.silent, self._stable.silent) >= FEWEST:
                why = "has no certificate that is trusted" if self._untrusted else "does not answer"
                return f"synthetic requests: {self._url} {why}"
            for journey, stable in zip(self._plan.journeys, self._stable.answers, strict=True):
                if stable.otherwise >= FEWEST:
                    return (
                        f"synthetic requests: stable answers {stable.status} to {_name(journey)}, the plan "
                        f"expects {journey.expect}"
                    )
        return ""

    def complaint(self) -> str:
        with self._lock:
            for journey, candidate, stable in zip(
                self._plan.journeys, self._candidate.answers, self._stable.answers, strict=True
            ):
                if candidate.otherwise >= FEWEST and stable.expected >= FEWEST and not stable.otherwise:
                    asked = candidate.otherwise + candidate.expected
                    return (
                        f"the candidate answers {candidate.status} to {_name(journey)} "
                        f"({candidate.otherwise} of {asked} synthetic requests), stable {journey.expect}"
                    )
        return ""

    def unasked(self) -> str:
        with self._lock:
            for journey, *arms in zip(
                self._plan.journeys, self._candidate.answers, self._stable.answers, strict=True
            ):
                answered = min(arm.expected + arm.otherwise + arm.failed for arm in arms)
                if answered < FEWEST:
                    return f"{_name(journey)} was answered {answered} times of {FEWEST}"
        return ""

    def _work(self, arm: _Arm, stopping: threading.Event) -> None:
        with requests.Session() as session:
            session.trust_env = False  # no proxy and no .netrc of the person who runs this
            session.verify = self._trusted
            while not stopping.wait(self._until_due(arm)):
                number = self._take(arm)
                if number is not None:
                    self._ask(session, arm, number)

    def _until_due(self, arm: _Arm) -> float:
        with self._lock:
            return max(0.001, arm.due - time.monotonic())

    def _take(self, arm: _Arm) -> int | None:
        """The number of the journey that is due, None where another thread was quicker."""
        with self._lock:
            now = time.monotonic()
            if now < arm.due:
                return None
            # What could not be sent in time is not made up for: the rate is a bound.
            arm.due = max(arm.due, now - 1 / self._plan.rate) + 1 / self._plan.rate
            arm.sent += 1
            return arm.sent % len(self._plan.journeys)

    def _ask(self, session: requests.Session, arm: _Arm, number: int) -> None:
        journey, untrusted = self._plan.journeys[number], False
        try:
            answer = session.request(
                journey.method,
                self._url + journey.path,
                json=journey.body,
                headers={**journey.headers, arm.header: self._secret},
                timeout=self._plan.timeout,
                allow_redirects=False,
            )
            status = answer.status_code
        except requests.Timeout:
            status = SERVER_ERROR  # the edge answered nothing in time; its own counters know why
        except requests.RequestException as error:
            status, untrusted = 0, isinstance(error, requests.exceptions.SSLError)
        with self._lock:
            self._untrusted = untrusted
            arm.silent = 0 if status else arm.silent + 1
            seen = arm.answers[number]
            if status == journey.expect:
                seen.expected += 1
            elif status >= SERVER_ERROR:
                seen.failed += 1
            elif status:
                seen.otherwise += 1
                seen.status = status


def _name(journey: Journey) -> str:
    return f"{journey.method} {journey.path}"


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the testers' secret cannot be read ({type(error).__name__})",
            file=path,
            remedy="run `huidu stack up`, or correct synthetic.entry.secret_file; nothing was changed",
        ) from None


def _authority(path: Path | None) -> str | bool:
    """What `requests` trusts: this authority alone, or (True) those that every machine trusts."""
    if path is None:
        return True
    try:
        ssl.create_default_context(cafile=str(path))
    except OSError as error:  # SSLError is one
        why = error.strerror or type(error).__name__
        raise ConfigError(
            f"the authority of the edge's certificate cannot be read ({why})",
            file=path,
            expected="a certificate as PEM",
            remedy="run `huidu stack up`, or correct synthetic.entry.ca_file; nothing was changed",
        ) from None
    return str(path)
