"""The observer's loop: look, judge, note what huidu would have done. It moves nothing, and cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError, StateError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Interval
from huidu.model.verdict import Verdict
from rollout.controller.edge import EvidenceLog, Eyes, Look
from rollout.controller.judgement import SETTLING, Judgement
from rollout.controller.steps import planned_shares
from rollout.controller.voice import Voice, line
from rollout.judge import JudgeConfig
from rollout.ladder import Ladder, share_of
from rollout.observe import noted
from rollout.observe.changes import BY_TRAFFIC, Change, Changes, Stated, shares_now
from rollout.observe.fold import observed, stepping, weights_of
from rollout.observe.shares import Flow, Flows, flows_of, share_of_all
from rollout.observe.would import BACK, EVERYBODY, Act, act_now, allowed
from rollout.plan import Plan, judge_config
from rollout.routers.router import WHOLE

SLICE = 0.2
"""Seconds between two looks at whether somebody wants it to stop."""
GONE = 60.0
"""Seconds without a request to a candidate that had some: whoever shifts has taken it back."""
COUNTING = ("error-ratio", "slo", "absolute-margin", "service")
"""Kinds of gates that count requests; the first of them says which share the candidate has."""


@dataclass
class Outside:
    """What the observer touches. `share`: the share as a selector tells it; `weights`: the candidate's, as
    all proxies serve them (None: they do not say). Without either traffic must tell."""

    journal: Journal
    eyes: Eyes
    evidence: EvidenceLog
    clock: Clock
    voice: Voice
    stop: Callable[[], bool]
    share: Callable[[], float] | None = None
    weights: Callable[[], Mapping[str, int] | None] = lambda: None


class Watcher:
    """Watches one release until it is promoted or taken back by somebody, or until it is stopped."""

    def __init__(self, name: str, plan: Plan, ladder: Ladder, outside: Outside) -> None:
        self.name = name
        self._plan = plan
        self._ladder = ladder
        self._out = outside
        self.state = observed(outside.journal.events())
        self.would: list[Mapping[str, Any]] = [e.data for e in outside.journal.events() if e.kind == "would"]
        self._first = next((n for n, g in plan.gates.items() if g.kind in COUNTING), next(iter(plan.gates)))
        self._changes = Changes()
        self._looked = False
        self._stated: Stated | None = None
        self._seen_at = 0.0
        self._traffic: Mapping[str, float] = {}
        self._verdict: Verdict | None = None
        self._judgement: Judgement | None = None
        self._take_over()

    @property
    def over(self) -> str:
        """The act by which huidu's own rollout would have ended, "" while it would go on."""
        return next((str(w["act"]) for w in self.would if w["act"] in (*BACK, "promote")), "")

    @property
    def counts_by(self) -> str:
        """The gate that counts requests."""
        return self._first

    def outcome(self) -> Outcome:
        """What the observation comes to."""
        ends = {"promote": Outcome.GOOD, "rollback": Outcome.BAD, "service": Outcome.HELD}
        return ends.get(self.over, Outcome.NOT_EVIDENCE if self._blind() else Outcome.HELD)

    def _blind(self) -> bool:
        return self.over == "retreat" or self.state.judging is None

    def watch(self, until: float | None = None) -> Outcome:
        """Until the release is with everybody and baked, or gone again; `until`: at most (Unix seconds)."""
        clock = self._out.clock
        while True:
            began = clock.monotonic()
            sentence = self.turn()
            if sentence or (until is not None and clock.now() >= until):
                self._note("ended", outcome="observed", sentence=sentence or "the time to observe is over")
                return self.outcome()
            while not self._out.stop():
                left = began + self._plan.observation.poll - clock.monotonic()
                if left <= 0:
                    break
                clock.sleep(min(SLICE, left))
            else:
                self._note("paused", sentence=f"observing stopped at {self.state.share:.1%} of all requests")
                return self.outcome()

    def turn(self) -> str:
        """One look; why it is over, "" while it is not."""
        now = self._out.clock.now()
        look, self._stated = self._share(self._out.eyes.look(self.state, now))
        flows = flows_of(look.intervals, self._first)
        intervals = self._shift(look, flows, self._stated, now)
        self._judge(dataclasses.replace(look, intervals=intervals), flows, now)
        act = act_now(self._plan, self._config(), self.state, self._verdict, look.problems, now)
        if act is not None and not self.over:
            self._tell(act)
        what = "; ".join(look.problems) or (self._verdict.sentence if self._verdict else "nothing judged yet")
        self._out.voice.progress(line(self.state, self._verdict, now, what))
        return self._finished(now)

    def _finished(self, now: float) -> str:
        if self.over == "promote" and self.state.share >= EVERYBODY:
            return "everybody has it"
        if self.state.opened_at and self.state.share <= 0 and now - self._seen_at > GONE:
            return "somebody took it back to stable"
        return ""

    # looking

    def _take_over(self) -> None:
        if self.state.started and self.state.polls:
            self._note("resumed")
        if self.state.judging is None:
            self._out.evidence.read(0)
            return
        config = self._config()
        intervals = self._out.evidence.read(self.state.evidence_lines)
        events = list(self._out.journal.events())
        told = next((event.data for event in reversed(events) if event.kind == "shifted"), {})
        self._changes = Changes.resumed(self.state, told, intervals, self._first)
        self._judgement, remark = Judgement.replay(config, stepping(events), intervals)
        if remark:
            self._out.voice.say(f"note: {remark}", "yellow")

    def _config(self) -> JudgeConfig:
        shares = self.state.judging["shares"] if self.state.judging else ()
        return judge_config(self._plan, self._ladder.cohorts, tuple(shares))

    def _share(self, look: Look) -> tuple[Look, Stated | None]:
        """The share as the selector or the proxies say it; None where traffic must tell."""
        if self._out.share is None:
            weights = self._out.weights()
            if weights is None:
                return look, None
            self._traffic = look.traffic if sum(look.traffic.values()) > 0 else self._traffic
            shares = {name: weight / WHOLE for name, weight in weights.items()}
            return look, Stated(shares, share_of(weights, self._traffic), "proxies")
        try:
            share = self._out.share()
        except HuiduError as error:
            share = self.state.share
            look = dataclasses.replace(look, problems=(*look.problems, error.what))
        return look, Stated(dict.fromkeys(self._ladder.cohorts, share), share, "selector")

    def _shift(self, look: Look, flows: Flows, stated: Stated | None, now: float) -> tuple[Interval, ...]:
        """Note a change of the share; the intervals, those of a change left out."""
        if sum(flow.canary for flow in flows.values()) > 0:
            self._seen_at = now
        change, counted = self._changes.seen(flows, stated, self.state, now)
        if change is Change.NONE:
            self._looked = self._looked or sum(flow.total for flow in flows.values()) > 0
            return look.intervals
        if change is Change.MADE:
            self._tell_change(look, counted, stated, now)
        why = f"{SETTLING}: somebody changed the share"
        return tuple(dataclasses.replace(each, excluded=each.excluded or why) for each in look.intervals)

    def _tell_change(self, look: Look, flows: Flows, stated: Stated | None, now: float) -> None:
        share, shares = shares_now(flows, stated)
        borne = allowed(self._plan, self._config(), self.state, self._verdict)
        before = self.state.share
        facts = {
            "share": share,
            "before": before,
            "shares": shares,
            "by": BY_TRAFFIC if stated is None else stated.by,
            "since": min((each.start for each in look.intervals), default=now),
            "borne": borne,
            # What was already open when the observation began was opened before anybody looked.
            "ahead": self._looked and share > before and share > borne * 1.1,
        }
        self._note("shifted", **facts)
        if self._judgement is not None:
            self._judgement.stepped()
        self._changes.made(flows, stated, facts)
        self._looked = True
        self._out.voice.say(
            line(self.state, self._verdict, now, f"somebody set {share:.1%} of all requests"), "bold"
        )

    # judging

    def _judge(self, look: Look, flows: Flows, now: float) -> None:
        if self.state.judging is None:
            if look.problems or sum(look.traffic.values()) <= 0:
                return
            shares = planned_shares(self._plan, self._ladder, look.traffic) if self._ladder.corners else []
            self._note("judging", shares=shares, traffic=dict(look.traffic))
            self._judgement = Judgement(self._config())
        if self._judgement is None or not (look.intervals or look.problems):
            return
        if look.intervals:
            self._verdict = self._judgement.look(look.intervals, now)
        self._note("judged", **self._judged(look, self._out.evidence.append(look.intervals)))

    def _judged(self, look: Look, lines: int) -> dict[str, Any]:
        known = self._changes.held.flows if self._stated is None else {}
        share = share_of_all(known) if sum(known.values(), Flow()).total > 0 else self.state.share
        borne = allowed(self._plan, self._config(), self.state, self._verdict)
        said = self._said_exactly()
        return noted.judged(
            self._config(), self.state, look, self._verdict, share=share, said=said, borne=borne, lines=lines
        )

    def _said_exactly(self) -> Stated | None:
        """What proxies say of a share that until now was only counted."""
        said = self._stated
        return said if said is not None and weights_of(said.shares) != dict(self.state.weights) else None

    def _tell(self, act: Act) -> None:
        last = self.would[-1] if self.would else {}
        if last.get("act") == act.name and last.get("share") == round(act.share, 4):
            return
        if act.name in ("widen", "everybody") and last.get("shift") == len(self.state.changes):
            return  # once a share: it waits for whoever shifts
        self._note(
            "would",
            act=act.name,
            share=round(act.share, 4),
            at=self.state.share,
            sentence=act.sentence,
            blamed=act.blamed,
            shift=len(self.state.changes),
        )
        style = "bold red" if act.name in BACK else "bold green"
        self._out.voice.say(
            line(
                self.state, self._verdict, self._out.clock.now(), f"huidu would: {act.name}; {act.sentence}"
            ),
            style,
        )

    def _note(self, kind: str, **data: Any) -> None:
        """Journal it and fold it in. Raises StateError: an observation that cannot be written is none."""
        event = self._out.journal.append(kind, **data)
        self.state = observed([event], self.state)
        if kind == "would":
            self.would.append(data)


def stated_share(value: Sequence[float], expression: str) -> float:
    """A share from what Prometheus answered. Raises StateError where it is no part of one."""
    if len(value) != 1 or not 0.0 <= value[0] <= 1.0:
        raise StateError(
            f"the share must be one number from 0 to 1, {expression!r} says {list(value)[:3]}",
            remedy="a weight in per cent is divided in the expression: flagger_canary_weight{...} / 100",
        )
    return value[0]
