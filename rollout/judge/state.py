"""What the judge remembers between polls: arrays, nothing else. Its size does not grow with the rollout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from huidu.foundation.errors import StateError
from rollout.judge.arrays import Bools, Floats

VERSION = 1


@dataclass(frozen=True, slots=True)
class GateState:
    """One gate. Axes as in arrays.py; P are the parts of combine.py, J differs by form.

    `compare`, `floor`: log accumulators of the comparison and of the absolute limit (B, P, J).
    `harm`: evidence against every excess (B, 2, D), over everything and since the last step.
    `no_worse`: of form h (B, 2, J), likewise.
    `past_n`, `past_x`: all that was ever seen of the baseline; foresees its rate.
    `n_c` .. `x_b`: sums over the intervals that were used.
    `pending`: requests in flight beyond stable's, now (B,). `block`: of gauges, the block that is not over
    yet (B, S, 4).
    `seen`, `excluded`, `step_c`, `step_b`: intervals, and requests of both arms, since the last step (B,).
    `elapsed`: seconds of evidence so far, used or not; `last`: end of the last interval; `usable`: end of the
    last one with requests in both arms (None before). `elapsed` never runs backwards: it measures out the
    weights of late onset, which must sum to 1 whatever the clock does.
    """

    edges: tuple[float, ...]
    compare: Floats | None
    floor: Floats | None
    harm: Floats | None
    no_worse: Floats | None
    past_n: Floats
    past_x: Floats
    n_c: Floats
    x_c: Floats
    n_b: Floats
    x_b: Floats
    pending: Floats
    block: Floats | None
    seen: Floats
    excluded: Floats
    step_c: Floats
    step_b: Floats
    elapsed: float
    last: float
    usable: float | None

    def only(self, kept: Bools) -> GateState:
        """Of those rollouts alone."""
        cut: dict[str, Any] = {
            part.name: value[kept]
            for part in dataclasses.fields(GateState)
            if isinstance(value := getattr(self, part.name), np.ndarray)
        }
        return dataclasses.replace(self, **cut)


@dataclass(frozen=True, slots=True)
class State:
    """All gates of `batch` rollouts, and the candidate's share in the last interval (B,)."""

    batch: int
    share: Floats
    gates: Mapping[str, GateState] = field(default_factory=dict)

    def only(self, kept: Bools) -> State:
        """Of those rollouts alone, `kept` (batch,)."""
        gates = {name: gate.only(kept) for name, gate in self.gates.items()}
        return State(int(kept.sum()), self.share[kept], gates)

    def to_json(self) -> str:
        """As text; `State.from_json` gives back the same bits."""
        gates = {
            name: {part.name: _plain(getattr(gate, part.name)) for part in dataclasses.fields(GateState)}
            for name, gate in self.gates.items()
        }
        return json.dumps({"v": VERSION, "batch": self.batch, "share": self.share.tolist(), "gates": gates})

    @classmethod
    def from_json(cls, text: str) -> State:
        """Raises StateError where the text was not written by this version."""
        try:
            raw = json.loads(text)
            if raw["v"] != VERSION:
                raise StateError(
                    f"the judge's state has version {raw['v']}, not {VERSION}",
                    remedy="replay the evidence file",
                )
            gates = {name: _gate(gate) for name, gate in raw["gates"].items()}
            return cls(raw["batch"], np.array(raw["share"], dtype=np.float64), gates)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(
                f"the judge's state is damaged ({error})", remedy="replay the evidence file"
            ) from error


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, "values": value.ravel().tolist()}
    return value


def _gate(raw: Mapping[str, Any]) -> GateState:
    values: dict[str, Any] = {
        name: np.array(value["values"], dtype=np.float64).reshape(value["shape"])
        if isinstance(value, dict)
        else value
        for name, value in raw.items()
    }
    values["edges"] = tuple(values["edges"])
    return GateState(**values)
