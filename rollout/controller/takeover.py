"""What a controller makes of the weights it finds: they must be what the journal says. Pure."""

from __future__ import annotations

from huidu.foundation.errors import RouterError, StateError
from rollout.controller.fold import Move, Purpose, RolloutState
from rollout.ladder import Ladder, share_of
from rollout.routers.router import RouteView, Split, beside


def reconciled(
    state: RolloutState, view: RouteView, ladder: Ladder, adopt: bool, fresh: bool = False
) -> tuple[Move, str] | None:
    """None where journal and proxies agree, or a move and its version that happened without the journal.

    `fresh`: beside the candidate a fresh baseline has its share; with another one weights are not adopted.
    Raises RouterError (a proxy is silent), StateError (somebody else moved the weights; not with `adopt`).
    """
    if state.closing is not None and not state.retreated:
        return None  # every proxy was read back; only the end is left
    back = state.pending is not None and state.pending.move.purpose not in (Purpose.WIDEN, Purpose.TRIAL)
    if view.problems and not back:
        if _watched_by_the_rest(state, view):
            return None  # customers are on the candidate: better watched without one proxy than not at all
        raise RouterError("; ".join(view.problems), remedy="start the proxy; nothing was changed")
    if state.pending is not None:
        return None  # the write may or may not have happened: it is repeated
    served = view.agreed
    trial = state.trial == "open" and any(state.weights.values())
    alike = served is not None and _shared(served, fresh)
    if served is not None and alike and (dict(served.weights), served.trial) == (dict(state.weights), trial):
        return None
    if served is not None and served.all_stable and served.version == state.started["rollback_version"]:
        sentence = "stable serves everybody: the release was taken back while state could not be written"
        return Move(Purpose.ROLLBACK, ladder.nobody, 0.0, 0.0, "stable", sentence), served.version
    if served is not None and adopt and alike:
        return adopted(served, ladder), served.version
    found = "the proxies disagree" if served is None else f"the proxy serves {dict(served.weights)}"
    if served is not None and not alike:
        found += f" and to a fresh baseline {dict(served.fresh)}"
    raise StateError(
        f"{found}, the journal knows {dict(state.weights)}: somebody else changed the weights",
        remedy="`huidu rollout run ... --adopt` (or `huidu rollout adopt` and run) goes on from what is "
        "served; `huidu rollout abort` gives everybody back to stable; nothing was changed",
    )


def _watched_by_the_rest(state: RolloutState, view: RouteView) -> bool:
    """Whether customers are on the candidate, and every proxy that answers serves what the journal says."""
    rest = RouteView(tuple(proxy for proxy in view.proxies if not proxy.problem)).agreed
    exposed = any(state.weights.values())
    return exposed and rest is not None and dict(rest.weights) == dict(state.weights)


def _shared(served: Split, fresh: bool) -> bool:
    """Whether a fresh baseline has what is its due beside the candidate."""
    return dict(served.fresh) == (beside(served.weights) if fresh and not served.trial else {})


def adopted(served: Split, ladder: Ladder) -> Move:
    """The farthest stage that is wholly within what is served."""
    position = 0.0
    for number, corner in enumerate(ladder.corners, start=1):
        if all(corner.weights[cohort] <= served.weights.get(cohort, 0) for cohort in ladder.cohorts):
            position = float(number)
    share = share_of(served.weights, {})
    stage = ladder.stage_name(position)
    return Move(Purpose.WIDEN, dict(served.weights), position, share, stage, "adopted from the proxy")
