"""What the page tells of, read from the files the other rooms wrote: stack.json, verdict.json, report.json.

Those files may hold more than is read here (`extra="ignore"` on purpose); what is read must be right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from huidu.foundation.errors import HuiduError
from huidu.model.stack import Stack

M = TypeVar("M", bound=BaseModel)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Milliseconds = Annotated[float | None, BeforeValidator(_finite)]


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class LoadPart(_Read):
    """Counts of visits, and latencies in ms of the `requests` they made; the whole run or one channel."""

    requests: int | None = None
    planned: int
    ok: int
    failed: int
    dropped: int = 0
    censored: int = 0
    offered_ratio: float | None = None
    p50_ms: Milliseconds = None
    p95_ms: Milliseconds = None
    p99_ms: Milliseconds = None


class Bin(_Read):
    """One time bin of the load run, counts of visits; `t`: seconds from its start."""

    t: float
    planned: float
    ok: float
    failed: float
    p95_ms: Milliseconds = None


class LoadRun(LoadPart):
    """A load run's verdict.json. `curve`: (percentile 0 to 100, ms)."""

    verdict: str
    reasons: tuple[str, ...] = ()
    channels: dict[str, LoadPart] = Field(default_factory=dict)
    curve: tuple[tuple[float, float], ...] = ()
    bins: tuple[Bin, ...] = ()


class ArmCounts(_Read):
    """Bad ones of all, of one arm."""

    total: float
    bad: float


class GatePoint(_Read):
    """One gate at one poll: evidence of harm `log_e` against its `bound` (natural logarithms)."""

    log_e: Annotated[float | None, BeforeValidator(_finite)] = None
    bound: Annotated[float | None, BeforeValidator(_finite)] = None
    harm_upper: float | None = None
    canary: ArmCounts | None = None
    baseline: ArmCounts | None = None


class Poll(_Read):
    """One line of a rollout's time line; `t`: seconds from its start, `share`: of all requests (0 to 1)."""

    t: float
    share: float
    stage: str = ""
    weights: dict[str, float] = Field(default_factory=dict)
    exposed: int | None = None
    gates: dict[str, GatePoint] = Field(default_factory=dict)
    decision: str = ""
    sentence: str = ""


class SchemaStep(_Read):
    """expand or contract: done, due (`at`), failed (`problem`), ..."""

    name: str
    standing: str
    at: str | None = None
    problem: str = ""


class Letter(_Read):
    """What people had to be told: `sent` at so many of `addresses`."""

    event: str
    emergency: bool = False
    sent: int = 0
    addresses: int = 0
    acknowledged: bool = False


class Rollout(_Read):
    """A rollout's report.json."""

    name: str
    release: str
    stable_release: str
    outcome: str
    blamed_gate: str | None = None
    sentence: str = ""
    seconds_from_start: float | None = None
    seconds_from_first_bad_request: float | None = None
    exposed_customers: int | None = None
    requests_canary: int | None = None
    requests_synthetic: int | None = None
    """Of nobody: sent before and beside customers; the gates count them."""
    timeline: tuple[Poll, ...] = ()
    customers_warning: str = ""
    """One customer made so many of the failures that the release may not be the reason."""
    schema_steps: tuple[SchemaStep, ...] = Field(default=(), alias="schema")
    letters: tuple[Letter, ...] = ()

    @property
    def emergencies(self) -> tuple[Letter, ...]:
        """Those that somebody is called for."""
        return tuple(each for each in self.letters if each.emergency and each.addresses)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that could be read; `missing` says for each thing that could not (by its name) why."""

    stack: Stack | None
    load: LoadRun | None
    rollouts: dict[str, Rollout]
    missing: dict[str, str] = field(default_factory=dict)


def gather(stack_file: Path, load_file: Path, rollouts: Path, names: Iterable[str], run: str) -> Facts:
    """Read everything of one run: the rollout `name` lies in the folder `<name>-<run>` of `rollouts`."""
    missing: dict[str, str] = {}
    stack = None
    try:
        stack = Stack.read(stack_file)
    except HuiduError as error:
        missing["stack"] = str(error)
    load = _read(load_file, LoadRun, "load", missing)
    found: dict[str, Rollout] = {}
    for name in names:
        rollout = _read(rollouts / f"{name}-{run}" / "report.json", Rollout, name, missing)
        if rollout is not None:
            found[name] = rollout
    return Facts(stack, load, found, missing)


def _read(path: Path, model: type[M], name: str, missing: dict[str, str]) -> M | None:
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        missing[name] = f"{path}: {error.strerror}"
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        missing[name] = f"{path}: {where}: {first['msg']}"
    except ValueError as error:
        missing[name] = f"{path}: {error}"
    return None
