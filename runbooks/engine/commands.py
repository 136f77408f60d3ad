"""The commands of a run: followed to their end, or kept in the background and stopped; none outlives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from huidu.foundation.clock import Clock
from runbooks.engine.check import OUTCOMES
from runbooks.engine.display import Display, elapsed
from runbooks.engine.journal import StepResult
from runbooks.engine.procedure import Command, Probe, Step
from runbooks.engine.process import Grace, Guarded, Tail, child_environment, output_since
from runbooks.engine.signals import Interrupted, Interruption
from runbooks.engine.words import filled, resolve

__all__ = ["Commands", "Interrupted", "Surroundings", "Unexpected", "named"]

_POLL = 0.1
_PROBE_LIMIT = 60.0
_READY_EVERY = 1.0
_SHOWN_LINES = 40


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a run takes place: `home` state, `here` working directory, `package` the installed rooms."""

    home: Path
    here: Path
    package: Path
    pid: int
    flags: tuple[str, ...] = ()
    grace: Grace = field(default_factory=Grace)


class Unexpected(Exception):
    """A step did not come out as expected; the text says what was expected and what came."""


def named(codes: tuple[int, ...]) -> str:
    """ "good (0)", "bad (1) or held (3)"."""
    names = {code: name for name, code in OUTCOMES.items()}
    return " or ".join(f"{names[code]} ({code})" if code in names else str(code) for code in codes)


class Commands:
    """Starts, follows and stops the processes of one run."""

    def __init__(
        self,
        around: Surroundings,
        folder: Path,
        run: str,
        display: Display,
        clock: Clock,
        interruption: Interruption,
    ) -> None:
        self._around = around
        self._display = display
        self._clock = clock
        self._interruption = interruption
        self._environment = child_environment(around.home)
        self._values = {
            "HUIDU_HOME": str(around.home),
            "RUN": run,
            "RUN_DIR": str(folder),
            "RUN_PID": str(around.pid),
            "KEEPER_PID": "0" if "keep" in around.flags else str(around.pid),
        }
        self._background: dict[str, tuple[Step, Guarded]] = {}

    def running(self) -> tuple[str, ...]:
        """The background steps that were started and not yet stopped."""
        return tuple(self._background)

    def filled(self, text: str) -> str:
        """`text` with this run's variables filled in: what a person is shown can be pasted."""
        return filled(text, self._values)

    def left(self, step: Step) -> tuple[str, ...]:
        """The files that the step said it leaves, and that are there."""
        names = (filled(name, self._values) for name in step.leaves)
        return tuple(name for name in names if (self._around.here / name).exists())

    def follow(self, step: Step, log: Path, result: StepResult) -> None:
        """Run a step's commands one after the other. Raises Unexpected, Interrupted, OSError."""
        offset = log.stat().st_size
        deadline = self._clock.monotonic() + step.within
        for index, command in enumerate(step.commands):
            self._display.command(self._shown(command))
            result.exit = self._finish(command, log, deadline, step.within)
            expected = step.expect if index == len(step.commands) - 1 else (0,)
            if result.exit not in expected:
                came = named((result.exit,))
                raise Unexpected(f"expected exit {named(expected)}, came {came}: {self._shown(command)}")
        output = output_since(log, offset)
        for text in step.shows:
            if text not in output:
                raise Unexpected(f"expected {text!r} in the output, and it is not there")

    def start(self, step: Step, log: Path) -> None:
        """Start a background step and wait until it is ready. Raises Unexpected, Interrupted, OSError."""
        deadline = self._clock.monotonic() + step.within
        *earlier, command = step.commands
        for each in earlier:
            self._display.command(self._shown(each))
            if code := self._finish(each, log, deadline, step.within):
                raise Unexpected(f"expected exit {named((0,))}, came {named((code,))}: {self._shown(each)}")
        self._display.command(f"{self._shown(command)}  (in the background)")
        offset = log.stat().st_size
        process, tail = self._start(command, log)
        self._background[step.id] = (step, process)
        pause = _READY_EVERY if step.ready and step.ready.command else _POLL
        while not self._ready(step, log, offset):
            self._show(tail)
            self._look_up(deadline, step.within)
            self._display.waiting("getting ready", step.within)
            self._clock.sleep(pause)
        self._show(tail)

    def stop(self, name: str) -> tuple[Step, int | None, bool]:
        """Stop a background step: the step, its exit code, and whether it had ended before."""
        step, process = self._background.pop(name)
        early = process.poll() is not None
        return step, self._end(process), early

    def abandon(self) -> None:
        """After anything at all: no background process is left."""
        for name in self.running():
            self.stop(name)

    def verify(self, probe: Probe, log: Path) -> str:
        """What the probe found wrong; "" where all is as it should be. Raises Interrupted, OSError."""
        assert probe.command is not None
        self._display.command(f"{self._shown(probe.command)}  (verification)")
        came, output = self._ask(probe.command, probe.shows, log)
        for line in output.splitlines()[-_SHOWN_LINES:] if came else ():
            self._display.line(line)
        return came

    def _ask(self, command: Command, shows: tuple[str, ...], log: Path) -> tuple[str, str]:
        """Ask quietly, into a log of its own: what was wrong ("" for nothing), and the answer."""
        log = log.with_name(f"{log.stem}.verification.log")
        log.touch()
        offset = log.stat().st_size
        deadline = self._clock.monotonic() + _PROBE_LIMIT
        code = self._finish(command, log, deadline, _PROBE_LIMIT, quiet=True)
        output = _without_first_line(output_since(log, offset))
        missing = [text for text in shows if text not in output]
        if code != 0:
            return f"expected exit {named((0,))}, came {named((code,))}: {self._shown(command)}", output
        if missing:
            return f"expected {missing[0]!r} in the output of {self._shown(command)}", output
        return "", output

    def _ready(self, step: Step, log: Path, offset: int) -> bool:
        assert step.ready is not None
        if step.ready.command is not None:
            return not self._ask(step.ready.command, step.ready.shows, log)[0]
        output = _without_first_line(output_since(log, offset))
        return all(text in output for text in step.ready.shows)

    def _shown(self, command: Command) -> str:
        """The command as a person would type it now."""
        return filled(command.text, self._values)

    def _start(self, command: Command, log: Path) -> tuple[Guarded, Tail]:
        words = resolve(command, self._values, self._around.here, self._around.package)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {self._shown(command)}\n")
        tail = Tail(log)
        return Guarded(words, log, self._environment, self._around.grace), tail

    def _finish(
        self, command: Command, log: Path, deadline: float, within: float, *, quiet: bool = False
    ) -> int:
        """Follow one command to its end, showing its output unless `quiet`; its exit code."""
        process, follower = self._start(command, log)
        tail = None if quiet else follower
        try:
            while (code := process.poll()) is None:
                self._show(tail)
                self._look_up(deadline, within)
                self._display.waiting("working", within)
                self._clock.sleep(_POLL)
            return code
        finally:
            self._end(process, tail)

    def _look_up(self, deadline: float, within: float) -> None:
        """Whether to go on. Raises Interrupted, Unexpected (time is up, a background step ended)."""
        self._interruption.check()
        if self._interruption.given_up:
            raise Unexpected("clean-up was given up after repeated signals")
        if self._clock.monotonic() > deadline:
            raise Unexpected(f"expected an end within {elapsed(within)}, and it was still running: stopped")
        if self._interruption.cleaning:
            return
        for name, (_, background) in self._background.items():
            code = background.poll()
            if code is not None:
                raise Unexpected(
                    f"background step {name!r} should still be running, and ended with exit {named((code,))}"
                )

    def _end(self, process: Guarded, tail: Tail | None = None) -> int | None:
        """Stop the process if it runs, wait for its end, kill it when even that takes too long."""
        if process.poll() is None:
            process.stop()
            limit = self._clock.monotonic() + process.grace.limit
            while process.poll() is None:
                if self._clock.monotonic() > limit:
                    process.kill()
                    break
                self._show(tail)
                self._display.waiting("stopping", process.grace.limit)
                self._clock.sleep(_POLL)
        self._show(tail, last=True)
        process.close()
        return process.poll()

    def _show(self, tail: Tail | None, *, last: bool = False) -> None:
        if tail is None:
            return
        for line in tail.lines(last=last):
            self._display.line(line)


def _without_first_line(text: str) -> str:
    """The first line of what a command wrote is the command itself."""
    return text.partition("\n")[2]
