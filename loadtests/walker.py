"""Do, for a functional suite: make every journey once, one after the other, and write down every answer.

Runs where the driver does, inside Locust, with the same connections, journeys and recorder.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from loadtests.customers import Customers
from loadtests.filling import Script, own_rows, read_rows
from loadtests.journeys.catalogue import catalogue
from loadtests.journeys.http import http
from loadtests.plan import Plan, Walk
from loadtests.recorder import Pulse, Recorder
from loadtests.session import SessionPool
from loadtests.visit import BROKEN, StepFailed, Visit


class Walker:
    """All walks of a plan."""

    def __init__(self, plan: Plan, file: Path) -> None:
        self._plan = plan
        self._recorder = Recorder(file, 0, os.getpid(), plan.buckets(), plan.bin)
        self._pool = SessionPool(plan.host, plan.timeout, 1, plan.connections)
        self._customers = Customers(plan.tokens, plan.population) if plan.tokens else None
        self._catalogue = catalogue(plan.journeys_file, os.environ)
        self._rows = own_rows(read_rows(plan.data.csv) if plan.data else [], 0, 1)
        # Reproducible, not secret.
        self._rng = random.Random(f"{plan.seed}/walks")
        self._stopped = False

    def stop(self) -> None:
        """No more walks; the one that is under way may end."""
        self._stopped = True

    def run(self, alive: Callable[[], bool]) -> None:
        """Walk, and write the last line. `alive`: whether somebody still wants to know."""
        began = time.monotonic()
        for place, walk in enumerate(self._plan.walks):
            self._recorder.tally(place, walk.channel).planned += 1
            if self._stopped or not alive():
                self._recorder.tally(place, walk.channel).dropped += 1
                self._stopped = True
            else:
                self._walk(place, walk)
            seconds = time.monotonic() - began
            self._recorder.flush(Pulse(float(place + 1), 1.0, 0.0, None, 0, seconds))
        self._recorder.close(interrupted=self._stopped)
        self._pool.close()

    def _walk(self, place: int, walk: Walk) -> None:
        session = self._pool.borrow()
        assert session is not None  # one walk at a time

        def stopwatch(step: str, sent: float, done: float, failure: str | None) -> None:
            self._recorder.request(place, walk.channel, walk.title, step, done - sent, failure)

        began = time.monotonic()
        visit = Visit(
            exchange=session,
            stopwatch=stopwatch,
            monotonic=time.monotonic,
            pause=lambda: None,
            rng=self._rng,
            customer=self._customers.draw(self._rng) if walk.known and self._customers else None,
        )
        failure: str | None = None
        broken = ""
        try:
            self._make(walk, visit)
        except StepFailed as error:
            failure = str(error)
            broken = f"StepFailed: {error}"
        except Exception as error:  # a journey's mistake must not pass as an answer, nor end the run
            broken = f"{type(error).__name__}: {error}"
            failure = f"the journey could not read the answer: {broken}"[:160]
        tally = self._recorder.tally(place, walk.channel)
        if broken and not visit.started:
            tally.dropped += 1
            self._recorder.journey_broken(walk.channel, walk.title, f"{BROKEN}: {broken}"[:160])
            self._pool.give_back(session)
            return
        visit.finish(failure)
        tally.ok += failure is None
        tally.failed += failure is not None
        self._recorder.request(place, walk.channel, walk.title, "", time.monotonic() - began, failure)
        self._pool.give_back(session)

    def _make(self, walk: Walk, visit: Visit) -> None:
        if walk.journey != "http":
            self._catalogue[walk.journey].run(visit)
            return
        channel = next(each for each in self._plan.channels if each.name == walk.channel)
        script = Script(channel.http, self._plan.headers, os.environ)
        http(visit, script.requests(next(self._rows) if script.wants_data else {}))
