"""HTTPRoutes of the Kubernetes Gateway API: any gateway that implements it is the proxy.

A change is a patch that names the resourceVersion of the route it was computed from: what somebody else wrote
meanwhile is never lost (409: read again, think again). It has happened when every parent gateway reports the
new generation as Accepted and ResolvedRefs, and not before. Traffic that somebody else moved since the
controller last looked is not written over, except to give everybody back to stable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError, RouterError, UsageError
from rollout.routers.envoy_routes import Arms, RouteProblem
from rollout.routers.fleet import Patience, each_of, partial, unconfirmed
from rollout.routers.gateway_api_cluster import ApiTrouble, HttpRoutes
from rollout.routers.gateway_api_holding import Holding, on_the_newest
from rollout.routers.gateway_api_lease import new_lease, patch_of
from rollout.routers.gateway_api_routes import Strategy, change, outranked, read_split, with_split
from rollout.routers.gateway_api_status import untaken
from rollout.routers.router import WHOLE, ProxyView, RouteView, Split, Streams

T = TypeVar("T")
Json = dict[str, Any]
_UNSEEN = object()


class GatewayApiRouter:
    """Edits the cohorts' rules in each HTTPRoute of `names`; reads back what the gateways have taken."""

    def __init__(
        self,
        api: HttpRoutes,
        namespace: str,
        names: Sequence[str],
        cohorts: Mapping[str, Arms],
        strategy: Strategy,
        clock: Clock,
        confirm_within: float = 10.0,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._names = tuple(names)
        self._cohorts = dict(cohorts)
        self._strategy = strategy
        self._clock = clock
        self._confirm_within = confirm_within
        self._holding = Holding(api, clock, self._names, self._label)
        self._seen: dict[str, object] = {}

    def acquire(self, owner: str) -> None:
        self._holding.acquire(owner)

    def release(self) -> None:
        self._holding.release()

    # looking

    def check(self) -> None:
        for name in self._names:
            with self._refusing(name):
                route = self._api.get(name)
                read_split(route, self._cohorts, self._strategy)
                for problem in outranked(route, self._cohorts, self._strategy):
                    raise RouteProblem(problem)
                if waiting := untaken(route):
                    raise RouteProblem(waiting)
                self._try_patch(name, route)

    def look(self) -> RouteView:
        views = tuple(self._each(self._view))
        for name, view in zip(self._names, views, strict=True):
            # What could not be read just now was not seen; what can be read but makes no split was.
            if view.written is not None or not view.problem.startswith(_SILENT):
                self._seen[name] = view.written
        return RouteView(views)

    def streams(self) -> tuple[Streams, ...]:
        """The Gateway API does not tell them."""
        return tuple(Streams(self._label(name), problem="a gateway does not tell") for name in self._names)

    def _view(self, name: str) -> ProxyView:
        label = self._label(name)
        try:
            route = self._api.get(name)
        except ApiTrouble as trouble:
            return ProxyView(label, problem=f"{_SILENT}{trouble}")
        try:
            written = read_split(route, self._cohorts, self._strategy)
        except RouteProblem as problem:
            return ProxyView(label, problem=str(problem), foreign=True)
        waiting = untaken(route)
        return ProxyView(label, None if waiting else written, written, waiting)

    # writing

    def reserve(self, split: Split) -> None:
        """Nothing is kept: the API server is asked, in a dry run, whether it would take the way back."""
        for name in self._names:
            try:
                route = self._api.get(name)
                self._api.patch(name, change(route, self._with(route, split)), dry_run=True)
            except (ApiTrouble, RouteProblem) as trouble:
                if isinstance(trouble, ApiTrouble) and trouble.kind == "conflict":
                    continue
                raise RouterError(
                    f"the way back cannot be prepared: {trouble}",
                    where=self._label(name),
                    remedy=getattr(trouble, "remedy", ""),
                ) from None

    def write(self, split: Split) -> None:
        failed, remedies = [], []
        for name in self._names:
            try:
                self._write_one(name, split)
                self._seen[name] = split
            except (ApiTrouble, RouteProblem) as trouble:
                failed.append(f"{self._label(name)}: {trouble}")
                remedies.append(getattr(trouble, "remedy", ""))
        if failed:
            raise _partial("the route was not written", failed, len(self._names), "".join(remedies[:1]))

    def confirm(self, split: Split) -> None:
        problems = [problem for problem in self._each(lambda name: self._confirm_one(name, split)) if problem]
        if problems:
            raise _partial("the new weights are not confirmed", problems, len(self._names), "")

    def _write_one(self, name: str, split: Split) -> None:
        def think(route: Json) -> Json:
            self._holding.mine(route)
            if not split.all_stable:
                self._as_seen(name, route, split)
            return change(route, self._with(route, split))

        on_the_newest(self._api, self._clock, name, think)

    def _as_seen(self, name: str, route: Json, split: Split) -> None:
        """Nobody moved traffic since the controller looked. Raises RouteProblem."""
        seen = self._seen.get(name, _UNSEEN)
        try:
            now: Split | None = read_split(route, self._cohorts, self._strategy)
        except RouteProblem as problem:
            if seen is not _UNSEEN and seen is not None:
                raise RouteProblem(f"somebody else changed it: {problem}") from None
            now = None
        if seen is _UNSEEN or (now is None and seen is None):
            return
        if now is None or not (_alike(now, seen) or _alike(now, split)):
            made = "unreadable" if now is None else _told(now)
            raise RouteProblem(f"somebody else changed it to {made} after it was looked at; not written over")

    def _with(self, route: Json, split: Split) -> Json:
        return with_split(route, self._cohorts, self._strategy, split)

    def _confirm_one(self, name: str, split: Split) -> str:
        def takes(served: Split) -> bool:
            return served.version == split.version and _alike(served, split)

        patience = Patience(self._confirm_within, first_pause=0.05, longest_pause=0.5)
        view = unconfirmed(lambda: self._view(name), takes, patience, self._clock)
        if view is None:
            return ""
        seen = view.problem or f"it bears version {view.written.version if view.written else '?'!r}"
        return f"{view.name}: {seen} after {self._confirm_within:.0f} s"

    def _try_patch(self, name: str, route: Json) -> None:
        """Ask whether it would be allowed to write."""
        try:
            self._api.patch(name, patch_of(route, new_lease("check")), dry_run=True)
        except ApiTrouble as trouble:
            if trouble.kind != "conflict":
                raise

    @contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        try:
            yield
        except RouteProblem as problem:
            remedy = "the plan's route names it, and a gateway must have taken it"
            raise ConfigError(str(problem), file=self._label(name), remedy=remedy) from None
        except ApiTrouble as trouble:
            raise UsageError(trouble.what, where=self._label(name), remedy=trouble.remedy) from None

    def _label(self, name: str) -> str:
        return f"httproute {self._namespace}/{name}"

    def _each(self, work: Callable[[str], T]) -> list[T]:
        return each_of(self._names, work, most=8)


_SILENT = "not read: "


def _alike(one: Split, other: object) -> bool:
    """Whether both send every customer to the same arm; where nobody is sent there, by whatever salt."""
    if not isinstance(other, Split):
        return False
    nobody = not any(one.weights.values()) and not any(other.weights.values())
    return one.same_traffic(other) or (nobody and dict(one.fresh) == dict(other.fresh))


def _told(split: Split) -> str:
    return ", ".join(f"{cohort} {weight * 100 / WHOLE:.4g} %" for cohort, weight in split.weights.items())


def _partial(what: str, failed: list[str], of: int, remedy: str) -> RouterError:
    remedy = remedy or "look at the HTTPRoute and its gateway, then run the rollout again"
    return partial(what, failed, of, "routes", remedy)
