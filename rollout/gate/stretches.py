"""Over which stretch of time the gate looks, and at which Prometheus: from what was typed."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.clock import Clock
from huidu.foundation.document import parse_duration
from huidu.foundation.errors import UsageError
from huidu.foundation.prometheus import Prometheus
from huidu.foundation.workspace import Workspace
from huidu.model.slo import load_objectives
from huidu.model.stack import Stack
from rollout.gate.findings import Finding
from rollout.gate.slos import Stretch, slo_finding
from rollout.gate.sources import load_facts

WINDOW = "window"
TIMEOUT = 20.0
"""Seconds for one question: a long stretch holds many samples."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`over`: a duration or `window`; `until`: a time; `during`: a load run; `prometheus`: an address."""

    over: str
    until: str | None
    during: str | None
    prometheus: str | None

    def of(self, workspace: Workspace, clock: Clock, window: float | None) -> Stretch:
        """The stretch; `window`: of the objective, where one is asked about. Raises UsageError."""
        if self.during is not None:
            return _run(self.during, workspace)
        end = clock.now() if self.until is None else _moment(self.until)
        if self.over == WINDOW:
            if window is None:
                raise UsageError("--over window: nothing here has a window of its own", remedy="say how long")
            return Stretch(end - window, end, whole=True)
        try:
            seconds = float(parse_duration(self.over))
        except (TypeError, ValueError) as error:
            raise UsageError(f"--over: {error}, or `{WINDOW}`") from None
        return Stretch(end - seconds, end, whole=window is not None and abs(seconds - window) < 1.0)

    def address(self, known: str, workspace: Workspace) -> str:
        """Of Prometheus. Raises UsageError, ConfigError."""
        if self.prometheus or known:
            return self.prometheus or known
        if workspace.stack_file.exists():
            return Stack.read(workspace.stack_file).prometheus
        raise UsageError(
            "where is Prometheus?",
            remedy="--prometheus URL, or a DataSource with connectionDetails: {url: ...}",
        )


def slo_findings(
    files: Iterable[Path], asked: Asked, dispersion: float, workspace: Workspace, clock: Clock
) -> list[Finding]:
    """One per objective. Raises ConfigError, UsageError, Unreachable."""
    found = []
    for each in load_objectives(files):
        prometheus = Prometheus(asked.address(each.address, workspace), timeout=TIMEOUT)
        over = asked.of(workspace, clock, each.window)
        found.append(slo_finding(each, prometheus, over, dispersion))
    return found


def _run(which: str, workspace: Workspace) -> Stretch:
    name, facts = load_facts(which, workspace)
    try:
        start = datetime.datetime.fromisoformat(str(facts["started"])).timestamp()
        seconds = float(facts["duration"])
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"the load run {name!r} does not say when it ran") from None
    return Stretch(start, start + seconds)


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(
            f"--until {text!r} is no time", remedy="2026-11-21T10:00:00Z, or Unix seconds"
        ) from None
