"""The memory of the target's processes, as its Prometheus saw it during the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from huidu.foundation.errors import HuiduError
from huidu.foundation.prometheus import NoData, Prometheus
from huidu.foundation.workspace import write_atomic

# Python's and Go's clients say the first, Envoy the second.
SELECTOR = '{__name__=~"process_resident_memory_bytes|envoy_server_memory_allocated"}'
FILE = "memory.json"
# Prometheus refuses windows with too many samples; a soak's trend needs few.
_MOST_SAMPLES = 500


class Memory(BaseModel):
    """One process: (seconds since the window began, bytes)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    samples: list[tuple[float, float]]


_MANY = TypeAdapter(list[Memory])


def fetch(prometheus: Prometheus, seconds: float, end: float) -> list[Memory]:
    """Every process Prometheus knows over the `seconds` before `end` (Unix). Raises HuiduError."""
    found = prometheus.window(SELECTOR, seconds, at=end)
    if isinstance(found, NoData):
        return []
    every = []
    for series in found:
        name = "/".join(
            series.labels[key] for key in ("component", "job", "instance") if key in series.labels
        )
        step = math.ceil(len(series.samples) / _MOST_SAMPLES)
        thinned = [(round(t - end + seconds, 3), value) for t, value in series.samples[::step]]
        every.append(Memory(name=name or "process", samples=thinned))
    return every


def keep(folder: Path, prometheus: str | None, seconds: float, end: float) -> str:
    """Write what the Prometheus at this address (None: there is none) knows into the run's folder; returns
    what a person should know about it."""
    memory: Sequence[Memory] = ()
    said = "the target's memory is not watched: no Prometheus is known"
    if prometheus is not None:
        try:
            memory = fetch(Prometheus(prometheus), seconds, end)
            said = f"the memory of {len(memory)} of the target's processes is known"
        except HuiduError as error:
            said = f"the target's memory is not known: {error}"
    write_atomic(folder / FILE, _MANY.dump_json(list(memory)).decode() + "\n")
    return said


def read(folder: Path) -> list[Memory]:
    """What `keep` wrote; nothing where it did not."""
    file = folder / FILE
    return _MANY.validate_json(file.read_text(encoding="utf-8")) if file.is_file() else []
