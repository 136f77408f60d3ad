"""A router that lives in memory: for rehearsals and for tests of plans without a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from huidu.foundation.errors import Locked, RouterError
from rollout.routers.router import ProxyView, RouteView, Split


class MemoryRouter:
    """Serves what was written last. `fault(call)` is asked before every call and may raise what it likes."""

    def __init__(self, cohorts: Iterable[str], fault: Callable[[str], None] | None = None) -> None:
        self.served = Split(dict.fromkeys(cohorts, 0))
        self.writes: list[Split] = []
        self.owner = ""
        self._fault = fault or (lambda call: None)

    def acquire(self, owner: str) -> None:
        if self.owner:
            raise Locked(
                f"the route is owned by {self.owner}", remedy="one rollout per route: wait, or abort it"
            )
        self.owner = owner

    def release(self) -> None:
        self.owner = ""

    def check(self) -> None:
        self._fault("check")

    def look(self) -> RouteView:
        return RouteView((ProxyView("memory", self.served, self.served),))

    def reserve(self, split: Split) -> None:
        self._fault("reserve")

    def write(self, split: Split) -> None:
        self._fault("write")
        self.served = split
        self.writes.append(split)
        self._fault("written")

    def confirm(self, split: Split) -> None:
        self._fault("confirm")
        if not self.served.same_traffic(split):
            raise RouterError("memory serves another split")
