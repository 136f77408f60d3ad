"""Is it evidence: the rules by which a run says nothing about the target. Pure.

Each rule is about the generator, never about what the server answered: a saturated generator measures
itself, and reads as a slow server or, worse, as a fast one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtests import clocks
from loadtests.checks import Check
from loadtests.clocks import Clock
from loadtests.guard import PROTECTED
from loadtests.plan import Plan
from loadtests.recorder import Pulse
from loadtests.recording import Recording, broken_journeys

# A single pulse is noise of the scheduler; the generator is judged over five seconds.
CPU_WINDOW_SECONDS = 5.0
# Pulses come every second; a worker that says nothing for longer stood still (stopped, swapped, starved).
GAP_SECONDS = 2.5
SCOPE = "generator"
# A worker elsewhere that did not join in time.
NEVER_CAME = "it never came"
# What to do, at the end of each sentence that makes a run no evidence.
_AGAIN = "run it again, to its end"
_FREE = "free the machine, or generate from another one"
_CLOCK_REMEDY = "let NTP set both machines' clocks, over a network that is not crowded"


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How a worker's process ended: its exit code, negative for a signal; None where it had to be killed.

    `who` and `clock`: of a worker elsewhere, its machine, and its clocks against those of this one."""

    worker: int
    exit_code: int | None
    note: str = ""
    who: str = ""
    clock: Clock | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> WorkerEnd:
        """From its JSON. Raises TypeError, ValidationError."""
        clock = facts.get("clock")
        return cls(**{**facts, "clock": None if clock is None else Clock.model_validate(clock)})

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "clock": self.clock.model_dump() if self.clock is not None else None}


def check_health(
    plan: Plan, recording: Recording, ends: Sequence[WorkerEnd], stopped: str = ""
) -> list[Check]:
    """All rules. `stopped`: why the parent ended the run early, "" where it did not."""
    checks = [_invalid("journey", None, None, each.sentence) for each in broken_journeys(recording)]
    lag = _lag(plan, recording)
    checks += [lag] if lag.measured is not None else []
    protected = stopped.startswith(PROTECTED)
    if protected:
        checks.append(_noted("stopped", f"the arrivals were stopped {stopped}"))
    elif stopped:
        checks.append(_invalid("interrupted", None, None, f"the run was ended early: {stopped}: {_AGAIN}"))
    for worker in range(plan.workers):
        checks += _reports(worker, recording, ends, protected)
        pulses = recording.pulses.get(worker, [])
        checks += _cpu(plan, worker, pulses)
        checks += _gaps(worker, pulses)
    # That nothing was sent has a reason, and it was just said.
    checks += [lag] if lag.measured is None else []
    checks += _clocks(ends)
    checks += _steal(plan, recording)
    checks += _accounting(plan, recording)
    return checks


def cpu_max(pulses: Sequence[Pulse]) -> float | None:
    """The busiest five seconds of the window, as a share of one core."""
    return _busiest([(each.seconds, each.cpu) for each in pulses if each.t > 0])


def _busiest(samples: Sequence[tuple[float, float]]) -> float | None:
    best: float | None = None
    for start in range(len(samples)):
        seconds = amount = 0.0
        for length, used in samples[start:]:
            seconds, amount = seconds + length, amount + used
            if seconds >= CPU_WINDOW_SECONDS * 0.98:
                best = max(best or 0.0, amount / seconds)
                break
    return best


def _lag(plan: Plan, recording: Recording) -> Check:
    lags, allowed = recording.lags(), plan.health.lag_p99
    p99 = lags.quantile(0.99, plan.buckets())
    if p99 is None:
        return _invalid("schedule lag", None, allowed, f"no visit was sent at all: {_AGAIN}")
    late = lags.above(allowed, plan.buckets())
    text = f"schedule lag p99 {p99 * 1000:.1f} ms, allowed {allowed * 1000:g} ms"
    if late > 0.01 * lags.number:
        return _invalid(
            "schedule lag",
            p99,
            allowed,
            f"{text}: the generator sent {late} of {lags.number} visits late: {_lag_remedy(p99)}",
        )
    return Check(rule="schedule lag", scope=SCOPE, state="kept", measured=p99, allowed=allowed, sentence=text)


def _lag_remedy(p99: float) -> str:
    """What a laptop's user meets first."""
    enough = next(each for each in (50, 100, 200, 500, 1000, 10_000, 100_000) if each > p99 * 1200)
    return (
        f"free the machine, use more workers (`--workers auto`), or set `health: {{lag_p99: {enough}ms}}`"
        " where your limits are far above it"
    )


def _reports(worker: int, recording: Recording, ends: Sequence[WorkerEnd], protected: bool) -> list[Check]:
    end = next((each for each in ends if each.worker == worker), WorkerEnd(worker, None, "was never started"))
    checks = []
    if worker not in recording.finals:
        how = end.note or (
            f"killed by signal {-end.exit_code}"
            if end.exit_code is not None and end.exit_code < 0
            else f"exit code {end.exit_code}"
        )
        begun = "its final report is missing" if worker in recording.started else "it never began"
        said = f"worker {worker} never came" if how == NEVER_CAME else f"worker {worker}: {begun} ({how})"
        remedy = (
            "start as many `huidu load worker` as the run expects"
            if how == NEVER_CAME
            else f"see worker-{worker}.log, then {_AGAIN}"
        )
        checks.append(_invalid("final report", None, None, f"{said}: {remedy}"))
    elif recording.finals[worker] and not protected:
        checks.append(
            _invalid(
                "final report",
                None,
                None,
                f"worker {worker} was interrupted before its schedule's end: {_AGAIN}",
            )
        )
    elif end.exit_code != 0:
        checks.append(
            _invalid(
                "exit code",
                end.exit_code,
                0,
                f"worker {worker} ended with exit code {end.exit_code} {end.note}".rstrip()
                + f": see worker-{worker}.log, then {_AGAIN}",
            )
        )
    return checks


def _cpu(plan: Plan, worker: int, pulses: Sequence[Pulse]) -> list[Check]:
    used, allowed = cpu_max(pulses), plan.health.cpu
    if used is None:
        return []
    text = f"worker {worker} used {used:.0%} of a core over 5 s, allowed {allowed:.0%}"
    if used > allowed:
        return [_invalid("generator CPU", used, allowed, f"{text}: use more --workers, or {_FREE}")]
    return [
        Check(rule="generator CPU", scope=SCOPE, state="kept", measured=used, allowed=allowed, sentence=text)
    ]


def _gaps(worker: int, pulses: Sequence[Pulse]) -> list[Check]:
    longest = max((each.seconds for each in pulses if each.t > 0), default=0.0)
    if longest <= GAP_SECONDS:
        return []
    text = f"worker {worker} stood still for {longest:.1f} s (stopped, swapped, or starved): {_FREE}"
    return [_invalid("standstill", longest, GAP_SECONDS, text)]


def _clocks(ends: Sequence[WorkerEnd]) -> list[Check]:
    """Of workers elsewhere."""
    checks = []
    for end in ends:
        if end.clock is None:
            continue
        wrong = clocks.complaint(end.clock)
        name = f"worker {end.worker} on {end.who}"
        if wrong is not None:
            text, measured, allowed = wrong
            bound = f", allowed {allowed * 1000:g} ms" if allowed else ""
            checks.append(
                _invalid("clock", measured, allowed or None, f"{name}: {text}{bound}: {_CLOCK_REMEDY}")
            )
        else:
            checks.append(_noted("clock", f"{name}: {clocks.summary(end.clock)}"))
    return checks


def _steal(plan: Plan, recording: Recording) -> list[Check]:
    found = [
        _busiest([(each.seconds, (each.steal or 0.0) * each.seconds) for each in pulses if each.t > 0])
        for pulses in recording.pulses.values()
        if any(each.steal is not None for each in pulses)
    ]
    worst = max((each for each in found if each is not None), default=None)
    if worst is None:
        return []
    allowed = plan.health.steal
    text = f"others took {worst:.1%} of this machine's CPU over 5 s (steal), allowed {allowed:.0%}"
    if worst > allowed:
        remedy = "use a machine whose CPU is its own, or raise `health.steal` where it does not matter"
        return [_invalid("steal", worst, allowed, f"{text}: {remedy}")]
    return [Check(rule="steal", scope=SCOPE, state="kept", measured=worst, allowed=allowed, sentence=text)]


def _accounting(plan: Plan, recording: Recording) -> list[Check]:
    """The schedule says what is owed; the workers say what became of it. The two were computed apart."""
    checks = []
    for worker in range(plan.workers):
        owed = plan.owed(worker)
        counted = recording.owed.get(worker, Counter())
        missing = {
            name: (number, counted.get(name, 0))
            for name, number in owed.items()
            if number != counted.get(name, 0)
        }
        if missing:
            text = ", ".join(f"{name} {got} of {number}" for name, (number, got) in missing.items())
            checks.append(
                _invalid(
                    "accounting",
                    None,
                    None,
                    f"worker {worker} walked only part of its schedule: {text}: {_AGAIN}",
                )
            )
    total = recording.tally()
    accounted = total.ok + total.failed + total.dropped + total.censored
    if total.planned != accounted:
        checks.append(
            _invalid(
                "accounting",
                accounted,
                total.planned,
                f"planned {total.planned} = ok {total.ok} + failed {total.failed} + dropped {total.dropped}"
                f" + censored {total.censored} does not hold:"
                f" {total.planned - accounted} are missing: {_AGAIN}",
            )
        )
    if total.censored:
        checks.append(
            _invalid(
                "censored",
                total.censored,
                0,
                f"what became of {total.censored} visits is not known: {_AGAIN}",
            )
        )
    if recording.damaged:
        checks.append(
            _invalid(
                "recording",
                recording.damaged,
                0,
                f"{recording.damaged} lines of the recording are damaged: {_AGAIN}",
            )
        )
    return checks


def _noted(rule: str, sentence: str) -> Check:
    return Check(rule=rule, scope=SCOPE, state="noted", measured=None, allowed=None, sentence=sentence)


def _invalid(rule: str, measured: float | None, allowed: float | None, sentence: str) -> Check:
    return Check(
        rule=rule, scope=SCOPE, state="invalid", measured=measured, allowed=allowed, sentence=sentence
    )
