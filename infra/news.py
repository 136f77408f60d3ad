"""What the engine tells while it works, in the words of this project: steps, drift, errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pulumi.automation.events import EngineEvent

# Operations that only look.
_LOOKS = ("same", "refresh", "read")
_DYNAMIC = "pulumi-python:dynamic"
_REMOTE = ("kubernetes:", "alicloud:")
# What the engine says besides the cause.
IDLE = re.compile(r"update failed|preview failed|resource .* failed$|^\s*$")
_NOISE = re.compile(
    r"Exception calling application: |<\{%[a-z ]+%\}>|^error: |^\s*\d+ errors? occurred:\s*|^\s*\* |"
    r"(?:creating|updating|deleting|reading) urn:\S+: "
)


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine did, or would do, with one component; `seconds` None where it was only planned."""

    component: str
    operation: str
    seconds: float | None = None
    differs: tuple[str, ...] = ()


@dataclass
class News:
    """Listens to the engine: tells `began` and `ended` as they happen, and keeps what went wrong.

    `steps`: what was done, or would be; `found`: what stands otherwise than it was brought up; `seen`: every
    component the engine knows.
    """

    began: Callable[[str, str], None] = lambda component, operation: None
    ended: Callable[[Step], None] = lambda step: None
    steps: list[Step] = field(default_factory=list)
    found: list[Step] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    _since: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __call__(self, event: EngineEvent) -> None:
        """Take one event of the engine."""
        if event.resource_pre_event is not None:
            self._pre(event.resource_pre_event.metadata, event.resource_pre_event.planning)
        elif event.res_outputs_event is not None:
            self._post(event.res_outputs_event.metadata, event.res_outputs_event.planning)
        elif event.diagnostic_event is not None and event.diagnostic_event.severity == "error":
            self._failed(words(event.diagnostic_event.message), event.diagnostic_event.urn or "")

    def _pre(self, about: Any, planning: bool | None) -> None:
        name = _component(about)
        operation = _operation(about)
        if name is None:
            return
        self.seen.add(name)
        self._since[name] = (operation, time.monotonic())
        if operation in _LOOKS:
            return
        if planning:
            self.steps.append(Step(name, operation, None, _differs(_outputs(about.old), _inputs(about.new))))
        else:
            self.began(name, operation)

    def _post(self, about: Any, planning: bool | None) -> None:
        name = _component(about)
        if name is None:
            return
        asked, since = self._since.pop(name, (_operation(about), time.monotonic()))
        if asked in _LOOKS:
            # What a look came to: the same, an "update" of what we knew, or gone.
            if _operation(about) != "same":
                differs = _differs(_outputs(about.old), _outputs(about.new))
                self.found.append(Step(name, "differs" if differs else "missing", None, differs))
        elif not planning:
            differs = _differs(_outputs(about.old), _inputs(about.new))
            step = Step(name, asked, time.monotonic() - since, differs)
            self.steps.append(step)
            self.ended(step)

    def _failed(self, said: str, urn: str) -> None:
        """Note what went wrong, and with what: of a resource elsewhere that stands beside the words."""
        name = _named(urn)
        known = name is None or "/" not in name or name.rpartition(" ")[2] in said
        self.errors.append(said if known or not said else f"{name}: {said}")


def words(message: str) -> str:
    text = message
    for _ in range(3):
        text = _NOISE.sub("", text).strip()
    # Several reasons stand one below the other, each with a mark.
    text = re.sub(r"\s*\n\s*\* ", "; ", text)
    return text.removeprefix("Exception calling application: ").strip()


def _component(about: Any) -> str | None:
    return _named(str(about.urn))


def _named(urn: str) -> str | None:
    """A component of ours, or a resource elsewhere as `<zone>/<Kind> <name>`; None for Pulumi's own."""
    kind, _, name = urn.split("::", 2)[-1].partition("::")
    own = kind.rpartition("$")[2]
    if _DYNAMIC in own:
        return name
    if own.startswith(_REMOTE):
        zone, _, rest = name.rpartition("/")
        return f"{zone}/{own.rpartition(':')[2]} {rest}".lstrip("/")
    return None


def _operation(about: Any) -> str:
    return str(getattr(about.op, "value", about.op))


def _differs(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, ...]:
    if not old or not new:
        return ()
    keys = sorted(key for key in old.keys() | new.keys() if not key.startswith("__"))
    return tuple(line for key in keys for line in _change(key, old.get(key), new.get(key)))


def _change(key: str, old: Any, new: Any) -> tuple[str, ...]:
    if old == new:
        return ()
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return tuple(line for each in keys for line in _change(f"{key} {each}", old.get(each), new.get(each)))
    if isinstance(old, str) and isinstance(new, str) and " " in old + new:
        # A command line: say only the words that differ.
        before, after = old.split(), new.split()
        gone = [word for word in before if word not in after]
        come = [word for word in after if word not in before]
        return (f"{key}: {' '.join(gone) or '-'} -> {' '.join(come) or '-'}",)
    return (f"{key}: {'-' if old is None else old} -> {'-' if new is None else new}",)


def _outputs(state: Any) -> dict[str, Any]:
    found = getattr(state, "outputs", None) if state is not None else None
    return dict(found) if found else {}


def _inputs(state: Any) -> dict[str, Any]:
    found = getattr(state, "inputs", None) if state is not None else None
    return dict(found) if found else {}
