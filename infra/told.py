"""What the commands of the stack print: progress, changes, steps, components."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from huidu.foundation.terminal import Terminal

if TYPE_CHECKING:  # loading Pulumi takes half a second: only where it is used
    from infra.lifecycle import Change, Lifecycle
    from infra.news import News, Step
    from infra.targets.protocol import Health


class Progress:
    """Tells which component is being worked on and for how long, until the work is done."""

    def __init__(self) -> None:
        self.terminal = Terminal()
        self._doing: dict[str, tuple[str, float]] = {}
        self._done = threading.Event()
        self._lock = threading.Lock()

    def listener(self) -> News:
        from infra.news import News

        return News(began=self._began, ended=self._ended)

    def say(self, text: str) -> None:
        with self._lock:
            self.terminal.say(text)

    def _began(self, component: str, operation: str) -> None:
        with self._lock:
            self._doing[component] = (operation, time.monotonic())

    def _ended(self, step: Step) -> None:
        with self._lock:
            self._doing.pop(step.component, None)
            done = _PAST.get(step.operation, step.operation)
            why = f" ({step.differs[0]})" if step.operation == "update" and step.differs else ""
            self.terminal.say(f"  {step.component:<22} {done}, {step.seconds or 0:.1f} s{why}")

    @contextmanager
    def shown(self) -> Iterator[None]:
        ticker = threading.Thread(target=self._tick, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            self._done.set()
            ticker.join(timeout=2)
            self.terminal.close()

    def _tick(self) -> None:
        while not self._done.wait(0.5):
            with self._lock:
                now = time.monotonic()
                doing = [f"{name} ({now - since:.0f} s)" for name, (_, since) in self._doing.items()]
                if doing:
                    self.terminal.progress(f"working on {', '.join(doing)}")


_PAST = {"create": "healthy", "update": "changed, healthy", "delete": "stopped"}


def report(life: Lifecycle, change: Change, as_json: bool) -> None:
    from huidu.model.stack import Stack

    found = Stack.read(life.workspace.stack_file)
    if as_json:
        document = {
            "seconds": round(change.seconds, 2),
            "unchanged": change.unchanged,
            "changed": {step.component: step.operation for step in change.steps},
            "stack": found.model_dump(mode="json"),
        }
        click.echo(json.dumps(document, indent=2))
        return
    terminal = Terminal()
    if change.steps:
        terminal.say(f"{len(change.steps)} changed, {change.unchanged} left alone, {change.seconds:.1f} s")
    else:
        terminal.say(f"nothing to change: {change.unchanged} components stand ({change.seconds:.1f} s)")
    candidate = f", candidate {found.releases.candidate}" if found.releases.candidate else ""
    if found.releases.baseline:
        candidate += f", beside a fresh {found.releases.baseline}"
    terminal.say(f"edge {found.edge.url}  prometheus {found.prometheus}  core {found.core}")
    terminal.say(f"stable {found.releases.stable}{candidate}")


def table(found: Sequence[Health]) -> None:
    rows = [("component", "zone", "state", "version", "up", "address")]
    rows += [
        (each.name, each.zone, each.problem or "healthy", each.version, _ago(each.seconds), each.address)
        for each in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    styles: list[dict[str, Any]] = [
        {"bold": True},
        *({"fg": None if each.healthy else "red"} for each in found),
    ]
    for row, style in zip(rows, styles, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(click.style(line.rstrip(), **style))


def steps_of(steps: Sequence[Step], nothing: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(each) for each in steps], indent=2))
        return
    for each in steps:
        click.echo(f"{each.operation:<8} {each.component}")
        for line in each.differs:
            click.echo(f"         {line}")
    if not steps:
        click.echo(nothing)


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
