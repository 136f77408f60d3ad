"""For one rollout: intervals in, verdict out. What a controller calls after every poll, and a replay too."""

from __future__ import annotations

import math
from collections.abc import Sequence

from huidu.model.evidence import Counts, Interval
from huidu.model.verdict import Decision, GateVerdict, Verdict
from rollout.judge import estimate, explain
from rollout.judge.arrays import Floats
from rollout.judge.decide import GateNumbers, Numbers, bound, numbers
from rollout.judge.gate import GateSpec, JudgeConfig
from rollout.judge.intake import batch_of, polls_of
from rollout.judge.layout import layout
from rollout.judge.observe import observe
from rollout.judge.state import GateState, State

FEWEST_INTERVALS = 5
"""Below this many intervals since the last step, a share of excluded ones says nothing."""


def judge_intervals(
    config: JudgeConfig, state: State, intervals: Sequence[Interval], now: float
) -> tuple[State, Verdict]:
    """The state after these intervals, and the verdict at `now` (Unix seconds).

    Intervals are taken poll by poll, in the order of their ends: handing in a whole recording at once gives
    the same numbers as handing it in poll by poll. Raises ConfigError for an unknown gate or stratum, an
    interval that is not later than the last one, and a histogram without the edge a gate needs.
    """
    for poll in polls_of(intervals):
        state = observe(config, state, batch_of(config, state, poll))
    return state, _verdict(config, state, now, anything=bool(intervals))


def _verdict(config: JudgeConfig, state: State, now: float, *, anything: bool) -> Verdict:
    now_numbers = numbers(config, state)
    gates = {
        spec.name: _gate_verdict(config, spec, state.gates.get(spec.name), now_numbers.gates.get(spec.name))
        for spec in config.gates
    }
    share = float(state.share[0])
    allowed = float(now_numbers.share_allowed[0])
    if now_numbers.rollback[0]:
        blamed = now_numbers.blamed[0]
        assert blamed is not None
        text = "rolled back: " + _rollback_sentence(config, now_numbers, gates[blamed], blamed)
        return Verdict(now, Decision.ROLLBACK, blamed, 0.0, gates, text)
    if now_numbers.service[0]:
        name = next(
            spec.name
            for spec in config.gates
            if spec.kind == "service"
            and spec.role != "watch"
            and gates[spec.name].log_e >= -math.log(config.alpha)
        )
        text = f"service failing, cause not separated: {gates[name].sentence}"
        return Verdict(now, Decision.HOLD, name, 0.0, gates, text)
    blind = _blind(config, state, now, anything=anything)
    if blind:
        return Verdict(now, Decision.NOT_EVIDENCE, None, 0.0, gates, blind)
    if (now_numbers.promoted[0] and share >= config.max_share * (1 - 1e-9)) or allowed > share * (1 + 1e-9):
        text = f"the evidence bears a share of {explain.percent(allowed)}; {explain.percent(share)} is open"
        return Verdict(now, Decision.ADVANCE, None, allowed, gates, text)
    waiting = _waiting(config, gates, allowed)
    return Verdict(now, Decision.HOLD, None, allowed, gates, waiting)


def _rollback_sentence(config: JudgeConfig, now: Numbers, gate: GateVerdict, name: str) -> str:
    if gate.log_e >= gate.bound:
        return gate.sentence
    together = explain.odds(float(now.log_e[0]))
    return f"all gates together, by chance {together}; gate {name} speaks loudest: {gate.sentence}"


def _waiting(config: JudgeConfig, gates: dict[str, GateVerdict], allowed: float) -> str:
    slow = [
        (spec.harm / gate.harm_upper if gate.harm_upper else 1.0, spec, gate)
        for spec in config.gates
        if spec.governs != "none" and (gate := gates[spec.name]) is not None
    ]
    if not slow:
        return "nothing proved against the candidate, and no gate governs promotion"
    _, spec, gate = min(slow, key=lambda item: item[0])
    what = explain.excess(spec, gate.harm_upper, config.beta) or "not yet proved no worse"
    share = explain.percent(allowed)
    return f"holding: gate {spec.name} bears a share of {share}; of {explain.subject(spec)} {what}"


def _blind(config: JudgeConfig, state: State, now: float, *, anything: bool) -> str:
    """Why there is nothing to judge by, "" where there is."""
    if not anything:
        return "not evidence: nothing was read at this poll"
    for spec in config.gates:
        if spec.role == "watch" or spec.kind in ("conversion", "service"):
            continue
        gate = state.gates.get(spec.name)
        if gate is None or gate.usable is None:
            arm = "" if gate is None else _silent_arm(spec, gate)
            return f"not evidence: gate {spec.name} has seen no requests{arm} yet"
        if now - gate.usable > config.blind_after:
            return (
                f"not evidence: gate {spec.name} has seen no requests of both arms "
                f"for {now - gate.usable:.0f} s (limit {config.blind_after:g} s)"
            )
        seen, excluded = float(gate.seen[0]), float(gate.excluded[0])
        if seen >= FEWEST_INTERVALS and excluded > config.max_excluded * seen:
            return (
                f"not evidence: {excluded:.0f} of {seen:.0f} intervals of gate {spec.name} since the last "
                f"step had to be excluded (limit {explain.percent(config.max_excluded)})"
            )
    return ""


def _silent_arm(spec: GateSpec, gate: GateState) -> str:
    if gate.step_c[0] > 0:
        return f" in {spec.baseline}"
    return " in the candidate" if gate.step_b[0] > 0 else ""


def _gate_verdict(
    config: JudgeConfig, spec: GateSpec, gate: GateState | None, now: GateNumbers | None
) -> GateVerdict:
    limit = bound(config, spec)
    if gate is None or now is None:
        return GateVerdict(
            gate=spec.name,
            role=spec.role,
            decision=Decision.NOT_EVIDENCE,
            log_e=0.0,
            bound=limit,
            harm_upper=1.0 if spec.governs == "harm" else None,
            stratum="",
            canary=Counts(0, 0),
            baseline=Counts(0, 0),
            dispersion=spec.c,
            dispersion_from=spec.dispersion_from,
            sentence=f"{spec.name}: nothing seen",
        )
    log_e = float(now.log_e[0])
    harm_upper = None if now.harm_upper is None else float(now.harm_upper[0])
    laid = layout(spec, gate.edges)
    k = laid.at_limit
    part = int(now.part[0])
    stratum = config.strata[part - 1] if part and log_e > 0 else ""
    alone = part - 1 if stratum else None
    canary, baseline = _arm(gate.n_c, gate.x_c, k, alone), _arm(gate.n_b, gate.x_b, k, alone)
    c = float(laid.c[k])
    seen = float(gate.seen[0])
    parts = [explain.comparison(spec, canary, baseline, stratum), explain.worth(spec, log_e)]
    if log_e < limit:
        parts.append(explain.excess(spec, harm_upper, config.beta))
    return GateVerdict(
        gate=spec.name,
        role=spec.role,
        decision=_alone(spec, now, log_e >= limit, float(state_share(now))),
        log_e=log_e,
        bound=limit,
        harm_upper=harm_upper,
        stratum=stratum,
        canary=canary,
        baseline=baseline,
        estimate=estimate.rate(canary.total, canary.bad, c, config.alpha),
        dispersion=c,
        dispersion_from=spec.dispersion_from,
        excluded=float(gate.excluded[0]) / seen if seen else 0.0,
        sentence="; ".join(part for part in parts if part),
    )


def _arm(totals: Floats, bads: Floats, k: int, stratum: int | None) -> Counts:
    """Counts at an edge, of one stratum or of all together."""
    total, bad = totals[0].tolist(), bads[0, :, k].tolist()
    return Counts(sum(total), sum(bad)) if stratum is None else Counts(total[stratum], bad[stratum])


def state_share(now: GateNumbers) -> float:
    """The share one gate bears."""
    return float(now.allowed[0])


def _alone(spec: GateSpec, now: GateNumbers, breached: bool, allowed: float) -> Decision:
    if breached and spec.role == "rollback":
        return Decision.HOLD if spec.kind == "service" else Decision.ROLLBACK
    if breached and spec.role == "block":
        return Decision.HOLD
    return Decision.ADVANCE if spec.governs != "none" and allowed > 0 else Decision.HOLD
