"""What is done with every proxy of a route, or every HTTPRoute: ask all at once, wait until each serves the
new split, and name those that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from huidu.foundation.clock import Clock
from huidu.foundation.errors import RouterError
from rollout.routers.router import ProxyView, Split

A = TypeVar("A")
B = TypeVar("B")


def each_of(members: Sequence[A], work: Callable[[A], B], most: int) -> list[B]:
    """What `work` makes of every member, in their order; `most`: at a time."""
    if len(members) == 1:
        return [work(members[0])]
    with ThreadPoolExecutor(min(most, len(members))) as pool:
        return list(pool.map(work, members))


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: to wait at most, between the first two looks, and between two at most."""

    within: float
    first_pause: float
    longest_pause: float


def unconfirmed(
    look: Callable[[], ProxyView], takes: Callable[[Split], bool], patience: Patience, clock: Clock
) -> ProxyView | None:
    """None as soon as what a proxy serves is what was asked (`takes`); else what was seen last."""
    deadline = clock.monotonic() + patience.within
    pause = patience.first_pause
    while True:
        view = look()
        if view.served is not None and takes(view.served):
            return None
        if clock.monotonic() >= deadline:
            return view
        clock.sleep(pause)
        pause = min(patience.longest_pause, pause * 1.5)


def partial(what: str, failed: Sequence[str], of: int, members: str, remedy: str) -> RouterError:
    """`what` failed with some of so many `members`: those with the reason."""
    part = "" if of == 1 else f" by {len(failed)} of {of} {members}"
    return RouterError(f"{what}{part}: {'; '.join(failed)}", remedy=remedy)
