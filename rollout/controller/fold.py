"""What a rollout knows, folded from its journal: nothing is ever remembered anywhere else. Pure.

| Event            | Meaning                                                                             |
|------------------|-------------------------------------------------------------------------------------|
| `started`        | plan text and hash, release, route, salt: fixed for the whole rollout               |
| `resumed`        | another process took over (or the same one, started again)                          |
| `judging`        | the judge begins: shares of the stages, traffic per cohort                          |
| `intended`       | weights are about to be written: purpose, weights, version, sentence                |
| `confirmed`      | every proxy was read back and serves that version                                   |
| `failed`         | a write was refused or not confirmed; it is tried again                             |
| `partial`        | of a fleet some proxies serve what was asked, others do not: which                  |
| `changed`, `unchanged` | somebody else moved the weights; they are again what the journal knows        |
| `strange-version` | a proxy serves the journaled weights under a version nobody knows                  |
| `draining`, `drained` | requests the candidate still had after the way back; what became of them       |
| `compared`       | one look of the A/A stage: no evidence about the release, judged anew after a restart |
| `judged`         | one look at the evidence: gates, decision, and how many lines of evidence it ends at |
| `hook-intended`  | a deploy command is about to run; `hook-done`, `hook-failed` say what became of it  |
| `paused`, `held` | the process ended, the share stays; the next run goes on                            |
| `restarted`      | evidence is back after a retreat: from stage 0 again                                |
| `act`            | what was made of a person's act: granted or refused, and why                        |
| `waiting`        | all is proved, and a stage waits for people                                         |
| `frozen`, `thawed` | a freeze began, or is over: nothing widens meanwhile                              |
| `plan-edited`    | the plan's file is another one (or the first one again); its hash. Nothing follows  |
| `guard-silent`, `guard-back` | the controller's guard gives no sign of life, or does again             |
| `guard-ended`    | a guard killed a controller that was silent, but held its locks                     |
| `guard-told`     | a guard let the share stay, by plan or because there is nothing to go back to       |
| `told`           | a notification, and whether it was sent                                             |
| `unsent`         | a guard ended, and what it could not tell people                                    |
| `job-begun`, `job-done`, `job-failed`, `job-again` | a command around the traffic: see job.py             |
| `ended`          | the outcome; nothing follows but the schema's contract                              |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from huidu.foundation.journal import Event
from rollout.controller import job
from rollout.controller.proxies import fold_proxies
from rollout.controller.state import Move, Pending, Purpose, RolloutState

__all__ = ["Move", "Pending", "Purpose", "RolloutState", "fold"]


def fold(events: Iterable[Event], state: RolloutState | None = None) -> RolloutState:
    """`state` (default: nothing known) after `events`. Kinds it does not know change nothing."""
    state = state or RolloutState()
    for event in events:
        apply = _APPLY.get(event.kind)
        if apply is not None:
            state = apply(state, event)
        proxies = fold_proxies(state.proxies, event)
        if proxies is not state.proxies:
            state = dataclasses.replace(state, proxies=proxies)
    return state


def _sets(**parts: Any) -> Callable[[RolloutState, Event], RolloutState]:
    """An event that says no more than its kind."""
    return lambda state, event: dataclasses.replace(state, **parts)


def _started(state: RolloutState, event: Event) -> RolloutState:
    weights = dict.fromkeys(event.data["cohorts"], 0)
    return RolloutState(
        started=event.data,
        started_at=event.t,
        weights=weights,
        changed_at=event.t,
        watched_from=event.t,
        looked_at=event.t,
        evidence_at=event.t,
    )


def _resumed(state: RolloutState, event: Event) -> RolloutState:
    # Nobody looked while no process ran: neither blindness nor the longest bake count that time.
    hook = "" if state.hook in ("intended", "failed") else state.hook
    return dataclasses.replace(
        state,
        watched_from=event.t,
        looked_at=event.t,
        unwatched=state.unwatched + max(0.0, event.t - state.looked_at),
        resting="",
        hook=hook,
        clear_since=0.0,
        guard_told=False,
        jobs=job.taken_over(state.jobs),
    )


def _judging(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(state, judging=event.data, judging_at=event.t)


def _intended(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(
        state, pending=Pending(Move.from_data(event.data), str(event.data["version"]), event.t)
    )


def _failed(state: RolloutState, event: Event) -> RolloutState:
    if state.pending is None:
        return state
    return dataclasses.replace(
        state, pending=dataclasses.replace(state.pending, problem=str(event.data["problem"]))
    )


def _confirmed(state: RolloutState, event: Event) -> RolloutState:
    if state.pending is None:
        return state
    move = state.pending.move
    if move.purpose is Purpose.RESTORE:
        return _restored(state, event)
    return dataclasses.replace(
        state,
        weights=dict(move.weights),
        position=move.position,
        share=move.share,
        stage=move.stage,
        changed_at=event.t,
        looked_at=event.t,
        unwatched=0.0,
        opened_at=state.opened_at or (event.t if move.purpose is Purpose.WIDEN else 0.0),
        changes=(*state.changes, (state.pending.since, event.t)),
        pending=None,
        closing=None if move.purpose in (Purpose.WIDEN, Purpose.TRIAL) else move,
        trial=_trial(state, move),
        # Nobody drives it when a guard has acted: it rests until it is run again.
        resting="retreated" if move.purpose is Purpose.UNATTENDED else state.resting,
        sentence=move.sentence if move.purpose is Purpose.UNATTENDED else state.sentence,
        clear_since=state.clear_since if move.purpose in (Purpose.WIDEN, Purpose.TRIAL) else 0.0,
    )


def _restored(state: RolloutState, event: Event) -> RolloutState:
    """Nothing but the proxies changed; nobody met the candidate by the journal's will."""
    assert state.pending is not None
    return dataclasses.replace(
        state,
        changed_at=event.t,
        looked_at=event.t,
        unwatched=0.0,
        changes=(*state.changes, (state.pending.since, event.t)),
        before=state.before + state.untouched_before_pending,
        pending=None,
    )


def _trial(state: RolloutState, move: Move) -> str:
    if move.purpose is Purpose.TRIAL:
        return "open"
    if move.purpose is Purpose.UNATTENDED and state.trial != "done":
        return ""  # it was not over, and is judged anew when the rollout goes on
    return "done"


def _judged(state: RolloutState, event: Event) -> RolloutState:
    data = event.data
    first_bad = dict(state.first_bad)
    for gate, since in data.get("first_bad", {}).items():
        first_bad.setdefault(gate, since)
    return dataclasses.replace(
        state,
        polls=state.polls + 1,
        looked_at=event.t,
        evidence_lines=data["evidence_lines"],
        evidence_end=data["evidence_end"],
        evidence_at=event.t if data["usable"] else state.evidence_at,
        last=data,
        first_bad=first_bad,
        clear_since=(state.clear_since or event.t) if data.get("clear") else 0.0,
    )


def _hook_failed(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(state, hook="failed", hook_problem=str(event.data["problem"]))


def _resting(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(state, resting=event.kind, sentence=str(event.data["sentence"]))


def _ended(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(
        state,
        outcome=str(event.data["outcome"]),
        sentence=str(event.data["sentence"]),
        ended_at=event.t,
        pending=None,
        resting="",
    )


def _restarted(state: RolloutState, event: Event) -> RolloutState:
    # What people said was said of what they saw then: approvals and haste are for one attempt.
    return dataclasses.replace(
        state,
        closing=None,
        attempt=state.attempt + 1,
        before=len(state.changes),
        restarted_at=event.t,
        opened_at=0.0,
        approvals=(),
        hurry="",
        waiting="",
        stage="start",
        resting="",
    )


def _act(state: RolloutState, event: Event) -> RolloutState:
    data = event.data
    state = dataclasses.replace(state, acts_end=int(data["end"]))
    if not data["accepted"]:
        return state
    by, kind = str(data["by"]), data["act"]
    if kind == "approve":
        given = (*state.approvals, (str(data["stage"]), by))
        return dataclasses.replace(state, approvals=given, bake_from=event.t)
    if kind == "pause":
        return dataclasses.replace(state, paused_by=by, hurry="")
    if kind == "resume":
        return dataclasses.replace(state, paused_by="", bake_from=event.t)
    if kind == "promote-now":
        return dataclasses.replace(state, hurry=by)
    return state


def _waiting(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(state, waiting=str(event.data["stage"]))


def _frozen(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(state, frozen=str(event.data["sentence"]))


def _thawed(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(state, frozen="", bake_from=event.t)


def _plan_edited(state: RolloutState, event: Event) -> RolloutState:
    now = str(event.data["plan_hash"])
    return dataclasses.replace(state, edited="" if now == state.started.get("plan_hash") else now)


def _job_begun(state: RolloutState, event: Event) -> RolloutState:
    # What closes the candidate's streams ends the candidate, whatever becomes of the command.
    stopped_at = event.t if event.data["name"] == job.CLOSE else state.stopped_at
    return dataclasses.replace(state, jobs=job.begun(state.jobs, event), stopped_at=stopped_at)


def _job_ended(state: RolloutState, event: Event) -> RolloutState:
    started = event.kind == "job-done" and event.data["name"] == job.START
    stopped_at = 0.0 if started else state.stopped_at
    return dataclasses.replace(state, jobs=job.ended(state.jobs, event), stopped_at=stopped_at)


def _job_again(state: RolloutState, event: Event) -> RolloutState:
    return dataclasses.replace(state, jobs=job.taken_over(state.jobs))


_APPLY = {
    "job-again": _job_again,
    "job-begun": _job_begun,
    "job-done": _job_ended,
    "job-failed": _job_ended,
    "started": _started,
    "resumed": _resumed,
    "judging": _judging,
    "intended": _intended,
    "failed": _failed,
    "confirmed": _confirmed,
    "judged": _judged,
    "hook-intended": _sets(hook="intended"),
    "hook-done": _sets(hook="done"),
    "hook-failed": _hook_failed,
    "paused": _resting,
    "held": _resting,
    "ended": _ended,
    "restarted": _restarted,
    "act": _act,
    "waiting": _waiting,
    "frozen": _frozen,
    "thawed": _thawed,
    "plan-edited": _plan_edited,
    "guard-silent": _sets(guard_silent=True),
    "guard-back": _sets(guard_silent=False),
    "guard-told": _sets(guard_told=True),
}
