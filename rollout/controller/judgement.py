"""The judge's state over a rollout's life: fed poll by poll, or brought back from journal and evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from huidu.foundation.journal import Event
from huidu.model.evidence import Counts, Histogram, Interval
from huidu.model.verdict import Verdict
from rollout.controller.fold import Purpose
from rollout.judge import JudgeConfig, aa, gauges, judge_intervals, mark_step, start

SETTLING = "settling"
"""How the reason begins why an interval is left out by plan (warm-up, a change of weights): it is recorded,
and is no sign of bad evidence."""
SAME = 1e-9
"""Evidence judged again must give the same log E to this."""


class Judgement:
    """`look` after every poll, `stepped` after every widening."""

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self._state = start(config)
        self._last: Verdict | None = None

    def look(self, intervals: Sequence[Interval], now: float) -> Verdict:
        """The verdict with this poll's evidence. Raises ConfigError for evidence the plan does not know."""
        told = [interval for interval in intervals if not interval.excluded.startswith(SETTLING)]
        if not told and self._last is not None:
            return self._last
        self._state, self._last = judge_intervals(self.config, self._state, told, now)
        return self._last

    def stepped(self) -> None:
        """The share was changed."""
        self._state = mark_step(self._state)

    @classmethod
    def replay(
        cls, config: JudgeConfig, events: Iterable[Event], intervals: Sequence[Interval]
    ) -> tuple[Judgement, str]:
        """The judgement as it stood after `events`, and a remark where the evidence gives other numbers now.

        The journal says how many lines of evidence each look ended at, and when the share was changed.
        """
        judgement = cls(config)
        used = 0
        purpose = ""
        remark = ""
        for event in events:
            if event.kind == "intended":
                purpose = event.data["purpose"]
            elif event.kind == "confirmed" and purpose == Purpose.WIDEN.value:
                judgement.stepped()
            elif event.kind == "judged":
                verdict = judgement.look(intervals[used : event.data["evidence_lines"]], event.t)
                used = event.data["evidence_lines"]
                for name, gate in event.data["gates"].items():
                    if abs(verdict.gates[name].log_e - gate["log_e"]) > SAME * max(1.0, abs(gate["log_e"])):
                        remark = remark or (
                            f"the evidence up to line {used} gives log E {verdict.gates[name].log_e:.6g} for "
                            f"{name}, the journal says {gate['log_e']:.6g}"
                        )
        return judgement, remark


class Comparison:
    """The judge of the A/A stage: the first customers against the others, both served by stable."""

    def __init__(self, config: JudgeConfig) -> None:
        self._config = config
        self._both = aa.both_ways(config)
        self._state = start(self._both)
        self._verdict: Verdict | None = None

    def look(self, intervals: Sequence[Interval], now: float) -> str:
        """Why they are not comparable, "" while nothing speaks against it."""
        told = [interval for interval in intervals if not interval.excluded]
        seen = aa.reflected(self._config, told)
        if seen:
            self._state, self._verdict = judge_intervals(self._both, self._state, seen, now)
        return aa.difference(self._verdict) if self._verdict is not None else ""

    def counts(self) -> dict[str, dict[str, float]]:
        """For the journal: both groups' counts by gate."""
        gates = self._verdict.gates if self._verdict is not None else {}
        return {
            name: {"total": gate.canary.total, "bad": gate.canary.bad, "log_e": gate.log_e}
            for name, gate in gates.items()
        }


def first_bad(config: JudgeConfig, intervals: Iterable[Interval]) -> dict[str, float]:
    """Per gate the start of the first interval in which the candidate had a bad event."""
    found: dict[str, float] = {}
    for interval in intervals:
        if bad_of(config, interval.gate, interval.canary) > 0:
            found[interval.gate] = min(found.get(interval.gate, interval.start), interval.start)
    return found


def bad_of(config: JudgeConfig, gate: str, arm: Counts | Histogram) -> float:
    """Bad events of one arm; of a histogram those above the gate's limit (or the next edge above it)."""
    if isinstance(arm, Counts):
        return arm.bad
    if config.gate(gate).kind == "gauge":
        return gauges.above(arm, config.gate(gate).seconds).bad
    above = [edge for edge in arm.le if edge >= config.gate(gate).seconds - 1e-12]
    return arm.above(min(above)).bad if above else 0.0
