"""Recorded evidence judged again: the same functions, the same numbers. Pure.

A rollout would have ended at the first look that rolls back, or at which the whole service fails; what was
recorded behind it is still judged, so that every interval has its number, but decides nothing any more.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from huidu.foundation.errors import ConfigError
from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Counts, Histogram, Interval
from huidu.model.verdict import Decision, Verdict
from rollout.controller.judgement import Judgement
from rollout.controller.steps import WIDEST_TOLERANCE, unproved
from rollout.dispersed import applied, of_header
from rollout.evidence_file import Mark, Recording
from rollout.judge import JudgeConfig
from rollout.plan import TESTERS, Plan, judge_config

PROMOTE = "promote"
OUTCOMES = {
    PROMOTE: Outcome.GOOD,
    Decision.ADVANCE.value: Outcome.GOOD,
    Decision.ROLLBACK.value: Outcome.BAD,
    Decision.HOLD.value: Outcome.HELD,
    Decision.NOT_EVIDENCE.value: Outcome.NOT_EVIDENCE,
}


@dataclass(frozen=True, slots=True)
class Look:
    """The verdict after the intervals that end at `t` (Unix seconds); `share` of all requests then."""

    t: float
    share: float
    intervals: tuple[Interval, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Replayed:
    """A recording, judged. `verdict` is promote, advance, rollback, hold or not-evidence; `decided`: the look
    it was decided at; `share_from`: where the candidate's share was taken from."""

    config: JudgeConfig
    looks: tuple[Look, ...]
    decided: Look
    verdict: str
    share_from: str

    @property
    def outcome(self) -> Outcome:
        """For the exit code."""
        return OUTCOMES[self.verdict]


def config_of(plan: Plan, recording: Recording) -> JudgeConfig:
    """The judge that the plan describes, with the strata of the recording.

    Where the plan states no dispersion, the one that the recording's header says it was judged with counts.
    """
    seen = tuple(dict.fromkeys(interval.stratum for interval in recording.intervals)) or ("",)
    header = recording.header
    if header is not None and header.baseline in ("stable", "fresh"):  # whom it was compared with is past
        plan = plan.model_copy(update={"baseline": header.baseline})
    cohorts = tuple(plan.route.cohorts)
    known = (header.strata if header else ()) or (judge_config(plan, cohorts).strata if cohorts else ())
    strata = known if set(seen) <= set(known) else seen
    shares = tuple(record.share for record in recording.records if isinstance(record, Mark))
    config = judge_config(plan, (), shares)
    measured = of_header(config, header.dispersion, header.level) if header else {}
    return dataclasses.replace(applied(config, measured), strata=strata)


def replay(config: JudgeConfig, recording: Recording, path: Path | str = "evidence") -> Replayed:
    """Judge `recording`. Raises ConfigError with the line for evidence that does not fit the plan."""
    if not recording.intervals:
        raise ConfigError("no evidence", file=path, expected="one JSON object per gate, stratum and interval")
    stated = any(interval.share > 0 for interval in recording.intervals)
    judgement = Judgement(config)
    looks: list[Look] = []
    widest = 0.0
    for step in _steps(recording):
        if isinstance(step, Mark):
            if step.share > widest:  # going back is no step
                judgement.stepped()
            widest = max(widest, step.share)
            continue
        polled = [interval for interval, _ in step]
        if not stated:
            polled = [dataclasses.replace(each, share=share_of_counts(polled, each.gate)) for each in polled]
        now = polled[0].end
        try:
            verdict = judgement.look(polled, now)
        except ConfigError as error:
            raise _located(error, path, step) from None
        looks.append(Look(now, max(each.share for each in polled), tuple(polled), verdict))
    verdict_word, decided = _decided(config, looks)
    source = "the evidence" if stated else "the counts: the evidence does not state it"
    return Replayed(config, tuple(looks), decided, verdict_word, source)


_Numbered = tuple[Interval, int]


def _steps(recording: Recording) -> Iterator[list[_Numbered] | Mark]:
    """Polls and changes of the share, in the order in which they happened.

    The order of the file says on which side of a change a poll was; between two changes the times do.
    """
    lines = recording.lines or tuple(range(1, len(recording.records) + 1))
    held: list[_Numbered] = []
    for record, line in zip(recording.records, lines, strict=True):
        if isinstance(record, Mark):
            yield from _polls(held)
            held = []
            yield record
        else:
            held.append((record, line))
    yield from _polls(held)


def _polls(intervals: Iterable[_Numbered]) -> Iterator[list[_Numbered]]:
    by_end: dict[float, list[_Numbered]] = {}
    for numbered in intervals:
        by_end.setdefault(numbered[0].end, []).append(numbered)
    for end in sorted(by_end):
        yield by_end[end]


def share_of_counts(polled: Sequence[Interval], gate: str) -> float:
    """The candidate's part of what one gate counted of customers in one poll (0 to 1)."""
    ours = [each for each in polled if each.gate == gate and each.stratum != TESTERS]
    canary = sum(each.canary.total for each in ours)
    both = canary + sum(each.baseline.total for each in ours if each.baseline)
    return canary / both if both > 0 else 0.0


def _located(error: ConfigError, path: Path | str, poll: Sequence[_Numbered]) -> ConfigError:
    """The same complaint with the line of the interval it is about."""
    named = [line for interval, line in poll if f"gate {interval.gate}" in error.what]
    if "kind" in error.what:  # the shape of the arms is wrong: name the first line that has it
        wanted = Histogram if "histogram" in error.expected else Counts
        named = [
            line
            for interval, line in poll
            if f"gate {interval.gate}" in error.what
            and not all(isinstance(arm, wanted) for arm in (interval.canary, interval.baseline) if arm)
        ] or named
    return ConfigError(
        error.what,
        file=path,
        line=named[0] if named else poll[0][1],
        expected=error.expected,
    )


def _decided(config: JudgeConfig, looks: Sequence[Look]) -> tuple[str, Look]:
    for look in looks:
        verdict = look.verdict
        if verdict.decision is Decision.ROLLBACK:
            return Decision.ROLLBACK.value, look
        if verdict.decision is Decision.HOLD and verdict.blamed is not None:
            return Decision.HOLD.value, look
    # Where everybody is on the candidate nothing is compared any more: what was proved before counts.
    compared = [look for look in looks if look.share < 1.0 - 1e-9] or list(looks)
    last = compared[-1]
    near = last.share >= WIDEST_TOLERANCE * config.max_share * (1 - 1e-9)
    if (
        last.verdict.decision is not Decision.NOT_EVIDENCE
        and near
        and not unproved(config, last.verdict, 1.0)
    ):
        return PROMOTE, last
    return last.verdict.decision.value, last


ASSUMED_STEP = 5.0
"""Seconds of a single interval that does not say when it began: the polls of a rollout are that long."""


def from_the_start(intervals: Sequence[Interval]) -> tuple[list[Interval], str]:
    """A first interval that does not say when it began is taken as long as the others (in the middle).

    With a sentence that says so, "" where every interval says it itself.
    """
    if all(each.start < each.end for each in intervals):
        return list(intervals), ""
    ends = sorted({interval.end for interval in intervals})
    usual = median(b - a for a, b in itertools.pairwise(ends)) if len(ends) > 1 else ASSUMED_STEP
    why = "as the others are" if len(ends) > 1 else "its length is not stated"
    which = "the first interval does not say when it began" if len(ends) > 1 else "one interval"
    mended = [
        dataclasses.replace(each, start=each.end - usual) if each.start >= each.end else each
        for each in intervals
    ]
    silent = any(each.start == each.end for each in intervals)
    return mended, f"{which}: {usual:g} s are assumed, {why}" if silent else ""


def sentence_of(replayed: Replayed) -> str:
    """The verdict as one sentence."""
    if replayed.verdict == PROMOTE:
        gates = [spec.name for spec in replayed.config.gates if spec.governs != "none"]
        return (
            f"proved at {replayed.decided.share:.1%} of all requests: {', '.join(gates)} kept within budget; "
            "everybody may be served"
        )
    return replayed.decided.verdict.sentence


def log_e_by_interval(replayed: Replayed) -> dict[str, list[tuple[float, float]]]:
    """Per gate (Unix seconds, log E) after each of its intervals; strata that end together are one."""
    found: dict[str, list[tuple[float, float]]] = {spec.name: [] for spec in replayed.config.gates}
    for look in replayed.looks:
        for name in dict.fromkeys(interval.gate for interval in look.intervals):
            value = look.verdict.gates[name].log_e
            found[name].append((look.t, value if math.isfinite(value) else 0.0))
    return found
