"""The dispersion of each gate as it was measured before the release moved anybody. Pure.

Measured once, when judging begins, and journaled there: a controller that takes over, a replay and an
account judge with the very same numbers. What a plan states wins; what could not be measured is assumed, and
says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rollout.judge.gate import GateSpec, JudgeConfig
from rollout.plan import Plan, judge_config

HIGHEST_LEVEL = 0.5
"""A service of which more than half fails is not taken for one that keeps its usual level."""


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Of one gate: `c` (>= 1; None: not measurable, so assumed), per bucket edge `edges` (seconds) where it
    has some, and `told`: where it came from, or why it is assumed; follows the word measured or assumed; ""
    where the plan states it. `level`: of a service gate, the rate of bad events before the release."""

    c: float | None
    edges: Mapping[float, float] = field(default_factory=dict)
    told: str = ""
    level: float = 0.0

    def to_data(self) -> dict[str, Any]:
        """For the journal."""
        edges = [[edge, c] for edge, c in self.edges.items()]
        return {"c": self.c, "edges": edges, "told": self.told, "level": self.level}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_data`."""
        return cls(data["c"], {edge: c for edge, c in data["edges"]}, data["told"], data.get("level", 0.0))


def journaled(judging: Mapping[str, Any] | None) -> dict[str, Dispersion]:
    """What the event `judging` says was measured; nothing before it, or where an older huidu wrote it."""
    found = (judging or {}).get("dispersion", {})
    return {name: Dispersion.from_data(data) for name, data in found.items()}


def judged_with(
    plan: Plan, cohorts: tuple[str, ...], shares: tuple[float, ...], judging: Mapping[str, Any] | None
) -> JudgeConfig:
    """The judge of a rollout: its plan's, with the dispersion that its journal holds."""
    return applied(judge_config(plan, cohorts, shares), journaled(judging))


def applied(config: JudgeConfig, found: Mapping[str, Dispersion]) -> JudgeConfig:
    """`config` with what was measured, where the plan states nothing."""
    gates = tuple(_with(spec, found[spec.name]) if spec.name in found else spec for spec in config.gates)
    return dataclasses.replace(config, gates=gates)


def _with(spec: GateSpec, found: Dispersion) -> GateSpec:
    spec = dataclasses.replace(spec, level=found.level) if spec.kind == "service" else spec
    if spec.dispersion is not None:
        return spec
    return dataclasses.replace(
        spec,
        dispersion=None if found.c is None else max(1.0, found.c),
        dispersion_measured=found.c is not None,
        edge_dispersion=tuple(found.edges.items()),
        dispersion_note=found.told,
    )


def header_of(found: Mapping[str, Dispersion]) -> dict[str, float]:
    """For the head of an evidence file: by gate, and `gate@edge` for one bucket edge of it."""
    header: dict[str, float] = {}
    for name, each in found.items():
        if each.c is not None:
            header[name] = each.c
        header |= {f"{name}@{edge!r}": c for edge, c in each.edges.items()}
    return header


def levels_of(found: Mapping[str, Dispersion]) -> dict[str, float]:
    """For the head of an evidence file: of each service gate, the rate before the release."""
    return {name: each.level for name, each in found.items() if each.level > 0}


def of_header(
    config: JudgeConfig, header: Mapping[str, float], levels: Mapping[str, float]
) -> dict[str, Dispersion]:
    """The inverse of `header_of` and `levels_of`, for the gates of `config`; other keys are ignored."""
    found = {}
    for spec in config.gates:
        at = {
            key.removeprefix(f"{spec.name}@"): c
            for key, c in header.items()
            if key.startswith(f"{spec.name}@")
        }
        edges = {edge: max(1.0, c) for text, c in at.items() if (edge := _edge(text)) is not None}
        level = min(levels.get(spec.name, 0.0), HIGHEST_LEVEL)
        if spec.name in header or edges or level:
            found[spec.name] = Dispersion(header.get(spec.name), edges, level=level)
    return found


def _edge(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def sentence_of(config: JudgeConfig) -> str:
    """What a person reads when judging begins."""
    return "  counts vary this much more than by chance alone, and are judged so: " + "; ".join(
        f"{spec.name} {spec.c:.3g} ({spec.dispersion_from})" for spec in config.gates
    )
