"""A worker elsewhere, inside Locust: gets its share from the run, walks it, sends back what it measured.

    python -m loadtests.runners.member --master HOST:PORT --token-file FILE --folder FOLDER

Nothing is shared with the run's machine but the link: plan, rows of test data, journeys, certificates and the
key that signs customers' tokens come as messages (the key stays in memory); variables of the environment are
this machine's own. Exit: 0 done, LATER come again, REFUSED never (see `messages`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
import gevent.event  # type: ignore[import-untyped]
from locust import User, task
from locust.env import Environment

from huidu.foundation.errors import HuiduError
from loadtests.driver import Driver
from loadtests.null_server import null_server
from loadtests.plan import Plan
from loadtests.recording import recording_file
from loadtests.runners import link, messages
from loadtests.runners.curve import secure
from loadtests.supplies import Supplies

_REPORT_SECONDS = 0.5
# Whoever hears nothing from the run for so long stops the arrivals: nobody watches the target any more.
_SILENCE_SECONDS = 8.0


@dataclass(frozen=True)
class Manner:
    """What a worker is and by which clocks it goes; a test's worker may differ."""

    identity: str = field(default_factory=link.identity)
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Part:
    """One worker's part of one run, told by messages."""

    def __init__(self, runner: Any, folder: Path, manner: Manner) -> None:
        self._runner, self._folder, self._manner = runner, folder, manner
        self._stack = ExitStack()
        self._driver: Driver | None = None
        self._file: Path | None = None
        self._zero: Any = gevent.event.AsyncResult()
        self._ended: Any = gevent.event.AsyncResult()
        self._until: float | None = None
        self._have = 0
        self._complete = False
        self._walking = False
        self._heard = time.monotonic()
        for name, listener, apart in (
            (messages.PLAN, self._plan, True),
            (messages.CLOCK, self._clock, False),
            (messages.START, lambda data: self._zero.set(float(data["zero"])), False),
            (messages.UNTIL, self._longer, False),
            (messages.STOP, lambda data: self._stop(), False),
            (messages.HAVE, self._acknowledged, False),
            (messages.END, lambda data: self._ended.set((data["code"], data["reason"])), False),
        ):
            runner.register_message(name, self._told(listener), concurrent=apart)

    def take(self) -> tuple[int, str]:
        """Join, and do what is asked until the end: exit code and reason."""
        self._send(messages.JOIN, identity=self._manner.identity, pid=os.getpid(), host=os.uname().nodename)
        with self._stack:
            while not self._ended.ready():
                gevent.sleep(_REPORT_SECONDS)
                self._report()
                if not self._alive() and (self._complete or not self._walking):
                    return 1, "the run does not answer any more"
            code, reason = self._ended.get()
            return int(code), str(reason)

    def walk(self) -> None:
        """The whole schedule: what Locust's user does. A second user is none of ours and does nothing."""
        if self._walking or self._driver is None:
            gevent.sleep(7 * 86400)
            return
        self._walking = True
        self._send(messages.STANDING)
        zero = self._zero.get()
        self._driver.run(zero, self._alive, lambda: self._until)
        self._complete = True
        gevent.sleep(7 * 86400)

    def _told(self, listener: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
        def call(environment: Any, msg: Any) -> None:
            self._heard = time.monotonic()
            listener(msg.data or {})

        return call

    def _send(self, name: str, **data: Any) -> None:
        self._runner.send_message(name, data)

    def _plan(self, data: dict[str, Any]) -> None:
        try:
            self._driver = self._prepare(data)
        except (HuiduError, OSError, ValueError, KeyError) as error:
            why = (
                f"${{{error.args[0]}}} stands for nothing in its environment"
                if isinstance(error, KeyError)
                else str(error)
            )
            self._send(messages.UNFIT, reason=why[:300])
            return
        self._send(messages.READY)

    def _prepare(self, data: dict[str, Any]) -> Driver:
        plan, worker = Plan.model_validate_json(data["plan"]), int(data["worker"])
        update: dict[str, Any] = {}
        if data["journeys"] is not None:
            update["journeys_file"] = self._keep("journeys.py", data["journeys"])
        if data["ca"] is not None:
            ca = self._keep("ca.pem", data["ca"])
            update["connections"] = plan.connections.model_copy(update={"ca": ca})
        if data["null"]:
            update["host"] = self._stack.enter_context(null_server())
        self._file = recording_file(self._folder, worker)
        supplies = Supplies(tuple(data["rows"]), data["key"], self._manner.environment)
        return Driver(
            plan.model_copy(update=update), worker, self._file, supplies=supplies, now=self._manner.monotonic
        )

    def _keep(self, name: str, text: str) -> Path:
        file = self._folder / name
        file.write_text(text, encoding="utf-8")
        return file

    def _clock(self, data: dict[str, Any]) -> None:
        now, wall = self._manner.monotonic(), self._manner.wall()
        self._send(messages.CLOCK, number=data["number"], monotonic=now, wall=wall)

    def _longer(self, data: dict[str, Any]) -> None:
        self._until = float(data["end"])

    def _stop(self) -> None:
        if self._driver is not None:
            self._driver.stop()

    def _acknowledged(self, data: dict[str, Any]) -> None:
        self._have = int(data["have"])
        if data["gone"]:
            self._stop()

    def _alive(self) -> bool:
        return time.monotonic() - self._heard < _SILENCE_SECONDS

    def _report(self) -> None:
        """What the run does not have yet; said again until it says that it has it."""
        fresh, size = b"", 0
        if self._file is not None and self._file.exists():
            size = self._file.stat().st_size
            with self._file.open("rb") as stream:
                stream.seek(self._have)
                fresh = stream.read(messages.CHUNK_BYTES)
        total = size if self._complete else None
        self._send(messages.MEASURED, offset=self._have, packed=zlib.compress(fresh, 6), total=total)


def take_part(master: str, token_file: Path, folder: Path, manner: Manner | None = None) -> tuple[int, str]:
    """One run, in this process: exit code and reason."""
    host, port = link.address(master, "--master")
    secure(link.keys_of(link.read_token(token_file)))
    parts: list[Part] = []

    class Generator(User):
        """One per worker: walks the schedule."""

        @task
        def offer(self) -> None:
            """The whole run."""
            parts[0].walk()

    environment = Environment(user_classes=[Generator])
    runner = environment.create_worker_runner(host, port)
    parts.append(Part(runner, folder, manner or Manner()))
    code, reason = parts[0].take()
    runner.quit()
    return code, reason


def main() -> None:
    """Take part in the run, and end as it ends."""
    parser = argparse.ArgumentParser()
    for name in ("--master", "--token-file", "--folder"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    try:
        code, reason = take_part(given.master, Path(given.token_file), Path(given.folder))
    except HuiduError as error:
        code, reason = messages.REFUSED, str(error)
    if reason:
        print(reason, file=sys.stderr, flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
