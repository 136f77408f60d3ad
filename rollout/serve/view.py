"""What the templates print: one rollout, read at one moment. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from huidu.foundation.errors import HuiduError
from rollout.around import Call, calls, plan_of, schema_steps
from rollout.controller.fold import RolloutState
from rollout.dispersed import judged_with
from rollout.judge.gate import JudgeConfig
from rollout.ladder import Ladder
from rollout.plan import Plan, ladder_of
from rollout.plan.route import grain_of
from rollout.serve.ahead import Ahead, Watched, ahead, elsewhere
from rollout.serve.around import CallRow, Caution, SchemaRow, attention, call_row, cautions, schema_row
from rollout.serve.drawn import POINTS, Plot, evidence_plot, exposed_plot, share_plot, time_axis, time_ticks
from rollout.serve.offers import Offer, offers, unheard
from rollout.serve.readings import Reading
from rollout.serve.rows import Row, gate_rows
from rollout.serve.story import Turn, outcome, thinned
from rollout.serve.turns import kind_word, said_zh
from rollout.serve.words import Text, minutes

SHOWN = 300
"""Turns on the page, the newest; the journal holds all."""
QUIET = 30.0
"""Seconds without a journaled event after which the page says so, where nobody knows who holds the lock."""


@dataclass(frozen=True, slots=True)
class Glance:
    """A rollout in a list."""

    name: str
    problem: str
    outcome: str
    chip: str
    release: str
    stable: str
    plan: str
    share: float
    stage: str
    started: float
    seconds: float
    exposed: int | None
    last: Turn | None
    closest: Row | None
    watch: Text | None
    needs: Text | None
    """Why a person should look at it now."""
    urgent: bool
    """Whether that cannot wait."""
    why: Text | None
    """What became of it, or was last done."""
    over: bool
    """Nothing follows any more: one that retreated, or rests, still owns its route."""


@dataclass(frozen=True, slots=True)
class View:
    """A rollout on its own page. `watch`: who drives it, where that needs saying."""

    glance: Glance
    state: RolloutState
    by: str
    blamed: str | None
    said_zh: str
    gates: Sequence[Row]
    weights: Sequence[tuple[str, int]]
    turns: Sequence[Turn]
    earlier: int
    share: Plot
    evidence: Plot
    exposed: Plot | None
    next: Ahead | None
    used: int
    excluded: Sequence[tuple[str, int]]
    requests: float
    looked_at: float | None
    """When the counts of the gates were taken."""
    offers: Sequence[Offer]
    unheard: Sequence[Text]
    """What people asked for, and no controller has answered."""
    cautions: Sequence[Caution]
    calls: Sequence[CallRow]
    schema: Sequence[SchemaRow]


def glance(reading: Reading, now: float) -> Glance:
    """For lists."""
    story, state = reading.story, reading.story.state
    word = outcome(state)
    watching = state.started.get("mode") == "observed" and word == "running"
    end = state.ended_at or (story.last_t if word != "running" else now)
    rows = gate_rows(state, _blamed(reading))
    alone = watch(reading, now)
    called = _called(reading)
    needs = attention(*_planned(state), state, called, now, reading.driven)
    if reading.problem:
        needs = _UNREADABLE
    return Glance(
        name=reading.name,
        problem=reading.problem,
        outcome=word,
        chip=_chip(reading, word, alone is not None, watching),
        release=state.release,
        stable=str(state.started.get("stable_release", "")),
        plan=str(state.started.get("plan_name", "")),
        # The candidate's arm is empty again after a promotion: the release itself serves everybody.
        share=1.0 if word == "promoted" else state.share,
        stage="everybody" if word == "promoted" else state.stage,
        started=state.started_at,
        seconds=max(0.0, end - state.started_at) if state.started else 0.0,
        exposed=state.last.get("exposed"),
        last=story.turns[-1] if story.turns else None,
        closest=max(rows, key=lambda row: (row.blamed, row.level), default=None),
        watch=alone,
        needs=needs or (Text("Nobody drives it.", "没有进程在驱动。") if alone else None),
        urgent=needs is _UNREADABLE or any(each.loud for each in _cautions(reading, called, now)),
        why=_why(word, reading),
        over=bool(state.outcome),
    )


def _why(word: str, reading: Reading) -> Text | None:
    turns, state = reading.story.turns, reading.story.state
    if not turns or word == "promoted":
        return None
    last = kind_word(turns[-1].kind)
    if not state.outcome:
        return last
    return Text(state.sentence or last.en, said_zh(word, state.release, turns) or state.sentence or last.zh)


_UNREADABLE = Text(
    "Its journal cannot be read: whether it is over is not known.", "日志无法读取：不知道是否已结束。"
)


def _chip(reading: Reading, word: str, alone: bool, watching: bool) -> str:
    if reading.problem and not reading.story.state.started:
        return "damaged"
    return "unattended" if alone else "observing" if watching else word


def _cautions(reading: Reading, called: Sequence[Call], now: float) -> list[Caution]:
    return cautions(reading.story.state, reading.failing, called, now, reading.driven)


def watch(reading: Reading, now: float) -> Text | None:
    """Whether somebody drives a rollout that is neither over nor resting."""
    state = reading.story.state
    if not state.started or outcome(state) != "running":
        return None
    quiet = now - reading.story.last_t
    since = minutes(max(0.0, quiet))
    if state.started.get("mode") == "observed" and reading.driven is False:
        return Text(
            f"Nobody observes this release any more (last sign of life {since.en} ago); "
            "`huidu rollout observe` with the same name goes on.",
            f"已无人观察此版本（最后一次记录在 {since.zh}前）；"
            "用同一名称执行 `huidu rollout observe` 可继续。",
        )
    if reading.driven is False:
        guard = Text("", "")
        if reading.guarded is not None:
            guard = (
                Text(" A guard watches.", "守护进程正在监看。")
                if reading.guarded
                else Text(" No guard watches either.", "也没有守护进程在监看。")
            )
        return Text(
            f"No process drives this rollout (last sign of life {since.en} ago).{guard.en}",
            f"没有进程在驱动此次发布（最后一次记录在 {since.zh}前）。{guard.zh}",
        )
    if reading.driven is None and quiet > QUIET:
        return Text(
            f"Nothing was journaled for {since.en}: is its controller alive?",
            f"已有 {since.zh}没有新的记录：控制进程是否仍在运行？",
        )
    return None


def view(reading: Reading, now: float) -> View:
    """For its page."""
    story, state = reading.story, reading.story.state
    blamed = _blamed(reading)
    plan, ladder = _planned(state)
    observed = state.started.get("mode") == "observed"
    called = _called(reading)
    rows = gate_rows(state, blamed, _config(plan, ladder, state))
    points, told = thinned(story.points, POINTS), without_begun(story.turns)
    word = outcome(state)
    x = time_axis(state.started_at, now if word == "running" else story.last_t)
    names = [row.name.en for row in rows]
    seen = exposed_plot(points, x)
    evidence = evidence_plot(points, names, blamed, x)
    return View(
        glance=glance(reading, now),
        state=state,
        by=str(state.started.get("by", "")),
        blamed=blamed,
        said_zh=said_zh(word, state.release, story.turns),
        gates=sorted(rows, key=lambda row: not row.blamed),
        weights=[(name, state.weights.get(name, 0)) for name in state.started.get("cohorts", state.weights)],
        turns=told[: -SHOWN - 1 : -1],
        earlier=max(0, len(told) - SHOWN),
        share=share_plot(story.points, story.turns, x),
        evidence=evidence if seen else dataclasses.replace(evidence, x=time_ticks(x)),
        exposed=seen,
        next=_next(plan, ladder, state, now, _watched(reading, now)),
        offers=() if observed else _offers(plan, ladder, reading, called, now),
        unheard=[] if observed else unheard(reading.unheard, state),
        cautions=_cautions(reading, called, now),
        calls=[call_row(each, now) for each in called],
        schema=[schema_row(each, now) for each in schema_steps(plan, state)],
        used=reading.evidence.used,
        excluded=reading.evidence.excluded.most_common(),
        requests=float(state.last.get("requests", 0)),
        looked_at=story.looked_at,
    )


def without_begun(turns: Sequence[Turn]) -> list[Turn]:
    """Without the beginning of a command whose end comes right behind it."""
    return [
        turn
        for turn, after in zip(turns, [*turns[1:], None], strict=True)
        if after is None
        or turn.kind != "job-begun"
        or after.kind not in ("job-done", "job-failed")
        or after.facts.get("name") != turn.facts.get("name")
    ]


def _called(reading: Reading) -> Sequence[Call]:
    state = reading.story.state
    plan = plan_of(state)
    return (
        [] if plan is None or state.started.get("mode") == "observed" else calls(reading.letters, plan.notify)
    )


def _offers(
    plan: Plan | None, ladder: Ladder | None, reading: Reading, called: Sequence[Call], now: float
) -> Sequence[Offer]:
    state, unanswered = reading.story.state, any(each.unanswered(now) for each in called)
    return offers(plan, ladder, state, unanswered, reading.driven is not False)


def _blamed(reading: Reading) -> str | None:
    return next((turn.blamed for turn in reversed(reading.story.turns) if turn.blamed), None)


def _planned(state: RolloutState) -> tuple[Plan | None, Ladder | None]:
    """The plan it follows; None where a plan of another version of huidu is not understood any more."""
    plan = plan_of(state)
    try:
        gateway = state.started.get("gateway")
        grain = grain_of(gateway["strategy"]) if gateway else None
        return plan, ladder_of(plan, tuple(state.started["cohorts"]), grain) if plan is not None else None
    except (HuiduError, KeyError, ValueError):
        return None, None


def _config(plan: Plan | None, ladder: Ladder | None, state: RolloutState) -> JudgeConfig | None:
    if plan is None or ladder is None:
        return None
    shares = tuple((state.judging or {}).get("shares", ()))
    try:
        return judged_with(plan, ladder.cohorts, shares, state.judging)
    except (HuiduError, KeyError, ValueError, TypeError):
        return None


def _watched(reading: Reading, now: float) -> Watched:
    sign = reading.sign or reading.story.last_t
    return Watched(reading.driven is not False, reading.guarded, max(0.0, now - sign))


def _next(
    plan: Plan | None, ladder: Ladder | None, state: RolloutState, now: float, watched: Watched
) -> Ahead | None:
    if state.outcome or not state.started:
        return None
    if state.started.get("mode") == "observed":
        return elsewhere(state)
    if plan is None or ladder is None:
        return None
    try:
        return ahead(plan, ladder, state, now, watched)
    except (HuiduError, KeyError, ValueError):
        # What happened is told all the same.
        return None
