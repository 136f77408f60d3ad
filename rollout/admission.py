"""Whether a rollout that was asked for may start, or go on: said before any traffic moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.errors import ConfigError, StateError, UsageError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.controller.fold import RolloutState
from rollout.controller.hearing import EDITED
from rollout.folder import journaled_plan
from rollout.judge.state import VERSION as JUDGE_VERSION
from rollout.plan import Plan
from rollout.plan.file import plan_hash, plan_text
from rollout.target import Target


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line."""

    plan: Path
    release: str
    name: str
    adopt: bool = False
    guard: bool = False
    """Whether a guard is started beside it, which outlives it."""


def resumable(order: Order, known: RolloutState, text: str, terminal: Terminal) -> Plan:
    """The plan that an unfinished rollout goes on with: the journaled one. `text`: of the plan as it is now.
    Raises UsageError (over, of another release), StateError (judged by another version of the judge)."""
    check_goes_on(order.name, order.release, known)
    if known.started["judge_version"] != JUDGE_VERSION:
        raise StateError(
            f"it began with version {known.started['judge_version']} of the judge, this is {JUDGE_VERSION}",
            remedy="finish it with the huidu that began it, or `huidu rollout abort` it; nothing was changed",
        )
    if plan_hash(text) == known.edited:  # of another text the controller says and journals it
        terminal.say(f"note: {EDITED}", "yellow")
    return journaled_plan(known)[0]


def on_file(path: Path, text: str) -> Callable[[], str]:
    """Says the hash of the plan that `path` holds, which was `text` a moment ago; "" where that is not known.

    A text counts when two looks in a row saw it: an editor may be in the middle of writing."""
    before = plan_hash(text)

    def look() -> str:
        nonlocal before
        try:
            now = plan_hash(plan_text(path))
        except (OSError, UnicodeDecodeError):
            return ""
        settled, before = now == before, now
        return now if settled else ""

    return look


def check_goes_on(name: str, release: str, known: RolloutState) -> None:
    """A rollout of that name can go on with that release. Raises UsageError (over, of another release)."""
    if known.outcome:
        raise UsageError(
            f"the rollout {name!r} is over ({known.outcome})",
            remedy="give the next one another name: --name NAME",
        )
    if known.release != release:
        raise UsageError(
            f"the rollout {name!r} is of release {known.release!r}, not {release!r}",
            remedy=f"resume it with --release {known.release}, or give --name NAME",
        )


def check_stopped(order: Order, plan: Plan, known: RolloutState, workspace: Workspace) -> None:
    """After a retreat the candidate may have been stopped, so that what it still served ended. Raises
    UsageError: it does not run again yet."""
    if not known.stopped_at or plan.deploy.start is not None or plan.route.router != "stack":
        return
    if Target.of(plan, workspace.stack_file).candidate != order.release:
        raise UsageError(
            f"{order.release} was stopped after the retreat, so that what it still served ended",
            remedy=f"start it again first: huidu stack release {order.release}; or abort the rollout",
        )


def check_new(order: Order, plan: Plan, target: Target) -> None:
    """Both arms run what was asked for, and can be told apart. Raises UsageError, ConfigError."""
    if not plan.stages:
        raise ConfigError(
            "the plan has no stages", file=order.plan, expected="stages: [{name: ..., weights: ...}]"
        )
    starts = plan.deploy.start is not None  # also in the place of one that nobody is sent to
    if plan.route.router == "stack" and not starts:
        check_candidate(order.release, target)
    if plan.baseline == "fresh":
        _check_baseline(order, plan, target)
    check_apart(order.release, target.stable_release)


def check_candidate(release: str, target: Target) -> None:
    """The stack's candidate arm runs `release`. Raises UsageError."""
    if target.candidate != release:
        runs = f"runs {target.candidate!r}" if target.candidate else "is not running"
        raise UsageError(
            f"the candidate arm {runs}, not {release!r}",
            remedy=f"start it first: huidu stack release {release}",
        )


def check_apart(release: str, stable: str) -> None:
    """Both arms are of different releases. Raises UsageError."""
    if release == stable:
        raise UsageError(
            f"stable already is {release!r}: its metrics could not be told apart",
            remedy="release another version",
        )


def _check_baseline(order: Order, plan: Plan, target: Target) -> None:
    lacking = [name for name, arms in target.cohorts.items() if not arms.fresh]
    if lacking:
        raise ConfigError(
            f"cohort {lacking[0]!r} has no cluster for a fresh baseline",
            expected="`fresh`: a cluster of a new process of stable, last in the route's weighted list",
            remedy="add it, or leave `baseline: fresh` out of the plan; nothing was changed",
        )
    if plan.route.router == "stack" and target.fresh_release != target.stable_release:
        runs = f"runs {target.fresh_release!r}" if target.fresh_release else "is not running"
        raise UsageError(
            f"the fresh baseline {runs}; the plan needs one of {target.stable_release!r}",
            remedy=f"start both anew: huidu stack release {order.release} --baseline",
        )
