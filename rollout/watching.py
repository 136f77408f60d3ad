"""`status --watch`: journals as they grow, one line for each thing that happens. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable

from huidu.foundation.clock import Clock
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout.serve.readings import Reading, Readings
from rollout.serve.story import Turn, outcome
from rollout.serve.turns import kind_word, turn_text

LOOK_EVERY = 1.0
"""Seconds."""


def watch(
    workspace: Workspace, name: str | None, clock: Clock, terminal: Terminal, stop: Callable[[], bool]
) -> None:
    """Until every watched rollout is over or rests, or until `stop`. None: all that are under way."""
    readings = Readings(workspace.rollouts, clock)
    told: dict[str, int] = {}
    damaged: set[str] = set()
    while True:
        readings.look_again()
        followed = [each for each in readings.all() if name in (None, each.name)]
        for each in followed:
            if each.problem and each.name not in damaged:
                damaged.add(each.name)
                terminal.say(f"{each.name}: {each.problem}", "bold red")
        going = [
            each for each in followed if outcome(each.story.state) == "running" and each.name not in damaged
        ]
        for each in followed:
            if each.name in told or each in going or name is not None:
                for turn in each.story.turns[told.get(each.name, 0) :]:
                    terminal.say(_said(each, turn), _STYLES.get(turn.kind, ""))
                told[each.name] = len(each.story.turns)
        if not going or stop():
            return
        terminal.progress("; ".join(_now(each, clock.now()) for each in going))
        clock.sleep(LOOK_EVERY)


def _said(reading: Reading, turn: Turn) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(turn.t))
    share = "as stable" if turn.as_stable else f"{turn.share:6.1%}"
    word, text = kind_word(turn.kind).en, turn_text(turn).en
    said = text if text.lower().startswith(word) else f"{word}: {text}"  # many a sentence begins with it
    return f"{at}  {reading.name}  {share}  {said}"


def _now(reading: Reading, now: float) -> str:
    state = reading.story.state
    gates = ", ".join(
        f"{name} {gate['log_e']:+.1f}/{gate['bound']:.1f}"
        for name, gate in state.last.get("gates", {}).items()
    )
    alone = " UNATTENDED" if reading.driven is False else ""
    seen = (
        f"last look {now - reading.story.looked_at:.0f} s ago" if reading.story.looked_at else "no look yet"
    )
    return f"{reading.name}{alone} {state.stage} {state.share:.1%} {gates} {seen}"


_STYLES = {
    "widen": "bold",
    "rollback": "bold red",
    "service": "bold red",
    "failed": "red",
    "retreat": "bold yellow",
    "blind": "yellow",
    "held": "bold yellow",
    "paused": "yellow",
}
