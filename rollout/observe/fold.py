"""What an observation knows, folded from its journal. Pure.

Its events are a rollout's (`started`, `resumed`, `judging`, `judged`, `paused`, `ended`: controller/fold.py),
and two of its own:

| Event     | Meaning                                                                                  |
|-----------|------------------------------------------------------------------------------------------|
| `shifted` | somebody changed the share: `share` of all, `shares` per cohort, `since`, `borne`,       |
|           | `ahead`, `by` (who told it: selector, proxies, traffic)                                  |
| `would`   | what huidu would have done now: `act`, `share`, `sentence`, `blamed`                       |

`borne` is the share that the evidence bore at that moment; `ahead` says that more was opened than that.
A `judged` with `shares` says exactly what `traffic` had told by counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from huidu.foundation.journal import Event
from rollout.controller.fold import RolloutState, fold
from rollout.routers.router import WHOLE


def observed(events: Iterable[Event], state: RolloutState | None = None) -> RolloutState:
    """As controller.fold.fold, and with the share that somebody else set."""
    state = state or RolloutState()
    for event in events:
        state = shifted(state, event) if event.kind == "shifted" else fold((event,), state)
        if event.kind == "judged" and "share" in event.data:
            state = dataclasses.replace(state, share=event.data["share"])
        if event.kind == "judged" and "shares" in event.data:
            state = dataclasses.replace(state, weights=weights_of(event.data["shares"]))
    return state


def shifted(state: RolloutState, event: Event) -> RolloutState:
    """The share is another one now; the change lay between the look before and this one."""
    data = event.data
    share = float(data["share"])
    return dataclasses.replace(
        state,
        share=share,
        weights=weights_of(data["shares"]),
        position=1.0 if share > 0 else 0.0,
        stage="shifted" if share > 0 else "stable",
        changed_at=event.t,
        opened_at=state.opened_at or (event.t if share > 0 else 0.0),
        changes=(*state.changes, (float(data["since"]), event.t)),
    )


def weights_of(shares: Mapping[str, float]) -> dict[str, int]:
    """In basis points."""
    return {cohort: round(part * WHOLE) for cohort, part in shares.items()}


def stepping(events: Iterable[Event]) -> Iterable[Event]:
    """The same events as judgement.Judgement.replay reads them: a shift is a step."""
    for event in events:
        if event.kind == "shifted":
            yield dataclasses.replace(event, kind="intended", data={"purpose": "widen"})
            yield dataclasses.replace(event, kind="confirmed", data={})
        elif event.kind in ("intended", "confirmed"):
            continue
        else:
            yield event
