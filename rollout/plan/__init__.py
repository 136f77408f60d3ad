"""The plan of a release: what its YAML document says, and what the judge and the ladder make of it.

The whole document is `model.Plan`; its parts lie beside it (`gates`, `route`, `deploy`, `people`). `file`
reads one and complains with file and line; `*_check` and `sound` hold the parts against each other and
against the stack. The plans that ship are YAML files in `rollout/plans`.
"""

from __future__ import annotations

from rollout.plan.deploy import Command
from rollout.plan.gates import Gate, Metrics
from rollout.plan.model import (
    TESTERS,
    Compared,
    Entry,
    Journey,
    Plan,
    Rollback,
    Synthetic,
    compared_with,
    gate_spec,
    judge_config,
    ladder_of,
)
from rollout.plan.route import CohortArms, Route

__all__ = [
    "TESTERS",
    "CohortArms",
    "Command",
    "Compared",
    "Entry",
    "Gate",
    "Journey",
    "Metrics",
    "Plan",
    "Rollback",
    "Route",
    "Synthetic",
    "compared_with",
    "gate_spec",
    "judge_config",
    "ladder_of",
]
