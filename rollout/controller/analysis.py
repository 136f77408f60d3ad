"""What is seen at a look, and judged: everything but people's word that the next action is decided by.

The judge's state is brought back from journal and evidence; what a look says is journaled as `judged` (in the
A/A stage as `compared`), and what is not journaled was never judged.
"""

from __future__ import annotations

from collections.abc import Sequence

from huidu.foundation.errors import StateError
from huidu.model.verdict import Verdict
from rollout.controller import noted
from rollout.controller.acting import going_back
from rollout.controller.actions import Sight
from rollout.controller.edge import Edge, Look
from rollout.controller.fold import RolloutState
from rollout.controller.jobs import decided, opened
from rollout.controller.judgement import Comparison, Judgement
from rollout.controller.ledger import Ledger
from rollout.controller.stage_zero import at_stage_zero
from rollout.controller.steps import planned_shares
from rollout.dispersed import header_of, journaled, judged_with, levels_of, sentence_of
from rollout.judge import JudgeConfig
from rollout.ladder import Ladder
from rollout.plan import Plan


class Analysis:
    """Of one rollout. `verdict`: of the newest look, None before the first evidence."""

    def __init__(self, plan: Plan, ladder: Ladder, ledger: Ledger, edge: Edge) -> None:
        self.verdict: Verdict | None = None
        self._plan = plan
        self._ladder = ladder
        self._ledger = ledger
        self._edge = edge
        self._judgement: Judgement | None = None
        self._comparison: Comparison | None = None

    @property
    def config(self) -> JudgeConfig:
        """The judge's, as it stands."""
        return self._judgement.config if self._judgement else self._config(())

    def resume(self) -> None:
        """Bring the judge back, as journal and evidence say."""
        known = self._state.judging
        if known is None:
            self._edge.evidence.read(0)
            return
        dispersed = journaled(known)
        self._edge.evidence.head(header_of(dispersed), levels_of(dispersed))
        intervals = self._edge.evidence.read(self._state.evidence_lines)
        config = self._config(known["shares"])
        self._judgement, remark = Judgement.replay(config, self._edge.journal.events(), intervals)
        if remark:
            self._edge.voice.say(f"note: {remark}", "yellow")

    def stepped(self) -> None:
        """The share was widened."""
        if self._judgement is not None:
            self._judgement.stepped()

    @property
    def _state(self) -> RolloutState:
        return self._ledger.state

    def _config(self, shares: Sequence[float]) -> JudgeConfig:
        return judged_with(self._plan, self._ladder.cohorts, tuple(shares), self._state.judging)

    def sight(self, now: float, abort: str) -> Sight:
        """What is seen at one look, judged and journaled. `abort`: a person's reason to go back, or ""."""
        return self._compare(now, abort) if self._state.trial == "open" else self._look(now, abort)

    def _look(self, now: float, abort: str) -> Sight:
        closing = (self._state.closing is not None and not self._state.retreated) or going_back(self._state)
        closing = closing or decided(self._state) is not None or not opened(self._plan, self._state)
        look = Look() if closing else self._edge.eyes.look(self._state, now)
        self._judge(look, now)
        return self._sight(look, abort)

    def _compare(self, now: float, abort: str) -> Sight:
        """What is seen in the A/A stage. It says nothing about the release, so it is no evidence of that."""
        assert self._edge.comparing is not None
        look = self._edge.comparing.look(self._state, now)
        self._comparison = self._comparison or Comparison(self._config(()))
        difference = self._comparison.look(look.intervals, now)
        self._ledger.note(
            "compared", sentence=difference or "; ".join(look.problems), gates=self._comparison.counts()
        )
        return Sight(self.verdict, look.traffic, look.problems, abort, difference=difference)

    def _sight(self, look: Look, abort: str) -> Sight:
        """What is seen. While stage 0 lasts its synthetic requests go on; they say something too."""
        problems = [*look.problems, *((self._ledger.deaf,) if self._ledger.deaf else ())]
        testers, complaint, unasked = self._edge.testers, "", ""
        if at_stage_zero(self._plan, self._state) and self._judgement is not None:
            testers.start()
            problems += [problem] if (problem := testers.problem()) else []
            complaint, unasked = testers.complaint(), testers.unasked()
        else:
            testers.stop()
        return Sight(self.verdict, look.traffic, tuple(problems), abort, complaint=complaint, unasked=unasked)

    def _judge(self, look: Look, now: float) -> None:
        if self._state.judging is None:
            if look.problems or sum(look.traffic.values()) <= 0:
                return
            shares = planned_shares(self._plan, self._ladder, look.traffic)
            self._begin_judging(shares, look)
            return
        if self._judgement is None or not (look.intervals or look.problems or self._state.retreated):
            return
        if look.intervals:
            self.verdict = self._judgement.look(look.intervals, now)
        lines = self._state.evidence_lines
        try:
            lines = self._edge.evidence.append(look.intervals)
            self._ledger.deaf = ""
        except StateError as error:
            self._ledger.deaf = f"state cannot be written ({error.what})"
        config = self._judgement.config
        deaf = self._ledger.deaf
        facts = noted.judged(
            self._plan, self._ladder, config, self._state, look, self.verdict, lines=lines, deaf=deaf
        )
        self._ledger.note("judged", **facts)

    def _begin_judging(self, shares: Sequence[float], look: Look) -> None:
        """From here on the judge listens; how clumped stable's counts are is measured once, now."""
        found = self._edge.dispersed(self._edge.clock.now())
        data = {name: each.to_data() for name, each in found.items()}
        self._ledger.note("judging", shares=list(shares), traffic=dict(look.traffic), dispersion=data)
        self._edge.evidence.head(header_of(found), levels_of(found))
        config = self._config(shares)
        self._judgement = Judgement(config)
        if found:
            self._edge.voice.say(sentence_of(config))
