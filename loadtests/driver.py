"""Do: walks the schedule, one greenlet per arrival, and lets nothing the server does delay an arrival.

Runs inside Locust, as the only task of its only user, in a process of its own.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gevent  # type: ignore[import-untyped]

from loadtests.customers import Customers
from loadtests.effort import Effort
from loadtests.filling import Script, own_rows
from loadtests.journeys.catalogue import catalogue
from loadtests.journeys.http import http
from loadtests.plan import ChannelPlan, Plan
from loadtests.recorder import Recorder
from loadtests.schedule import arrivals, merged
from loadtests.session import Session, SessionPool
from loadtests.supplies import Supplies
from loadtests.visit import BROKEN, DEGRADED, Customer, StepFailed, Visit

PULSE_SECONDS = 1.0
_BURST = 32
_PATIENCE = 500


@dataclass(frozen=True, slots=True)
class _Arrival:
    due: float
    place: int
    channel: ChannelPlan
    journey: str
    customer: Customer | None


class Driver:
    """One worker's part of a run. `zero`: second at which the window begins, by the monotonic clock `now`."""

    def __init__(
        self,
        plan: Plan,
        worker: int,
        file: Path,
        *,
        supplies: Supplies | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        supplies = supplies or Supplies.here(plan, worker)
        self._now = now
        self._plan = plan
        self._worker = worker
        self._recorder = Recorder(file, worker, os.getpid(), plan.buckets(), plan.bin)
        self._pool = SessionPool(plan.host, plan.timeout, plan.in_flight, plan.connections)
        self._customers = Customers(plan.tokens, plan.population, supplies.key) if plan.tokens else None
        self._channels = {each.name: each for each in plan.channels}
        environment = supplies.environment
        self._catalogue = catalogue(plan.journeys_file, environment)
        self._scripts = {
            each.name: Script(each.http, plan.headers, environment) for each in plan.channels if each.http
        }
        self._rows = own_rows(supplies.rows, 0, 1)
        # Reproducible, not secret.
        self._rng = random.Random(f"{plan.seed}/{worker}/visits")
        self._open: dict[gevent.Greenlet, _Arrival] = {}
        self._zero = 0.0
        self._stopped = False
        self._effort = Effort(now)
        self._cut = False

    def stop(self) -> None:
        """No more arrivals; what is open may end. The recording says `interrupted`, unless it was endless."""
        self._stopped = True

    def run(
        self, zero: float, alive: Callable[[], bool], until: Callable[[], float | None] = lambda: None
    ) -> None:
        """Offer everything, drain, write the last line. `alive`: whether somebody still wants the run;
        `until`: the second to which the window was extended, if it was (asked at the window's end)."""
        self._zero = zero
        gc.collect()
        gc.freeze()  # a collection over what Locust imported would stop the schedule for tens of milliseconds
        self._effort.begin()
        pulse = gevent.spawn(self._pulses, alive)
        try:
            complete = self._offer(until)
            self._drain()
        except gevent.GreenletExit:
            # Locust was told to end at once: what is open will never be known.
            self._censor()
            complete = False
        pulse.kill()
        self._flush()
        self._recorder.close(interrupted=not complete)
        self._pool.close()

    def _offer(self, until: Callable[[], float | None]) -> bool:
        """Walk the schedule; whether to its end. Stopped, a finite one is still counted to its end."""
        start, end = 0.0, self._plan.duration if self._plan.duration is not None else float("inf")
        while True:
            complete = self._segment(start, end)
            longer = until() if complete and end < float("inf") else None
            if longer is None or longer <= end:
                return complete
            start, end = end, longer

    def _segment(self, start: float, end: float) -> bool:
        plan = self._plan
        streams = (
            (
                channel.name,
                arrivals(
                    plan.intensity(channel),
                    end,
                    start=start,
                    warmup=0.0 if start else plan.warmup,
                    style=plan.arrivals,
                    seed=f"{plan.seed}/{channel.name}",
                    worker=self._worker,
                    workers=plan.workers,
                ),
            )
            for channel in plan.channels
        )
        burst = 0
        for due, name in merged(streams):
            wait = self._zero + due - self._now()
            if not self._stopped and (wait > 0 or burst >= _BURST):
                self._sleep_until(self._zero + due)
                burst = 0
            burst += 1
            if self._stopped:
                if plan.duration is None:
                    return True
                self._withhold(due, name)
                if burst % _PATIENCE == 0:
                    gevent.sleep(0)  # what is open goes on
                continue
            self._arrive(due, self._channels[name])
        if not self._stopped:
            self._sleep_until(self._zero + end)
        return not self._stopped

    def _sleep_until(self, moment: float) -> None:
        """In naps, so that being stopped is noticed; always lets other greenlets run."""
        while True:
            wait = moment - self._now()
            gevent.sleep(min(max(wait, 0.0), 0.5))
            if wait <= 0.5 or self._stopped:
                return

    def _arrive(self, due: float, channel: ChannelPlan) -> None:
        place = self._recorder.bin(due)
        tally = self._recorder.tally(place, channel.name)
        tally.planned += 1
        customer, journey = self._draw(channel)
        session = self._pool.borrow()
        if session is None:
            tally.dropped += 1
            return
        arrival = _Arrival(due, place, channel, journey, customer)
        greenlet = gevent.Greenlet(self._visit, arrival, session)
        self._open[greenlet] = arrival
        greenlet.start()

    def _withhold(self, due: float, channel: str) -> None:
        """Due after the arrivals were stopped: counted, never sent."""
        tally = self._recorder.tally(self._recorder.bin(due), channel)
        tally.planned += 1
        tally.dropped += 1
        tally.withheld += 1

    def _draw(self, channel: ChannelPlan) -> tuple[Customer | None, str]:
        if channel.http:
            return None, "http"
        known = self._rng.random() >= channel.anonymous
        names = [name for name in channel.journeys if known or not self._catalogue[name].known]
        journey = self._rng.choices(names, [channel.journeys[name] for name in names])[0]
        return (self._customers.draw(self._rng) if known and self._customers else None), journey

    def _visit(self, arrival: _Arrival, session: Session) -> None:
        channel, due = arrival.channel, self._zero + arrival.due
        first = True

        def stopwatch(step: str, sent: float, done: float, failure: str | None) -> None:
            nonlocal first
            seconds = done - (due if first else sent)
            first = False
            if failure == DEGRADED:
                self._recorder.degraded(arrival.place, channel.name, seconds)
            if failure is not None:
                # Never answered as it must be: as slow as one that was not answered at all.
                seconds = max(seconds, self._plan.timeout)
            self._recorder.request(arrival.place, channel.name, arrival.journey, step, seconds, failure)

        visit = Visit(
            exchange=session,
            stopwatch=stopwatch,
            monotonic=self._now,
            pause=lambda: self._think(channel.think),
            rng=self._rng,
            customer=arrival.customer,
        )
        self._recorder.lag(arrival.place, max(0.0, self._now() - due))
        self._effort.walking(+1)
        failure: str | None = None
        known, broken = True, ""
        try:
            if channel.http:
                script = self._scripts[channel.name]
                http(visit, script.requests(next(self._rows) if script.wants_data else {}))
            else:
                self._catalogue[arrival.journey].run(visit)
        except StepFailed as error:
            failure = str(error)
            broken = "" if visit.started else f"StepFailed: {error}"
        except gevent.GreenletExit:
            failure, known = "still open when the drain was over", not self._cut
        except Exception as error:  # a journey's mistake must not pass as an answer, nor end the run
            failure = f"the journey could not read the answer: {type(error).__name__}: {error}"[:160]
            broken = "" if visit.started else f"{type(error).__name__}: {error}"
            session.close()
        finally:
            self._effort.walking(-1)
            self._open.pop(gevent.getcurrent(), None)
            self._pool.give_back(session)
        if broken:
            # Nothing was sent: this says nothing of the target.
            self._recorder.tally(arrival.place, channel.name).dropped += 1
            self._recorder.journey_broken(channel.name, arrival.journey, f"{BROKEN}: {broken}"[:160])
            return
        self._end(arrival, visit, due, failure, known)

    def _end(self, arrival: _Arrival, visit: Visit, due: float, failure: str | None, known: bool) -> None:
        tally = self._recorder.tally(arrival.place, arrival.channel.name)
        if not known:
            tally.censored += 1
            return
        visit.finish(failure)
        tally.ok += failure is None
        tally.failed += failure is not None
        seconds = self._now() - due
        if failure is not None:
            seconds = max(seconds, self._plan.timeout)
        self._recorder.request(arrival.place, arrival.channel.name, arrival.journey, "", seconds, failure)

    def _think(self, mean: float) -> None:
        if mean > 0:
            # Never longer than the drain allows for.
            gevent.sleep(min(self._rng.expovariate(1 / mean), 6 * mean))

    def _drain(self) -> None:
        end = self._now() + self._plan.drain
        while self._open and self._now() < end:
            gevent.sleep(0.02)
        gevent.killall(list(self._open), timeout=5)

    def _censor(self) -> None:
        self._cut = True
        gevent.killall(list(self._open), timeout=5)
        for arrival in self._open.values():  # killed before its first step: it never ran to count itself
            self._recorder.tally(arrival.place, arrival.channel.name).censored += 1
        self._open.clear()

    def _pulses(self, alive: Callable[[], bool]) -> None:
        while True:
            gevent.sleep(PULSE_SECONDS)
            self._flush()
            if not alive():
                self._stopped = True

    def _flush(self) -> None:
        self._recorder.flush(self._effort.pulse(self._zero, len(self._open)))
