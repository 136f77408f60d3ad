"""Envoy with its routes in a file (RDS over `path_config_source` with `watched_directory`).

A change is a temporary file beside the route file, renamed over it: Envoy watches the folder for renames.
It has happened when the admin address reports the new version in /config_dump, and not before; Envoy keeps
the old routes when it dislikes the new ones. Weights survive a dead controller and a restart of the proxy.
A fleet is a list of proxies, each with its own file and admin address.
"""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from huidu.foundation.clock import Clock
from huidu.foundation.errors import ConfigError, RouterError, Unreachable, UsageError
from huidu.foundation.workspace import write_atomic
from rollout.routers.envoy_admin import Admin
from rollout.routers.envoy_routes import Arms, Json, RouteProblem, read_split, route_configuration, with_split
from rollout.routers.fleet import Patience, each_of, partial, unconfirmed
from rollout.routers.router import ProxyView, RouteView, Split, Streams
from rollout.routers.taken import taken

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EnvoyProxy:
    """One proxy: the route file it watches and its admin address, with or without `http://`."""

    file: Path
    admin: str

    @property
    def url(self) -> str:
        return self.admin.rstrip("/") if "//" in self.admin else f"http://{self.admin}"


class EnvoyRouter:
    """Edits weights, salt and version of `route_config` in each proxy's file; reads back what is served."""

    def __init__(
        self,
        proxies: Sequence[EnvoyProxy],
        route_config: str,
        cohorts: Mapping[str, Arms],
        clock: Clock,
        confirm_within: float = 10.0,
    ) -> None:
        self._proxies = tuple(proxies)
        self._route_config = route_config
        self._cohorts = dict(cohorts)
        self._clock = clock
        self._confirm_within = confirm_within
        self._locks: list[FileLock] = []
        self._admin = Admin()

    def acquire(self, owner: str) -> None:
        """Lock every route file, in the order of their paths: two controllers cannot hold half each."""
        for path in sorted({proxy.file for proxy in self._proxies}):
            lock = FileLock(_lock_file(path), timeout=0, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                self.release()
                raise taken(owner, _owner(path), str(path)) from None
            except OSError as error:
                self.release()
                raise RouterError(
                    f"the route file cannot be locked: {error.strerror}",
                    where=str(path),
                    remedy="check the folder",
                ) from None
            self._locks.append(lock)
            with contextlib.suppress(OSError):  # a full disk: the name is for people, and the lock holds
                _lock_file(path).write_text(owner + "\n", encoding="utf-8")

    def release(self) -> None:
        while self._locks:
            self._locks.pop().release()

    def check(self) -> None:
        try:
            self._check()
        except Unreachable as silent:
            raise UsageError(silent.what, where=silent.where, remedy=silent.remedy) from None

    def _check(self) -> None:
        for proxy in self._proxies:
            try:
                read_split(route_configuration(self._document(proxy), self._route_config), self._cohorts, "")
            except RouteProblem as problem:
                raise ConfigError(str(problem), file=proxy.file, remedy="the plan's route names it") from None
            try:
                configuration, version = self._admin.routes(proxy.url, self._route_config)
                read_split(configuration, self._cohorts, version)
                self._check_clusters(proxy)
            except RouteProblem as problem:
                raise ConfigError(
                    str(problem),
                    file=f"{proxy.url}/config_dump",
                    remedy="the plan's route names it, and the proxy must serve it",
                ) from None

    def look(self) -> RouteView:
        return RouteView(tuple(self._each(self._view)))

    def reserve(self, split: Split) -> None:
        for proxy in self._proxies:
            try:
                write_atomic(_reserve_file(proxy.file), self._text(proxy, split), _mode(proxy.file))
            except (OSError, RouteProblem, ConfigError) as error:
                raise RouterError(
                    f"the way back cannot be prepared: {_why(error)}",
                    where=str(proxy.file),
                    remedy="check the route file, its folder, and the space on its disk",
                ) from None

    def write(self, split: Split) -> None:
        failed = []
        for proxy in self._proxies:
            try:
                self._write_one(proxy, split)
            except (OSError, RouteProblem, ConfigError) as error:
                failed.append(f"{proxy.file}: {_why(error)}")
        if failed:
            raise _partial("the route file was not written", failed, len(self._proxies))

    def confirm(self, split: Split) -> None:
        problems = [
            problem for problem in self._each(lambda proxy: self._confirm_one(proxy, split)) if problem
        ]
        if problems:
            raise _partial("the new weights are not confirmed", problems, len(self._proxies))

    def streams(self) -> tuple[Streams, ...]:
        names = [arms.candidate for arms in self._cohorts.values()]
        return tuple(self._each(lambda proxy: self._admin.streams(proxy.url, names)))

    # one proxy

    def _write_one(self, proxy: EnvoyProxy, split: Split) -> None:
        try:
            write_atomic(proxy.file, self._text(proxy, split), _mode(proxy.file))
        except (OSError, ConfigError, RouteProblem):
            # No full disk keeps customers on a bad release, and no route file that is gone or was made into
            # something else: the way back lies ready.
            if not self._is_reserved(proxy, split):
                raise
            _reserve_file(proxy.file).rename(proxy.file)

    def _is_reserved(self, proxy: EnvoyProxy, split: Split) -> bool:
        try:
            document = _read_json(_reserve_file(proxy.file))
            kept = read_split(route_configuration(document, self._route_config), self._cohorts, "")
        except (OSError, RouteProblem, ValueError):
            return False
        return kept.same_traffic(split) and document.get("version_info") == split.version

    def _text(self, proxy: EnvoyProxy, split: Split) -> str:
        changed = with_split(self._document(proxy), self._route_config, self._cohorts, split)
        return json.dumps(changed, indent=2, ensure_ascii=False) + "\n"

    def _document(self, proxy: EnvoyProxy) -> Json:
        try:
            return _read_json(proxy.file)
        except FileNotFoundError:
            raise ConfigError(
                "the route file is missing", file=proxy.file, remedy="check the plan's route"
            ) from None
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the route file cannot be read: {_why(error)}",
                file=proxy.file,
                remedy="check the plan's route",
            ) from None

    def _view(self, proxy: EnvoyProxy) -> ProxyView:
        served = written = None
        read, problem = True, ""
        try:
            document = self._document(proxy)
            version = str(document.get("version_info", ""))
            written = read_split(route_configuration(document, self._route_config), self._cohorts, version)
            read = False  # A proxy that has just started has no such routes yet.
            configuration, version = self._admin.routes(proxy.url, self._route_config)
            read = True
            served = read_split(configuration, self._cohorts, version)
        except RouteProblem as error:
            return ProxyView(proxy.url, served, written, str(error), foreign=read)
        except (ConfigError, Unreachable) as error:
            problem = str(error).splitlines()[0]
        return ProxyView(proxy.url, served, written, problem)

    def _confirm_one(self, proxy: EnvoyProxy, split: Split) -> str:
        def takes(served: Split) -> bool:
            return served.version == split.version and served.same_traffic(split)

        patience = Patience(self._confirm_within, first_pause=0.002, longest_pause=0.2)  # it takes about 3 ms
        view = unconfirmed(lambda: self._view(proxy), takes, patience, self._clock)
        if view is None:
            return ""
        seen = view.problem or f"still serves version {view.served.version if view.served else '?'}"
        refused = self._admin.rejected(proxy.url, self._route_config)
        why = f" (Envoy rejected {refused} updates of these routes; its log says why)" if refused else ""
        return f"{proxy.url}: {seen} after {self._confirm_within:.0f} s{why}"

    def _check_clusters(self, proxy: EnvoyProxy) -> None:
        known = self._admin.clusters(proxy.url)
        for arms in self._cohorts.values():
            for cluster in arms.clusters:
                if cluster not in known:
                    raise RouteProblem(
                        f"no cluster {cluster!r} (there: {', '.join(sorted(known)) or 'none'})"
                    )

    def _each(self, work: Callable[[EnvoyProxy], T]) -> list[T]:
        return each_of(self._proxies, work, most=16)


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _reserve_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.all-stable")


def _mode(path: Path) -> int:
    """A route file may carry a secret: who could not read it before cannot afterwards."""
    return stat.S_IMODE(path.stat().st_mode)


def _owner(path: Path) -> str:
    try:
        return _lock_file(path).read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"


def _why(error: Exception) -> str:
    """Without the file, which is said already."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.what if isinstance(error, ConfigError) else str(error)


def _read_json(path: Path) -> Json:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _partial(what: str, failed: list[str], of: int) -> RouterError:
    return partial(what, failed, of, "proxies", "look at the proxy, then run the rollout again")
