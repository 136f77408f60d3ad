"""What is well written in a plan and yet can never do what it says: refused before it begins.

Rollouts that have begun with such a plan go on with it: only a new one is refused.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huidu.foundation.document import line_in
from huidu.foundation.errors import ConfigError
from rollout.people import check_tokens
from rollout.plan.deploy_check import commands
from rollout.plan.file import found_plan
from rollout.plan.model import Plan
from rollout.plan.people import DAYS, Window

LONGEST = 100 * 365 * 86400.0
"""Seconds: what is to happen after a hundred years never happens."""
_NO_TIMES = ("limit", "edges", "dispersion", "weight", "tolerated_ratio", "promotion_ratio", "peak")
_LINK = ("name",)
_WHOLE_DAY = 24 * 60

Loc = tuple[str | int, ...]
Problem = tuple[Loc, str]


def unsound(plan: Plan) -> Iterator[Problem]:
    """Every problem with the key that has it. Pure."""
    if not plan.name.strip():
        yield ("name",), "expected a name: letters and the journal call the plan by it"
    yield from _numbers(plan.model_dump(by_alias=True), ())
    for name in re.findall(r"\{([^{}]*)\}", plan.link):
        if name not in _LINK:
            yield ("link",), f"nothing stands for {{{name}}} here: expected {{{_LINK[0]}}}"
    whole = {day for window in plan.freeze.windows for day in _whole_days(window)}
    if whole == {*DAYS}:
        text = "freezes every day of the week, all day and for ever: nothing could ever widen"
        yield ("freeze", "windows"), text


def _numbers(value: Any, loc: Loc) -> Iterator[Problem]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _numbers(each, (*loc, key))
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from _numbers(each, (*loc, number))
    elif isinstance(value, float) and not math.isfinite(value):
        yield loc, f"{value} is no bound that anything could ever exceed: expected a finite number"
    elif isinstance(value, float) and value > LONGEST and not {*_NO_TIMES} & {*loc}:
        yield loc, f"{value / 86400:.3g} days never pass: expected less than a hundred years"


def _whole_days(window: Window) -> tuple[str, ...]:
    if window.dates is not None or window.hours not in (None, (0, _WHOLE_DAY)):
        return ()
    return window.days or DAYS


def refuse_unsound(plan: Plan, path: Path) -> None:
    """Raises ConfigError with file and line. `path`: as it was given, also the name of one that ships."""
    for loc, text in unsound(plan):
        _refuse(path, loc, text)


def refuse_lacking(plan: Plan, path: Path) -> None:
    """That programs and secret files which the plan names are here, and fit. Raises ConfigError."""
    if plan.people.tokens is not None and plan.people.tokens.exists():
        check_tokens(plan.people.tokens)
    # As deploy commands are found when they run: a plan's `huidu` is the one that runs this.
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    for loc, parts, _ in commands(plan):
        if parts and "{" not in parts[0] and shutil.which(parts[0], path=beside) is None:
            where = "no such program can be run" if os.sep in parts[0] else "no such program is on PATH"
            _refuse(path, (*loc, 0), f"{parts[0]!r}: {where}")


def _refuse(path: Path, loc: Loc, text: str) -> None:
    file = found_plan(path)
    line = line_in(file.read_text(encoding="utf-8"), loc)
    raise ConfigError(f"{'.'.join(map(str, loc))}: {text}", file=file, line=line)
