"""A plan's gates against Prometheus over any stretch of time: an observation of the past, in virtual time.

The candidate is compared with stable poll by poll, as huidu would have done then; nothing is written but a
folder that is gone afterwards.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from huidu.foundation.clock import VirtualClock
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.foundation.prometheus import NoData, Prometheus, Series
from rollout.collect import Collector
from rollout.evidence_file import Header
from rollout.evidence_log import FileEvidence
from rollout.gate.findings import Finding, gate_sentence, left_out
from rollout.gate.slos import Stretch
from rollout.judge.state import VERSION as JUDGE_VERSION
from rollout.observe.answer import answer
from rollout.observe.begin import Order, place_of
from rollout.observe.fold import observed
from rollout.observe.watcher import Outside, Watcher
from rollout.observe.would import BACK
from rollout.plan import ladder_of
from rollout.plan.file import load_plan, plan_hash, plan_text

LOOKS = 60
"""At most so many over the stretch; not more often than the plan polls."""


class Past(Prometheus):
    """Prometheus as it would have answered at the clock's time."""

    def __init__(self, url: str, clock: VirtualClock, *, timeout: float = 10.0) -> None:
        super().__init__(url, timeout=timeout)
        self._clock = clock

    def window(self, selector: str, seconds: float, at: float | None = None) -> tuple[Series, ...] | NoData:
        return super().window(selector, seconds, self._clock.now() if at is None else at)

    def instant(self, expression: str, at: float | None = None) -> tuple[Series, ...] | NoData:
        return super().instant(expression, self._clock.now() if at is None else at)


class _Silent:
    def say(self, text: str, style: str = "") -> None:
        return None

    def progress(self, text: str) -> None:
        return None


def plan_findings(
    order: Order, stack_file: Path, prometheus: str | None, over: Stretch, asked: float
) -> list[Finding]:
    """Of the release in `order` over the stretch; `asked`: the share that is to be opened (1: everybody).

    Raises ConfigError, UsageError, Unreachable.
    """
    plan, text = load_plan(order.plan), plan_text(order.plan)
    if prometheus is not None:
        plan = plan.model_copy(
            update={"observation": plan.observation.model_copy(update={"prometheus": prometheus})}
        )
    place = place_of(plan, order, stack_file)
    poll = max(plan.observation.poll, over.seconds / LOOKS)
    plan = plan.model_copy(
        update={
            "synthetic": None,
            "comparison": None,
            "observation": plan.observation.model_copy(update={"poll": poll}),
        }
    )
    clock = VirtualClock(over.start)
    collector = Collector(Past(place.prometheus, clock), plan, place.cohorts, order.release, place.stable)
    collector.check()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="huidu-gate-")))
        journal = stack.enter_context(Journal.open(folder / "journal.sqlite", clock))
        evidence = FileEvidence(folder / "evidence.jsonl", Header(plan_hash(text), str(JUDGE_VERSION)))
        stack.callback(evidence.close)
        journal.append(
            "started",
            mode="observed",
            release=order.release,
            stable_release=place.stable,
            plan_name=plan.name,
            plan_file=str(order.plan),
            plan_text=text,
            plan_hash=plan_hash(text),
            judge_version=JUDGE_VERSION,
            cohorts=list(place.cohorts),
            salt="",
        )
        outside = Outside(journal, collector, evidence, clock, _Silent(), lambda: False)
        watcher = Watcher(order.name, plan, ladder_of(plan, tuple(place.cohorts)), outside)
        while clock.now() < over.end:
            clock.sleep(min(poll, over.end - clock.now()))
            watcher.turn()
        state = observed(journal.events())
        seen = evidence.read(state.evidence_lines)
        looked = max((each.t for each in journal.events() if each.kind == "judged"), default=None)
    end = next((each for each in watcher.would if each["act"] in BACK), None)
    found = answer(order.name, state, end, looked, poll, over.end, asked)
    outcome = _OUTCOMES[found.decision]
    subject = f"plan {plan.name}, release {order.release}"
    findings = [Finding(subject, "outcome", outcome, f"{found.decision}: {found.sentence}", over.seconds)]
    for name, gate in state.last.get("gates", {}).items():
        bad = outcome is Outcome.BAD and name == found.blamed
        word = outcome if bad or outcome is Outcome.GOOD else None
        findings.append(Finding(subject, name, word, gate_sentence(gate)))
    return [*findings, *left_out(subject, seen, watcher.counts_by)]


_OUTCOMES = {
    "advance": Outcome.GOOD,
    "rollback": Outcome.BAD,
    "hold": Outcome.HELD,
    "not-evidence": Outcome.NOT_EVIDENCE,
}
