"""Journals as HTML and as metrics: what the pages show, whoever asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from huidu.foundation.clock import Clock
from huidu.foundation.errors import HuiduError
from huidu.foundation.journal import Journal
from rollout.around import plan_of
from rollout.failing import beside
from rollout.plan import Plan
from rollout.record import report
from rollout.serve import turns, words
from rollout.serve.drawn import span
from rollout.serve.metrics import exposition
from rollout.serve.offers import STANDING, Offer
from rollout.serve.readings import Reading, Readings
from rollout.serve.view import glance, view

HERE = Path(__file__).resolve().parent
RECENT = 10
"""Finished rollouts on the first page; the others stand in the history."""


class Told:
    """Contexts of the templates over `readings`. Raises HTTPException 404 for an unknown name."""

    def __init__(self, readings: Readings, clock: Clock, observations: Readings | None = None) -> None:
        self._readings = readings
        self._observations = observations
        self._clock = clock
        self._templates = _templates()

    def alone(self, name: str, language: str) -> str:
        """The page of one rollout with its style in it, no script, nothing to press."""
        style = (HERE / "static" / "page.css").read_text(encoding="utf-8")
        return self.html("mail.html.j2", language, "", {**self.rollout(name), "style": style, "mail": True})

    def metrics(self) -> str:
        """In Prometheus's text format."""
        readings = self._readings.all()
        states = [each.story.state for each in readings]
        plans = {str(state.started.get("plan_hash", "")): plan_of(state) for state in states}
        return exposition(readings, plans, self._clock.now())

    def home(self) -> dict[str, Any]:
        """All rollouts at a glance, and observations of what others shift."""
        now = self._clock.now()
        all_ = [glance(each, now) for each in self._readings.all()]
        going = [each for each in all_ if not each.over and each.chip != "damaged"]
        past = [each for each in all_ if each.over]
        watched = self._observations.all() if self._observations is not None else []
        return {
            "needing": sorted(
                (each for each in all_ if each.needs), key=lambda each: (not each.urgent, each.over)
            ),
            "going": going,
            "past": past[:RECENT],
            "more": max(0, len(past) - RECENT),
            "observed": [glance(each, now) for each in watched[:RECENT]],
            "now": now,
        }

    def revision(self) -> int:
        """Changes whenever anything did."""
        watched = self._observations.revision() if self._observations is not None else 0
        return self._readings.revision() + watched

    def history(self) -> dict[str, Any]:
        """Every rollout there was."""
        now = self._clock.now()
        return {"past": [glance(each, now) for each in self._readings.all()], "now": now}

    def rollout(self, name: str) -> dict[str, Any]:
        """One rollout."""
        return self._one(self._readings.named(name), "rollouts")

    def observed(self, name: str) -> dict[str, Any]:
        """One observation."""
        found = self._observations.named(name) if self._observations is not None else None
        return self._one(found, "observed")

    def act(self, name: str, kind: str) -> dict[str, Any]:
        """The question before an act. 404 where it is not to be done now, or known by another name."""
        context = self.rollout(name)
        offered = context["view"].offers if context["view"] is not None else ()
        found = next((each for each in offered if each.kind == kind), None)
        if found is None:
            if kind not in STANDING:
                raise HTTPException(404, "there is nothing of that kind to be done")
            found = STANDING[kind]  # it was offered a moment ago: the controller says why not any more
        plan = plan_of(context["view"].state) if context["view"] is not None else None
        return {**context, "offer": found, "may": _may(plan, found) if plan is not None else ()}

    def _one(self, reading: Reading | None, base: str) -> dict[str, Any]:
        if reading is None:
            raise HTTPException(404, "nothing has that name")
        now = self._clock.now()
        told = view(reading, now) if reading.story.state.started else None
        return {"view": told, "glance": glance(reading, now), "now": now, "base": base}

    def report(self, name: str) -> dict[str, Any]:
        """report.json as it is now."""
        reading = self._readings.named(name)
        if reading is None:
            raise HTTPException(404, "no rollout has that name")
        try:
            with Journal.open(reading.folder / "journal.sqlite", self._clock, writer=False) as journal:
                facts = report(reading.name, journal.events())
        except HuiduError as error:
            raise HTTPException(500, str(error)) from None
        return facts if facts["outcome"] == "running" else facts | beside(reading.failing)

    def html(self, template: str, language: str, path: str, context: dict[str, Any]) -> str:
        """`template` filled."""

        def t(text: words.Text | str, zh: str = "") -> str:
            if isinstance(text, words.Text):
                return text.in_(language)
            return zh if language == "zh" else text

        found: str = self._templates.get_template(template).render(
            **{"t": t, "lang": language, "path": path, "mail": False, **context}
        )
        return found


def _may(plan: Plan, offer: Offer) -> tuple[str, ...]:
    """The roles that may do it; () where everybody may."""
    stage = next((each for each in plan.stages if each.name == offer.stage), None)
    if stage is not None and stage.approval is not None and stage.approval.roles:
        return stage.approval.roles
    return next((roles for kind, roles in plan.people.may.items() if kind == offer.kind), ())


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        percent=words.percent,
        number=words.count,
        span=span,
        code=words.with_code,
        without_addresses=words.without_addresses,
        moment=words.moment,
        clock=words.clock_time,
        gate=words.gate_name,
        stage=words.stage_name,
        cohort=words.cohort_name,
        outcome=words.outcome_word,
        decision=words.decision_word,
        kind=turns.kind_word,
        turn=turns.turn_text,
    )
    for name in environment.list_templates():
        environment.get_template(name)  # those of this process's code, whatever is installed meanwhile
    return environment
