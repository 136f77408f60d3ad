"""What the counters last showed: all that is remembered between two looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from huidu.foundation.errors import StateError


@dataclass(frozen=True, slots=True)
class Target:
    """The last scrape of one target that was counted (Unix seconds), and the value of every series in it."""

    t: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Memory:
    """What one arm's counters last showed, by target."""

    targets: Mapping[str, Target] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """What the counters of both arms of one gate and stratum last showed."""

    canary: Memory = Memory()
    baseline: Memory = Memory()
    end: float | None = None
    """End of the last interval, where the next one begins."""

    def to_json(self) -> str:
        """As text, for `Pair.from_json`."""
        return json.dumps({"canary": _plain(self.canary), "baseline": _plain(self.baseline), "end": self.end})

    @classmethod
    def from_json(cls, text: str) -> Pair:
        """Raises StateError where the text is not what `to_json` wrote."""
        try:
            raw = json.loads(text)
            end = None if raw["end"] is None else float(raw["end"])
            return cls(_memory(raw["canary"]), _memory(raw["baseline"]), end)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(
                f"remembered counters are damaged ({error})",
                remedy="remove them: counting starts again from here",
            ) from error


def _plain(memory: Memory) -> dict[str, object]:
    return {name: {"t": target.t, "values": dict(target.values)} for name, target in memory.targets.items()}


def _memory(raw: Mapping[str, Mapping[str, object]]) -> Memory:
    targets = {}
    for name, target in raw.items():
        t, values = target["t"], target["values"]
        if not isinstance(t, int | float) or not isinstance(values, Mapping):
            raise TypeError(f"target {name}")
        targets[name] = Target(float(t), {str(key): float(value) for key, value in values.items()})
    return Memory(targets)
