"""Running a checked runbook: in order, one step at a time, and everything it started ended when it ends.

Before every step the intention is journaled, afterwards what came. The first unexpected outcome or an
interruption stops the normal steps; the clean-up steps (`Kind: always`) run all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huidu.foundation.clock import Clock
from huidu.foundation.errors import StateError
from huidu.foundation.outcome import Outcome
from runbooks.engine.commands import Commands, Interrupted, Surroundings, Unexpected, named
from runbooks.engine.display import Display
from runbooks.engine.journal import Record, RunResult, StepResult
from runbooks.engine.procedure import Kind, Runbook, Step
from runbooks.engine.signals import Interruption

_PATIENCE = 3
"""Signals until clean-up is given up."""


def applies(step: Step, flags: tuple[str, ...]) -> bool:
    """Whether the step belongs to a run with these flags."""
    return (not step.when or step.when in flags) and (not step.unless or step.unless not in flags)


class Runner:
    """One run. `run()` never leaves a process of its own behind."""

    def __init__(
        self, runbook: Runbook, around: Surroundings, record: Record, display: Display, clock: Clock
    ) -> None:
        self._runbook = runbook
        self._around = around
        self._record = record
        self._display = display
        self._clock = clock
        self._interruption = Interruption(patience=_PATIENCE)
        self._run = record.folder.name.removeprefix(f"{runbook.name}-")
        self._commands = Commands(around, record.folder, self._run, display, clock, self._interruption)
        self._results: dict[str, StepResult] = {}
        self._lost = ""

    def run(self) -> RunResult:
        """Run every step that applies. Raises StateError where the end cannot be written down."""
        steps = [step for step in self._runbook.steps if applies(step, self._around.flags)]
        result = RunResult(
            self._runbook.name,
            self._record.folder.name,
            str(self._runbook.path),
            self._runbook.sha256,
            self._clock.now(),
            steps=[StepResult(s.id, s.title, s.kind.value, list(s.expect)) for s in steps],
        )
        self._results = {each.id: each for each in result.steps}
        self._display.title(self._runbook, self._record.folder.name)
        with self._interruption:
            try:
                self._record.began(self._runbook, self._around.flags)
                outcome = self._in_order(steps)
            finally:
                self._commands.abandon()
        result.finish(outcome, self._clock.now())
        try:
            self._record.ended(result)
        finally:
            begun = [step for step in steps if self._results[step.id].status != "not-run"]
            left = [name for step in begun for name in self._commands.left(step)]
            self._display.summary(result, left)
        return result

    def filled(self, text: str) -> str:
        """`text` with this run's variables filled in."""
        return self._commands.filled(text)

    def _in_order(self, steps: list[Step]) -> Outcome:
        outcome = Outcome.GOOD
        last = max((index for index, step in enumerate(steps) if step.kind is not Kind.ALWAYS), default=-1)
        for index, step in enumerate(steps):
            if outcome is not Outcome.GOOD and step.kind is not Kind.ALWAYS:
                continue
            if index > last or outcome is not Outcome.GOOD:
                outcome = self._stop(self._commands.running(), outcome)
                self._interruption.cleaning = True
            known = [self._results[name] for name in step.after if name in self._results]
            if step.after and all(each.status == "not-run" for each in known):
                continue
            if self._interruption.given_up:
                self._display.warn(f"clean-up step {step.id} was given up")
                continue
            outcome = self._one(index + 1, step, outcome)
        return self._stop(self._commands.running(), outcome)

    def _one(self, number: int, step: Step, outcome: Outcome) -> Outcome:
        """Run one step, and say what came; the worse of its outcome and the one so far."""
        result = self._results[step.id]
        log = self._log(step)
        result.log, result.status = str(log), "started"
        began = self._clock.monotonic()
        self._display.step(number, step, began)
        try:
            self._note("step-started", step=step.id, commands=[each.text for each in step.commands])
            if self._lost and not self._interruption.cleaning:
                raise Unexpected(self._lost)
            self._interruption.check()
            outcome = self._stop(step.stops, outcome)
            log.touch()
            if step.changes:
                self._record.changing(self._runbook, self._run)
            if step.kind is Kind.BACKGROUND:
                self._commands.start(step, log)
            else:
                self._commands.follow(step, log, result)
            for probe in step.verify:
                came = self._commands.verify(probe, log)
                self._note("verified", step=step.id, line=probe.line, came=came)
                if came:
                    raise Unexpected(f"the verification says otherwise: {came}")
            result.status = "done"
        except (Unexpected, StateError, OSError) as unexpected:
            result.status, result.came = "unexpected", str(unexpected)
            outcome = Outcome.BAD if outcome is Outcome.GOOD else outcome
        except Interrupted:
            result.status, result.came = "interrupted", f"interrupted by {self._interruption.name}"
            self._display.warn(f"{result.came}; cleaning up")
            outcome = Outcome.HELD if outcome is Outcome.GOOD else outcome
        result.seconds = round(self._clock.monotonic() - began, 3)
        self._note("step-ended", step=step.id, status=result.status, exit=result.exit, came=result.came)
        if result.status == "unexpected":
            self._display.unexpected(result, self.filled(step.otherwise))
        elif result.status == "done":
            came = "ready" if result.exit is None else f"exit {named((result.exit,))}"
            self._display.done(f"{step.id}: as expected, {came}", result.seconds)
        return outcome

    def _log(self, step: Step) -> Path:
        return self._record.folder / f"{step.id}.log"

    def _note(self, kind: str, **data: Any) -> None:
        """Journal; a journal that cannot be written stops the run, but never its clean-up."""
        if self._lost:
            return
        try:
            self._record.event(kind, **data)
        except StateError as error:
            self._lost = str(error)
            self._display.warn(self._lost)

    def _stop(self, names: tuple[str, ...], outcome: Outcome) -> Outcome:
        """Stop these background steps; an exit that is not the expected one is an unexpected outcome."""
        for name in names:
            if name not in self._commands.running():
                continue
            self._display.note(f"stopping background step {name}")
            step, code, early = self._commands.stop(name)
            result = self._results[name]
            result.exit = code
            self._note("background-stopped", step=name, exit=code)
            if result.status != "done":
                continue
            result.status = "stopped"
            if early or code not in step.expect:
                result.status = "unexpected"
                when = "before it was stopped" if early else "when it was stopped"
                came = "no exit" if code is None else named((code,))
                result.came = f"expected exit {named(step.expect)} when stopped, came {came} {when}"
                self._display.unexpected(result, self.filled(step.otherwise))
                outcome = Outcome.BAD if outcome is Outcome.GOOD else outcome
        return outcome
