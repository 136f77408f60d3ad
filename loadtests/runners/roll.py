"""Who takes part in a run from elsewhere, and what has come back from each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from loadtests.clocks import Clock
from loadtests.health import WorkerEnd
from loadtests.runners.messages import MOST_BYTES


class Status(BaseModel):
    """`status.json`: where the run listens, who came, who was refused, whether all stand at the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    page: str
    came: list[str]
    refused: list[str]
    ready: bool
    stopped: str


@dataclass(slots=True)
class Member:
    """One worker elsewhere. `have`: bytes of its recording that are here, always from its beginning."""

    node: str
    index: int
    who: str
    file: Path
    ready: bool = False
    standing: bool = False
    lost: str = ""
    have: int = 0
    complete: bool = False
    clock: Clock = field(default_factory=Clock)
    heard: float = field(default_factory=time.monotonic)

    def take(self, offset: int, fresh: bytes, total: int | None) -> None:
        """Append what follows on what is here; what is here already, or comes too early, is asked again."""
        if offset == self.have and fresh and self.have + len(fresh) <= MOST_BYTES:
            with self.file.open("ab") as stream:
                stream.write(fresh)
            self.have += len(fresh)
        self.complete = total is not None and self.have >= total

    def end(self) -> WorkerEnd:
        """How it ended."""
        note = self.lost or ("" if self.complete else "its recording did not come back whole")
        return WorkerEnd(self.index, 0 if self.complete else None, note, self.who, self.clock)
