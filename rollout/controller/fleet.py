"""The proxies between moves: who else moved the weights, and what the candidate still serves at the end."""

from __future__ import annotations

from typing import Any

from rollout.controller.acting import Hands, going_back
from rollout.controller.edge import Edge
from rollout.controller.hooks import Stopped
from rollout.controller.job import CLOSE
from rollout.controller.ledger import Ledger
from rollout.controller.proxies import counted, meddled, strangers, widens
from rollout.controller.takeover import adopted
from rollout.ladder import Ladder
from rollout.plan import Rollback
from rollout.plan.deploy import Command
from rollout.routers.router import Router

_LOOK = 0.1
LOOK_EVERY = 0.5
"""Seconds between two counts of the candidate's streams."""
GONE_WITHIN = 2.0
"""Seconds after the closing command within which they must be gone."""


def heed_proxies(ledger: Ledger, router: Router, hands: Hands, ladder: Ladder) -> tuple[str, bool]:
    """What somebody else made of the weights ("": nothing), and whether undoing it lets more customers in.

    Journaled when it is news. Proxies that are silent say nothing about it. Where a person asked for it, the
    rollout goes on from what all of them serve. A move that was not confirmed is not repeated over what
    somebody else made meanwhile; a way back is.
    """
    state = ledger.state
    if going_back(state) or state.closing is not None or state.outcome or state.hook:
        return "", False
    view, expected = router.look(), hands.expected()
    known = state.proxies
    ours = known.version.startswith(str(state.started["token"]))
    found = meddled(view, expected, ours, hands.asked())
    if found and known.adopting and view.agreed is not None:
        move, version = adopted(view.agreed, ladder), view.agreed.version
        ledger.note("intended", **move.to_data(), version=version)
        ledger.note("confirmed", version=version)
        ledger.say(f"goes on from what is served, as {known.adopting} asked", "bold", None)
        return "", False
    if not found and view.problems:
        return known.changed, False  # the one that was changed may be among them
    if found and found != known.changed:
        ledger.note("changed", sentence=found)
        ledger.say(found, "bold red", None)
    if known.changed and not found:
        ledger.note("unchanged", sentence="every proxy serves again what the journal knows")
        ledger.say("every proxy serves again what the journal knows", "", None)
    strange = "" if state.pending is not None else strangers(view, known.version, expected)
    if strange and strange != known.strange:
        sentence = f"a proxy serves the weights of the journal under the unknown version {strange!r}"
        ledger.note("strange-version", version=strange, sentence=sentence)
        ledger.say(sentence, "yellow", None)
    return found, bool(found) and widens(view, expected.weights)


def drained(ledger: Ledger, edge: Edge, rollback: Rollback) -> bool:
    """Wait until what the candidate still serves is over; after `rollback.drain` have it closed.

    Journaled with the counts before and after. Whoever does not say what it has open may have anything: where
    the plan names a command that closes it, that is waited for and closed like what is known. False when a
    person stopped the controller before: nothing more is journaled, and whoever is next goes on.
    """
    if not ledger.state.proxies.draining_at:
        first = counted(edge.router.streams())
        text = _opens(ledger, first)
        ledger.note("draining", sentence=text, **first)
        if _waits(first, rollback):
            ledger.say(f"{text}; they may go on for {rollback.drain:.0f} s", "bold yellow", None)
    known = ledger.state.proxies
    passed = max(0.0, edge.clock.now() - known.draining_at)
    begun = edge.clock.monotonic()
    while True:
        left = counted(edge.router.streams())
        passed_now = passed + edge.clock.monotonic() - begun
        if not _waits(left, rollback) or passed_now >= rollback.drain:
            break
        if edge.stop():
            return False
        edge.alive()
        edge.post.turn()  # people hear of the way back before the last chat is over
        edge.clock.sleep(min(LOOK_EVERY, rollback.drain - passed_now))
    try:
        sentence, after = _closed(ledger, edge, rollback, known.open, left, passed_now)
    except Stopped:
        return False
    ledger.note(
        "drained",
        sentence=sentence,
        before=known.open,
        after=after["open"],
        connections=after["connections"],
        silent=after["silent"] or left["silent"],
        seconds=round(passed_now, 1),
    )
    if known.open or left["silent"]:
        ledger.say(sentence, "bold red" if after["open"] else "", None)
    return True


def _waits(left: dict[str, Any], rollback: Rollback) -> bool:
    """Whether something may be open that ends by itself, or by the plan's command."""
    return bool(left["open"] or (left["silent"] and rollback.close is not None))


def _closed(
    ledger: Ledger, edge: Edge, rollback: Rollback, before: int, left: dict[str, Any], seconds: float
) -> tuple[str, dict[str, Any]]:
    """What is said of it, and what is open afterwards. Raises Stopped."""
    were = f"{_requests(before)} of {ledger.state.release} still open"
    unknown = _unknown(left)
    # One that had begun when the controller died is run again, though nothing may be left for it.
    known = ledger.state.jobs.get(CLOSE)
    begun = known is not None and known.at >= ledger.state.proxies.draining_at
    lacks = "the plan names no command that closes them (rollback.close)"
    if not _waits(left, rollback) and not begun:
        if unknown:
            # Of those that did say it is known, and of the others nothing.
            own = f"{were}, over where it is known;" if before else _served(ledger)
            return f"{own} {unknown}; {lacks}", left
        return f"{were}, over by themselves within {seconds:.0f} s", left
    if rollback.close is None:
        others = f"; {unknown}" if unknown else ""
        return f"{were}; after {seconds:.0f} s {left['open']} go on, {lacks}{others}", left
    problem = _run(ledger, edge, rollback.close)
    deadline = edge.clock.monotonic() + GONE_WITHIN
    after = counted(edge.router.streams())
    while after["open"] and not problem and edge.clock.monotonic() < deadline:
        edge.clock.sleep(0.1)
        after = counted(edge.router.streams())
    were_open = before if begun else left["open"]
    told = f"{were}; after {seconds:.0f} s {max(0, were_open - after['open'])} were closed"
    if after["open"]:
        told += f", {after['open']} go on ({problem or 'the command did not end them'})"
    if not unknown or (after["open"] and not after["silent"]):
        return told, after  # all have said by now what goes on
    became = f"may go on ({problem})" if problem else "was closed"
    own = f"{told};" if before or were_open or after["open"] else _served(ledger)
    since = "" if problem else f"after {seconds:.0f} s "
    return f"{own} {unknown}; {since}what they still had {became}", after


def _run(ledger: Ledger, edge: Edge, command: Command) -> str:
    """The closing command to its end; "" or what went wrong. Raises Stopped: it is run again."""
    if edge.stop():
        raise Stopped
    ledger.note("job-begun", name=CLOSE, facts={})
    problem = _to_its_end(ledger, edge, command)
    if problem:
        ledger.note("job-failed", name=CLOSE, problem=problem)
    else:
        ledger.note("job-done", name=CLOSE)
    return problem


def _to_its_end(ledger: Ledger, edge: Edge, command: Command) -> str:
    fills = {"release": ledger.state.release, "rollout": ledger.name}
    handle = edge.launch(command, fills, edge.folder / "close.log", edge.clock)
    try:
        while (problem := handle.problem()) is None:
            if edge.stop():
                raise Stopped
            edge.alive()  # a long command is no silence
            edge.clock.sleep(_LOOK)
        return problem
    finally:
        handle.end()


def _opens(ledger: Ledger, facts: dict[str, Any]) -> str:
    """What is open at first, as far as it is known."""
    unknown = _unknown(facts)
    if unknown and not facts["open"]:
        return f"{_served(ledger)} {unknown}"
    text = f"{_requests(facts['open'])} of {ledger.state.release} still open{_where(facts)}"
    return f"{text}; {unknown}" if unknown else text


def _unknown(facts: dict[str, Any]) -> str:
    """Who did not say what is open; "" where all did."""
    silent = facts["silent"]
    proxies = len(silent) + len(facts["proxies"])
    return (
        f"not known of {len(silent)} of {proxies} proxies: {', '.join(silent)} did not say" if silent else ""
    )


def _served(ledger: Ledger) -> str:
    return f"what {ledger.state.release} still serves is"


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _where(facts: dict[str, Any]) -> str:
    proxies = facts["proxies"]
    return f" ({', '.join(f'{p}: {n}' for p, n in proxies.items() if n)})" if len(proxies) > 1 else ""
