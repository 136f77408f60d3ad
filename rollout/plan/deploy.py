"""The part of a plan that is about more than traffic: deploy commands, capacity, data and schema steps."""

from __future__ import annotations

from pydantic import Field

from huidu.foundation.document import Duration, Rate, Share
from rollout.plan.gates import PlanPart


class Command(PlanPart):
    """A command (a list, no shell) with its time limit; it must do no harm when it is run twice."""

    run: tuple[str, ...] = Field(min_length=1)
    timeout: Duration = Field(default=600.0, gt=0)


class Capacity(PlanPart):
    """What the candidate must be able to carry before a share opens: share x `peak` x (1 + `head_room`).

    `ready`: a PromQL expression, the number of ready replicas; the values of all its series are added up, and
    each replica carries `per_replica` requests a second. Held when it is not there within `longest`.
    """

    peak: Rate = Field(gt=0)
    head_room: Share = 0.3
    ready: str = Field(min_length=1)
    per_replica: Rate = Field(gt=0)
    longest: Duration = Field(default=900.0, gt=0)


class Deploy(PlanPart):
    """Commands around the traffic. `start`: the candidate, before stage 0. `scale`: the candidate, before
    each step. `promote`: makes the stable arm the candidate's version while the candidate serves everybody;
    afterwards traffic returns to stable. Left out: the candidate keeps all traffic. `stop`: the candidate,
    when stable serves everybody and it is over. None of them makes stable smaller before `promote`.
    """

    start: Command | None = None
    scale: Command | None = None
    capacity: Capacity | None = None
    promote: Command | None = None
    stop: Command | None = None


class DataStep(PlanPart):
    """One data or schema step of a way back: `run`, then `verify` (exit code 0); where either fails, `undo`.
    `timeout`: of each of the three."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]*$")
    run: tuple[str, ...] = Field(min_length=1)
    verify: tuple[str, ...] = Field(min_length=1)
    undo: tuple[str, ...] = ()
    timeout: Duration = Field(default=600.0, gt=0)


class Prepared(PlanPart):
    """Runbooks that must have come out well within the last `within`, or the rollout does not start."""

    within: Duration = Field(gt=0)
    runbooks: tuple[str, ...] = Field(min_length=1)


class SchemaChange(PlanPart):
    """`expand`: adds what the new release needs, before stage 0; the old one must bear it, for it stays
    after a rollback. `contract`: removes what only the old release needed, `wait` after the promotion."""

    expand: Command
    contract: Command | None = None
    wait: Duration = Field(default=7 * 86400.0, ge=0)
