"""What a worker needs beside the plan, wherever it comes from: this machine's files, or the link."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtests.filling import read_rows
from loadtests.plan import Plan


@dataclass(frozen=True, slots=True)
class Supplies:
    """What a worker needs beside the plan. `rows`: its own of the test data; `key`: what the file of the
    tokens' key holds, None: read it; `environment`: where placeholders are looked up."""

    rows: tuple[Mapping[str, str], ...] = ()
    key: bytes | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @classmethod
    def here(cls, plan: Plan, worker: int) -> Supplies:
        """From the files and the environment of this machine. Raises ConfigError."""
        rows = read_rows(plan.data.csv) if plan.data else []
        return cls(tuple(rows[worker :: plan.workers]))
