"""The four channels as plain Locust users: `locust -f loadtests/locustfile.py`, with Locust's own page.

Closed loop, Locust's own rounded statistics: good for looking and for building journeys, not for proving. The
journeys are the very ones `huidu load verify` runs; each step is a row, each wrong answer a failure.
"""

from __future__ import annotations

import random
import time

import gevent  # type: ignore[import-untyped]
from locust import User, between

from huidu.foundation.workspace import Workspace
from huidu.model.stack import Stack
from loadtests.customers import Customers
from loadtests.journeys.catalogue import CATALOGUE
from loadtests.plan import Tokens
from loadtests.profile import Channel, Connections, load_profile
from loadtests.session import SessionPool
from loadtests.visit import StepFailed, Visit

_TIMEOUT_SECONDS = 10.0
_, PROFILE = load_profile("demo")


def _stack() -> Stack | None:
    file = Workspace.from_env().stack_file
    return Stack.read(file) if file.is_file() else None


STACK = _stack()


class ChannelUser(User):
    """A visitor of one channel, one visit after the other."""

    abstract = True
    host = STACK.edge.url if STACK is not None else None
    wait_time = between(1, 3)
    channel: Channel
    _customers: Customers | None = None

    def on_start(self) -> None:
        """Who it is, and how it connects."""
        self._rng = random.Random()
        self._session = SessionPool(str(self.host), _TIMEOUT_SECONDS, 1, Connections())
        if STACK is not None and ChannelUser._customers is None:
            tokens = Tokens(
                key_file=STACK.tokens.key_file,
                issuer=STACK.tokens.issuer,
                audience=STACK.tokens.audience,
                count=STACK.customers.count,
                high=STACK.customers.high,
            )
            ChannelUser._customers = Customers(tokens, PROFILE.population)

    def on_stop(self) -> None:
        """Hang up."""
        self._session.close()

    def visit(self) -> None:
        """One visit of a journey of the channel, drawn by its weight."""
        known = self._customers is not None and self._rng.random() >= self.channel.anonymous
        weights = self.channel.journeys or {}
        names = [name for name in weights if known or not CATALOGUE[name].known] or list(weights)
        journey = self._rng.choices(names, [weights[name] for name in names])[0]
        session = self._session.borrow()
        assert session is not None  # each user has one of its own

        def stopwatch(step: str, sent: float, done: float, failure: str | None) -> None:
            self.environment.events.request.fire(
                request_type=type(self).__name__,
                name=f"{journey}: {step}",
                response_time=(done - sent) * 1000,
                response_length=0,
                exception=StepFailed(failure) if failure is not None else None,
                context={},
            )

        visit = Visit(
            exchange=session,
            stopwatch=stopwatch,
            monotonic=time.monotonic,
            pause=lambda: gevent.sleep(self._rng.uniform(0.2, 1.0)),
            rng=self._rng,
            customer=self._customers.draw(self._rng) if known and self._customers else None,
        )
        failure: str | None = None
        try:
            CATALOGUE[journey].run(visit)
        except StepFailed as error:
            failure = str(error)
        finally:
            visit.finish(failure)
            self._session.give_back(session)

    tasks = [visit]  # noqa: RUF012 (Locust's way)


def _user(name: str) -> type[ChannelUser]:
    channel = PROFILE.channels[name]
    weight = round(channel.peak or 1)
    return type(
        name.capitalize(), (ChannelUser,), {"channel": channel, "weight": weight, "__module__": __name__}
    )


Web, Wechat, Shop, Call = (_user(name) for name in ("web", "wechat", "shop", "call"))
