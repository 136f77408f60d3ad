"""The gates of one look, as rows of a table. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huidu.foundation.errors import HuiduError
from huidu.model.verdict import Estimate
from rollout.controller.fold import RolloutState
from rollout.judge.estimate import rate
from rollout.judge.gate import JudgeConfig
from rollout.serve.words import Text, gate_name


@dataclass(frozen=True, slots=True)
class Row:
    """One gate at its last look; of a rollback at the look that decided. `level`: log E per bound."""

    name: Text
    colour: int
    blamed: bool
    log_e: float
    bound: float
    level: float
    canary: Mapping[str, float]
    baseline: Mapping[str, float]
    harm_upper: float | None
    sentence: str
    canary_rate: Estimate | None = None
    baseline_rate: Estimate | None = None
    """With intervals that hold at every look at once; None where the plan is not understood any more."""

    @property
    def e(self) -> str:
        """E itself: the factor by which harm explains the counts better than no harm."""
        return factor(self.log_e)

    @property
    def e_bound(self) -> str:
        """The factor at which the release goes back."""
        return factor(self.bound)

    @property
    def percent(self) -> str:
        """Of the bound; "–" where nothing speaks for harm."""
        return f"{100 * self.level:.0f} %" if self.level > 0.005 else "–"

    @property
    def bar(self) -> float:
        """Per cent of a bar that is full at the bound."""
        return min(max(100 * self.level, 0.0), 100.0)


def factor(log_value: float) -> str:
    """exp of it, as a person reads it: 0.02, 24, 1.4e9."""
    if log_value > math.log(1e6):
        return f"10^{log_value / math.log(10):.0f}"
    value = math.exp(log_value)
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.001 else "< 0.001"


def gate_rows(state: RolloutState, blamed: str | None, config: JudgeConfig | None = None) -> list[Row]:
    """One per gate of the last look, in the order of the journal."""
    gates: Mapping[str, Any] = state.last.get("gates", {})
    return [
        Row(
            name=gate_name(name),
            colour=index % 6,
            blamed=name == blamed,
            log_e=gate["log_e"],
            bound=gate["bound"],
            level=gate["log_e"] / gate["bound"] if gate["bound"] else 0.0,
            canary=gate["canary"],
            baseline=gate["baseline"],
            harm_upper=gate.get("harm_upper"),
            sentence=str(gate.get("sentence", "")),
            canary_rate=_rate(config, name, gate["canary"]),
            baseline_rate=_rate(config, name, gate["baseline"]),
        )
        for index, (name, gate) in enumerate(gates.items())
    ]


def _rate(config: JudgeConfig | None, name: str, counts: Mapping[str, float]) -> Estimate | None:
    if config is None:
        return None
    try:
        return rate(counts["total"], counts["bad"], config.gate(name).c, config.alpha)
    except (KeyError, ValueError, HuiduError):
        return None
