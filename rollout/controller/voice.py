"""What a person reads while a rollout runs: one line per decision, one live line between. Pure text."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any, Protocol

from huidu.model.verdict import Verdict
from rollout.controller.fold import RolloutState


class Voice(Protocol):
    """Where a person reads along."""

    def say(self, text: str, style: str = "") -> None: ...

    def progress(self, text: str) -> None: ...


class Steady:
    """A voice that goes on when nobody listens any more: a closed terminal or pipe must not end a rollout."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def say(self, text: str, style: str = "") -> None:
        with contextlib.suppress(OSError, SystemExit):  # rich makes SystemExit of a broken pipe
            self._voice.say(text, style)

    def progress(self, text: str) -> None:
        with contextlib.suppress(OSError, SystemExit):
            self._voice.progress(text)


def gate_numbers(verdict: Verdict | None) -> str:
    """Each gate's log E against its bound: "errors 1.2/6.0, latency 0.3/6.0"."""
    if verdict is None:
        return "no evidence yet"
    parts = [
        f"{name} {gate.log_e:+.1f}/{gate.bound:.1f}"
        for name, gate in verdict.gates.items()
        if gate.canary.total > 0
    ]
    return ", ".join(parts) or "no evidence yet"


LEGEND = (
    "  each line: time, stage, share of all requests; of each gate the evidence against the release and the"
    " bound at which it is taken back (errors +1.2/5.7); what is done or waited for"
)


def line(state: RolloutState, verdict: Verdict | None, now: float, what: str) -> str:
    """Time, stage, share, evidence, and what is done or waited for."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    # Where nobody judges just now, but somebody did before, there is nothing to say of evidence.
    numbers = "" if verdict is None and state.last.get("gates") else f"{gate_numbers(verdict)}  "
    return f"{clock}  {state.stage:<16.16}  {state.share:6.1%}  {numbers}| {what}"


def closing(
    name: str, outcome: str, sentence: str, state: RolloutState, facts: Mapping[str, Any]
) -> list[str]:
    """The last lines: what became of it, how long it took, who was touched."""
    seconds = facts.get("seconds_from_start") or 0.0
    lines = [f"{name}: {_PLAIN.get(outcome, outcome)} after {seconds:.0f} s", f"  {sentence}"]
    requests = facts.get("requests_canary") or 0
    exposed = facts.get("exposed_customers")
    touched = f"{requests} requests" + (f" of {exposed} customers" if exposed is not None else "")
    if synthetic := facts.get("requests_synthetic"):
        touched += f", and {synthetic} synthetic ones"
    lines.append(f"  the candidate answered {touched}")
    if (bad := facts.get("seconds_from_first_bad_request")) is not None and outcome == "rolled-back":
        bad = min(bad, seconds)  # the first look reaches back to before the start
        lines.append(
            f"  found {bad:.0f} s after its first bad answer, to a tester: no customer met it"
            if exposed == 0
            else f"  back to stable {bad:.0f} s after its first bad answer"
        )
    if outcome in ("paused", "held") and not state.outcome:
        lines.append(
            f"  the share stays at {state.share:.1%}; `huidu rollout run` with the same name goes on"
        )
    return lines


_PLAIN = {
    "promoted": "PROMOTED",
    "rolled-back": "ROLLED BACK",
    "held": "HELD",
    "retreated": "RETREATED: stable serves everybody, nothing is known against the release",
    "paused": "PAUSED",
}
