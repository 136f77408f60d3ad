"""At the edge: ask Prometheus and read the proxy's log once, keep what they said beside the journal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from huidu.foundation.errors import HuiduError, StateError
from huidu.foundation.prometheus import NoData, Prometheus, Series
from huidu.foundation.workspace import write_atomic
from huidu.model.stack import Stack
from rollout.controller.fold import RolloutState
from rollout.failing.customers import LARGEST_FAILURES, LARGEST_REQUESTS, REQUESTS, Arm, parts, selector
from rollout.failing.facts import Failing, Part
from rollout.failing.requests import failures, shapes, spread

FILE = "failing.json"
PATIENCE = 3
"""Seconds one question to Prometheus may take."""
MOST_BYTES = 8_000_000
"""Of one file of the log, its end; the stack's own are smaller."""


def keep(folder: Path, state: RolloutState, now: float) -> None:
    """Write it down for a rollout that is over or rests. Never fails: nothing depends on it."""
    if not state.started or not (state.outcome or state.resting):
        return
    if (known := kept(folder)) is not None and known.until >= (state.ended_at if state.outcome else now):
        return  # what was known then is better than what is left of it now
    try:
        write_atomic(folder / FILE, capture(folder, state, now).model_dump_json(indent=1) + "\n")
    except OSError:
        return


def kept(folder: Path) -> Failing | None:
    """What was kept of the rollout in `folder`; None where nothing was, or it is damaged."""
    try:
        return Failing.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def capture(folder: Path, state: RolloutState, now: float) -> Failing:
    """What Prometheus and the proxy's log say now of the rollout in `folder`; never raises HuiduError."""
    until = state.ended_at or now
    seen: tuple[Part, ...] = ()
    try:
        seen = _customers(state, until)
        parts_unknown = "" if seen else "the service counts no customers"
    except HuiduError as error:
        parts_unknown = error.what
    clusters = {str(arms["candidate"]) for arms in state.started.get("arms", {}).values()}
    if entry := state.started.get("entry"):
        clusters.add(str(entry["candidate"]))
    log = _log(folder.parent.parent / "stack.json")
    if log is None:
        requests_unknown, found = "the proxy keeps no log of failed requests that is known here", []
    else:
        requests_unknown = "" if log.exists() else f"there is no {log.name}"
        found = failures(_lines(log), clusters, state.started_at, until)
    return Failing(
        since=state.started_at,
        until=until,
        parts=seen,
        parts_unknown=parts_unknown,
        count=len(found),
        requests=spread(found),
        shapes=shapes(found),
        requests_unknown=requests_unknown,
    )


def _customers(state: RolloutState, at: float) -> tuple[Part, ...]:
    address = str(state.started.get("prometheus", ""))
    if not address:
        raise StateError("the journal does not say where its Prometheus is")
    prometheus = Prometheus(address, timeout=PATIENCE)
    stable = str(state.started.get("stable_release", ""))
    releases: dict[Arm, str] = {"candidate": state.release, "stable": stable}

    def ask(metric: str) -> tuple[Series, ...]:
        found = prometheus.instant(selector(metric, releases.values()), at)
        return () if isinstance(found, NoData) else found

    asked = ask(LARGEST_REQUESTS)
    return parts(ask(REQUESTS), asked, ask(LARGEST_FAILURES), releases) if asked else ()


def _log(stack_file: Path) -> Path | None:
    try:
        return Stack.read(stack_file).edge.failures_log
    except HuiduError:
        return None


def _lines(log: Path) -> Iterator[str]:
    """The log, the older part first; its first line may be cut off."""
    for path in (log.with_name(log.name + ".1"), log):
        try:
            with path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - MOST_BYTES))
                yield from file.read(MOST_BYTES).decode("utf-8", "replace").splitlines()
        except OSError:
            continue
