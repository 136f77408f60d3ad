"""One plain sentence per verdict: counts, rates, and what the evidence is worth, in words."""

from __future__ import annotations

import math
from functools import lru_cache

from huidu.model.evidence import Counts
from rollout.judge.gate import GateSpec


def percent(rate: float) -> str:
    """A rate with three digits: 0.052 %, 12.3 %, 100 %."""
    value = 100.0 * rate
    if value == 0 or value >= 100:
        return f"{value:.0f} %"
    if abs(value) >= 1e-4:
        return f"{value:.3g} %"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 9)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def rate(counts: Counts) -> str:
    """Rate and counts of one arm: "0.52 % (8 of 1,538)"; "nothing" without any."""
    if counts.total <= 0:
        return "nothing seen"
    return f"{percent(counts.bad / counts.total)} ({counts.bad:,.0f} of {counts.total:,.0f})"


def count(value: float) -> str:
    """How many, as people write it: "1,538", "0.5"."""
    return f"{value:,.0f}" if value == math.floor(value) else f"{value:,.6g}"


def odds(log_e: float) -> str:
    """What evidence of this size is worth: "in fewer than 1 rollout in 100"."""
    if log_e <= math.log(2.0):
        return "often, in up to every second rollout" if log_e > 0 else "all the time"
    if log_e >= math.log(1e9):
        return "in fewer than 1 rollout in 1,000,000,000"
    return f"in fewer than 1 rollout in {math.floor(math.exp(log_e)):,}"


@lru_cache(maxsize=256)
def subject(spec: GateSpec) -> str:
    """What the gate counts, as the subject of a sentence."""
    seconds = f"{spec.seconds:g} s" if spec.seconds >= 1 else f"{spec.seconds * 1000:g} ms"
    return {
        "latency": f"requests slower than {seconds}",
        "delay": f"events later than {seconds}",
        "conversion": "sessions without conversion",
        "gauge": f"blocks above {spec.seconds:g}",
        "service": "errors" if spec.limit is None else f"requests slower than {seconds}, or lost",
    }.get(spec.kind, "errors")


@lru_cache(maxsize=256)
def hypothesis(spec: GateSpec) -> str:
    """The null of the gate, as a clause: "the candidate were no worse than 1.5 times stable"."""
    floor = "" if spec.floor is None else f", or below {percent(spec.floor)}"
    within = percent(spec.tolerated_share)
    base = spec.baseline
    times = base if spec.ratio == 1 else f"{spec.ratio:g} times {base}"
    slow = f"slow at most {spec.ratio:g} times as often as {base}, or at most {within} of the time"
    return {
        "error-ratio": f"the candidate were no worse than {times}{floor}",
        "absolute-margin": f"the candidate were at most {percent(spec.margin)} worse than {base}{floor}",
        "slo": f"the candidate kept its limit of {percent(spec.floor or 0.0)}",
        "service": f"the service kept its limit of {percent(max(spec.floor or 0.0, spec.level))}",
        "conversion": f"the candidate converted at least {spec.ratio:g} times as well as {base}",
        "gauge": f"the candidate were above {spec.seconds:g} in at most {within} of its time",
    }.get(spec.kind, f"the candidate were {slow}")


def comparison(spec: GateSpec, canary: Counts, baseline: Counts, stratum: str) -> str:
    """The numbers of both arms: "errors 0.52 % (8 of 1,538) in the candidate against ... in stable"."""
    where = f" among {stratum}" if stratum else ""
    against = "" if spec.kind == "gauge" else f" against {rate(baseline)} in {spec.baseline}"
    return f"{subject(spec)}{where}: {rate(canary)} in the candidate{against}"


def worth(spec: GateSpec, log_e: float) -> str:
    """What the evidence is worth, as a clause that can follow a semicolon."""
    if log_e <= math.log(2.0):
        return f"no evidence that this is more than chance if {hypothesis(spec)}"
    return f"if {hypothesis(spec)}, evidence this strong would turn up {odds(log_e)}"


def excess(spec: GateSpec, harm_upper: float | None, beta: float) -> str:
    """What is proved about harm, as a clause; "" where the gate does not govern promotion."""
    if harm_upper is None:
        return ""
    if harm_upper >= 1.0:
        return "no excess is refuted yet"
    return f"it adds less than {percent(harm_upper)} (proved at {percent(1 - beta)})"
