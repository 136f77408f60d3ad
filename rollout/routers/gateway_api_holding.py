"""Holding HTTPRoutes: one controller at a time, fenced, and every write computed from the newest route."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from huidu.foundation.clock import Clock
from huidu.foundation.errors import Locked, RouterError
from rollout.routers.envoy_routes import RouteProblem
from rollout.routers.gateway_api_cluster import ApiTrouble, HttpRoutes
from rollout.routers.gateway_api_lease import (
    RENEW_EVERY,
    RouteLease,
    gone,
    lease_of,
    new_lease,
    patch_of,
)
from rollout.routers.taken import taken

Json = dict[str, Any]
ATTEMPTS = 10
"""Times one write is tried against others who write the same route (labels, annotations, other rules)."""
AGAIN = 0.05
"""Seconds before the second attempt; a little more before each further one."""
LOOK_EVERY = 0.5
"""Seconds between two looks at a holder who may be dead."""
_HOLDING: set[str] = set()
"""Tokens that this process renews, of all its rollouts: their routes need no watching."""


def on_the_newest(api: HttpRoutes, clock: Clock, name: str, think: Callable[[Json], Json | None]) -> None:
    """Patch what `think` makes of the route as it stands (None: nothing); where somebody else was faster,
    think again. Raises ApiTrouble."""
    for attempt in range(ATTEMPTS):
        patch = think(api.get(name))
        if patch is None:
            return
        try:
            api.patch(name, patch)
            return
        except ApiTrouble as trouble:
            if trouble.kind != "conflict":
                raise
        clock.sleep(AGAIN * (attempt + 1))
    raise ApiTrouble("conflict", f"others write it all the time: {ATTEMPTS} attempts met a conflict (409)")


class Holding:
    """The routes `names`, held by this process from `acquire` to `release`, and renewed meanwhile."""

    def __init__(
        self, api: HttpRoutes, clock: Clock, names: Sequence[str], label: Callable[[str], str]
    ) -> None:
        self._api = api
        self._clock = clock
        self._names = tuple(sorted(names))
        self._label = label
        self._lease: RouteLease | None = None
        self._held: list[str] = []
        self._over = threading.Event()
        self._heart: threading.Thread | None = None

    def acquire(self, owner: str) -> None:
        """Hold every route, in the order of their names: two controllers cannot hold half each. A route whose
        holder may be dead is watched first, for at most its lease. Raises Locked, RouterError."""
        self._lease = new_lease(owner)
        _HOLDING.add(self._lease.token)
        for name in self._names:
            self._held.append(name)  # also where the answer to the taking is lost
            try:
                self._take(name, self._lease)
            except Locked:
                self.release()
                raise
            except ApiTrouble as trouble:
                self.release()
                raise RouterError(
                    f"the route cannot be owned: {trouble}",
                    where=self._label(name),
                    remedy=trouble.remedy or "mend it; nothing was changed",
                ) from None
        self._over.clear()
        self._heart = threading.Thread(target=self._renew, name="lease of the route", daemon=True)
        self._heart.start()

    def release(self) -> None:
        """Give them up; may be called twice. One that cannot be given up ends by itself: nobody renews it."""
        self._over.set()
        if self._heart is not None:
            self._heart.join(RENEW_EVERY)
            self._heart = None
        lease, self._lease = self._lease, None
        if lease is not None:
            _HOLDING.discard(lease.token)
        while self._held and lease is not None:
            try:
                on_the_newest(self._api, self._clock, self._held.pop(), lambda route: _given_up(route, lease))
            except ApiTrouble:
                continue

    def mine(self, route: Json) -> None:
        """Raises RouteProblem where somebody else has taken the route, or this process does not hold it."""
        found = lease_of(route)
        if self._lease is None:
            raise RouteProblem("the route is not owned by this process")
        if found is not None and found.token != self._lease.token:
            raise RouteProblem(f"another one has taken it over ({found.owner}); this process writes no more")

    def _take(self, name: str, mine: RouteLease) -> None:
        other = lease_of(self._api.get(name))
        if other is not None and other.token in _HOLDING:
            raise self._locked(name, mine, other)
        if other is not None and not gone(other):
            # A living process is no living holder: one that could not give the route up renews it no more.
            self._watch(name, mine, other)

        def taking(route: Json) -> Json:
            found = lease_of(route)
            # Renewed, or taken by a third one, since it was watched.
            if found is not None and (other is None or _renewed(found, other)):
                raise self._locked(name, mine, found)
            return patch_of(route, mine)

        on_the_newest(self._api, self._clock, name, taking)

    def _watch(self, name: str, mine: RouteLease, other: RouteLease) -> None:
        """Return when nobody renewed the lease for as long as it was promised. Raises Locked."""
        until = self._clock.monotonic() + other.seconds
        while self._clock.monotonic() < until:
            self._clock.sleep(LOOK_EVERY)
            found = lease_of(self._api.get(name))
            if found is None:
                return
            if _renewed(found, other):
                raise self._locked(name, mine, found)

    def _locked(self, name: str, mine: RouteLease, other: RouteLease) -> Locked:
        return taken(mine.owner, other.owner, self._label(name))

    def _renew(self) -> None:
        while not self._over.wait(RENEW_EVERY):
            lease = self._lease
            if lease is None:
                return
            self._lease = lease.renewed()
            for name in self._names:
                try:
                    on_the_newest(self._api, self._clock, name, self._again)
                except (ApiTrouble, RouteProblem):
                    continue  # the write that matters looks for itself whose the route is

    def _again(self, route: Json) -> Json:
        self.mine(route)
        return patch_of(route, self._lease)


def _renewed(found: RouteLease, before: RouteLease) -> bool:
    return (found.token, found.beat) != (before.token, before.beat)


def _given_up(route: Json, lease: RouteLease) -> Json | None:
    found = lease_of(route)
    return patch_of(route, None) if found is not None and found.token == lease.token else None
