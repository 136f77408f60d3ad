"""What a pipeline learns: one finding per rollout, gate, load run and limit, and what they come to. Pure.

| Rollout                        | Load run            | Outcome      |
|--------------------------------|---------------------|--------------|
| promoted                       | PASS                | GOOD (0)     |
| rolled-back                    | FAIL                | BAD (1)      |
| running, paused, held          |                     | HELD (3)     |
| retreated, or its word unknown | INVALID, or unknown | NOT_EVIDENCE (4) |

Several together are as bad as the worst: one proved bad is bad, whatever else is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Interval

_ROLLOUT = {
    "promoted": Outcome.GOOD,
    "rolled-back": Outcome.BAD,
    "running": Outcome.HELD,
    "paused": Outcome.HELD,
    "held": Outcome.HELD,
    "retreated": Outcome.NOT_EVIDENCE,
}
_CHECK = {
    "kept": Outcome.GOOD,
    "broken": Outcome.BAD,
    "unproved": Outcome.NOT_EVIDENCE,
    "invalid": Outcome.NOT_EVIDENCE,
}
"""States of a load run's checks; any other (`noted`) decides nothing."""
_LOAD = {"PASS": Outcome.GOOD, "FAIL": Outcome.BAD, "INVALID": Outcome.NOT_EVIDENCE}
_WORST_FIRST = (Outcome.BAD, Outcome.NOT_EVIDENCE, Outcome.HELD, Outcome.GOOD)


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject`: "rollout v2" or "load go-live-..."; `name`: the gate or limit, or "outcome".
    `outcome` None: told, and decides nothing."""

    subject: str
    name: str
    outcome: Outcome | None
    sentence: str
    seconds: float = 0.0


def worst(outcomes: Iterable[Outcome | None]) -> Outcome:
    """What they come to; nothing found is not evidence."""
    seen = set(outcomes)
    return next((each for each in _WORST_FIRST if each in seen), Outcome.NOT_EVIDENCE)


def rollout_findings(facts: Mapping[str, Any], release: str | None = None) -> list[Finding]:
    """Of a rollout's report (record.report). `release`: what the pipeline built."""
    subject = f"rollout {facts.get('name')}"
    if release is not None and facts.get("release") != release:
        what = f"it is of release {facts.get('release')}, not of {release}: it says nothing about {release}"
        return [Finding(subject, "release", Outcome.NOT_EVIDENCE, what)]
    word = str(facts.get("outcome"))
    outcome = _ROLLOUT.get(word, Outcome.NOT_EVIDENCE)
    sentence = str(facts.get("sentence") or word)
    said = sentence if sentence.startswith(f"{word}:") or sentence == word else f"{word}: {sentence}"
    found = [Finding(subject, "outcome", outcome, said, _seconds(facts))]
    timeline = [moment for moment in facts.get("timeline") or [] if moment.get("gates")]
    blamed = facts.get("blamed_gate")
    for name, gate in (timeline[-1]["gates"] if timeline else {}).items():
        found.append(Finding(subject, name, _gate_outcome(name, blamed, outcome), gate_sentence(gate)))
    return found


def _gate_outcome(name: str, blamed: object, outcome: Outcome) -> Outcome | None:
    # The rollout decides. One gate alone is bad only when it took the release back, good only in a promotion.
    return outcome if name == blamed or outcome is Outcome.GOOD else None


def gate_sentence(gate: Mapping[str, Any]) -> str:
    """Evidence and counts of a gate's last look."""
    canary, baseline = gate["canary"], gate["baseline"]
    return (
        f"log E {gate['log_e']:.2f} of {gate['bound']:.2f}; candidate {canary['bad']:g} bad of "
        f"{canary['total']:g}, stable {baseline['bad']:g} of {baseline['total']:g}"
    )


def left_out(subject: str, intervals: Sequence[Interval], gate: str) -> list[Finding]:
    """What was looked at and is no evidence, a line for each reason; requests as `gate` counted them."""
    looks: dict[str, set[float]] = {}
    requests: dict[str, float] = {}
    for each in intervals:
        if each.gate == gate and each.excluded:
            looks.setdefault(each.excluded, set()).add(each.end)
            total = each.canary.total + (each.baseline.total if each.baseline else 0.0)
            requests[each.excluded] = requests.get(each.excluded, 0.0) + total
    of = len({each.end for each in intervals if each.gate == gate})
    return [
        Finding(
            subject,
            "left out",
            None,
            f"{len(ends)} of {of} looks, {requests[why]:,.0f} requests in them, are no evidence: {why}",
        )
        for why, ends in looks.items()
    ]


def load_findings(name: str, verdict: Mapping[str, Any]) -> list[Finding]:
    """Of a load run's verdict.json."""
    subject = f"load {name}"
    outcome = _LOAD.get(str(verdict.get("verdict")), Outcome.NOT_EVIDENCE)
    reasons = [str(reason) for reason in verdict.get("reasons") or []]
    sentence = f"{verdict.get('verdict')}: " + (reasons[0] if reasons else "no reason given")
    found = [Finding(subject, "outcome", outcome, sentence, float(verdict.get("duration") or 0.0))]
    for check in verdict.get("checks") or []:
        scope = f"{check.get('scope', '')}: "
        rule = f"{scope}{check.get('rule', '')}"
        sentence = str(check.get("sentence") or rule).removeprefix(scope)
        found.append(Finding(subject, rule, _CHECK.get(str(check.get("state"))), sentence))
    return found


def _seconds(facts: Mapping[str, Any]) -> float:
    return float(facts.get("seconds_from_start") or 0.0)
