"""Which of huidu's own commands change something: a runbook must not call them harmless."""

from __future__ import annotations

from collections.abc import Sequence

CHANGING = (
    *("stack up", "stack down", "stack release", "stack failover", "stack alone", "stack rejoin"),
    *("load verify", "load offer", "load search", "load surge", "load soak", "load worker"),
    *("rollout run", "rollout adopt", "rollout request", "rollout guard", "rollout serve --run"),
    *("rollout abort", "rollout promote-now", "rollout approve", "rollout pause", "rollout resume"),
    *(
        "rollout contract",
        "rollout acknowledge",
        "rollout token",
        "journal retire",
        "runbook run",
        "doctor --obtain",
    ),
)
"""Group, command and, where only an option makes it change something, that option."""


def changing(words: Sequence[str]) -> str:
    """The one of CHANGING that this command line is, "" where it is none."""
    if not words or words[0] != "huidu":
        return ""
    for each in CHANGING:
        parts = each.split()
        named = [part for part in parts if not part.startswith("-")]
        if list(words[1 : 1 + len(named)]) == named and set(parts) <= set(words):
            return each
    return ""
