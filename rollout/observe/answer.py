"""The verdict as other controllers ask for it: Argo Rollouts' web metric, Flagger's webhooks. Pure.

A verdict is as good as its age: where nobody has looked lately the answer is "not-evidence", never the last
good one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.controller.fold import RolloutState
from rollout.observe.would import BACK

STALE_POLLS = 3.0
STALE_LEAST = 15.0
"""Seconds: a verdict older than this, and than three polls, is none."""
HOOKS = {
    "confirm-rollout": "fresh",
    "pre-rollout": "fresh",
    "rollout": "unharmed",
    "confirm-traffic-increase": "advance",
    "confirm-promotion": "everybody",
    "rollback": "back",
    "post-rollout": "told",
    "event": "told",
}
"""Flagger's kinds of webhooks, and when each is answered with 200."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`decision`: advance, hold, rollback or not-evidence; `allowed`: the share that may be open now."""

    name: str
    release: str
    decision: str
    sentence: str
    blamed: str | None
    share: float
    allowed: float
    age: float | None
    mode: str
    gates: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As the body of the answer. Gates: log E, bound, harm_upper and counts of both arms."""
        gates = {
            name: {key: value for key, value in gate.items() if key != "sentence"}
            for name, gate in self.gates.items()
        }
        return {
            "name": self.name,
            "mode": self.mode,
            "release": self.release,
            "decision": self.decision,
            "sentence": self.sentence,
            "blamed": self.blamed,
            "share": self.share,
            "allowed": self.allowed,
            "age_seconds": self.age,
            "gates": gates,
        }


def answer(
    name: str,
    state: RolloutState,
    would: Mapping[str, Any] | None,
    looked_at: float | None,
    poll: float,
    now: float,
    asked: float | None = None,
) -> Answer:
    """What the journal of `name` answers at `now`.

    `would`: the act by which huidu's own rollout would have ended (fold of an observation), None while it
    would go on; going back is final, as it is for huidu. `looked_at`: time of the last look. `asked`: the
    share that somebody wants to open; None: the next one, whatever it is.
    """
    age = None if looked_at is None else max(0.0, now - looked_at)
    last = state.last
    bears = float(last.get("allowed") or 0.0)
    decision, sentence = str(last.get("decision", "not-evidence")), str(last.get("sentence", ""))
    blamed = last.get("blamed")
    if state.opened_at <= 0 and decision == "not-evidence" and bears > 0:
        decision = "advance"
        sentence = f"nobody has met {state.release} yet: the first share, {bears:.1%}, may be opened"
    if asked is not None and decision in ("advance", "hold"):
        decision = "advance" if bears >= asked - 1e-9 else "hold"
        sentence = f"the evidence bears {bears:.1%}, asked for are {asked:.1%}; {sentence}"
    if would is not None and would["act"] in BACK:
        back = would["act"] == "rollback"
        decision, bears = ("rollback" if back else "not-evidence"), 0.0
        sentence, blamed = str(would["sentence"]), would.get("blamed")
    elif state.outcome == "rolled-back":
        decision, bears, sentence = "rollback", 0.0, state.sentence
    elif state.outcome == "promoted":
        decision, bears, sentence = "advance", 1.0, state.sentence
    elif age is None or age > max(STALE_LEAST, STALE_POLLS * poll):
        since = "nobody has looked yet" if age is None else f"nobody has looked for {age:.0f} s"
        decision, sentence, bears = "not-evidence", f"not evidence: {since}", 0.0
    return Answer(
        name,
        state.release,
        decision,
        sentence,
        blamed,
        state.share,
        bears,
        None if age is None else round(age, 1),
        str(state.started.get("mode", "rollout")),
        last.get("gates", {}),
    )


def hook_passes(hook: str, found: Answer, back: bool) -> bool:
    """Whether Flagger's webhook of that kind is answered with 200. `back`: huidu would be back at share 0.

    `rollback` asks whether to go back. The others ask whether to go on: `rollout` fails only for what is
    proved bad (each failure counts towards Flagger's threshold, and waiting for evidence is no failure);
    `confirm-traffic-increase` waits for the proof, `confirm-promotion` for the one that bears everybody.
    """
    rule = HOOKS[hook]
    if rule == "told":
        return True
    if rule == "back":
        return back or found.decision == "rollback"
    if back or found.decision == "rollback":
        return False
    if rule == "fresh":
        return found.age is not None and "nobody has looked" not in found.sentence
    if rule == "everybody":
        return found.decision == "advance" and found.allowed >= 1.0
    return rule == "unharmed" or found.decision == "advance"
