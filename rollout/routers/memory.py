"""A router that lives in memory: for rehearsals and for tests of plans without a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from huidu.foundation.errors import Locked, RouterError
from rollout.routers.router import ProxyView, RouteView, Split, Streams


class MemoryRouter:
    """Serves what was written last. `fault(call)` is asked before every call and may raise what it likes.

    A fleet has several `proxies`. One that is `silenced` keeps serving what it served, takes what is written
    when it answers again, and says nothing meanwhile. `open`: streams that the candidate still has.
    """

    def __init__(
        self,
        cohorts: Iterable[str],
        fault: Callable[[str], None] | None = None,
        proxies: tuple[str, ...] = ("memory",),
    ) -> None:
        nobody = Split(dict.fromkeys(cohorts, 0))
        self.writes: list[Split] = []
        self.owner = ""
        self.open = 0
        self._written = dict.fromkeys(proxies, nobody)
        self._kept: dict[str, Split] = {}
        self._fault = fault or (lambda call: None)

    @property
    def served(self) -> Split:
        """By the first proxy."""
        return self.serves(next(iter(self._written)))

    @served.setter
    def served(self, split: Split) -> None:
        self._written = dict.fromkeys(self._written, split)

    def serves(self, proxy: str) -> Split:
        """What that proxy does now, whether or not it says so."""
        return self._kept.get(proxy, self._written[proxy])

    def give(self, proxy: str, split: Split) -> None:
        """Somebody else writes one proxy's routes."""
        self._written[proxy] = split

    def silence(self, proxy: str) -> None:
        self._kept[proxy] = self.serves(proxy)

    def wake(self, proxy: str) -> None:
        self._kept.pop(proxy, None)

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
        return RouteView(tuple(self._view(proxy) for proxy in self._written))

    def reserve(self, split: Split) -> None:
        self._fault("reserve")

    def write(self, split: Split) -> None:
        self._fault("write")
        self.served = split
        self.writes.append(split)
        self._fault("written")

    def confirm(self, split: Split) -> None:
        self._fault("confirm")
        lags = [proxy for proxy in self._written if not self._takes(proxy, split)]
        if lags:
            raise RouterError(f"the new weights are not confirmed by {', '.join(lags)}")

    def streams(self) -> tuple[Streams, ...]:
        first, *others = self._written
        return (Streams(first, self.open, self.open), *(Streams(proxy) for proxy in others))

    def _takes(self, proxy: str, split: Split) -> bool:
        return proxy not in self._kept and self._written[proxy].same_traffic(split)

    def _view(self, proxy: str) -> ProxyView:
        written = self._written[proxy]
        if proxy in self._kept:
            return ProxyView(proxy, None, written, "does not answer")
        return ProxyView(proxy, written, written)
