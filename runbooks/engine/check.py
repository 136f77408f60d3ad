"""Draft -> runbook, or everything that is wrong with it. Pure: what is refused here never runs."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from huidu.foundation.document import parse_duration
from huidu.foundation.errors import ConfigError
from huidu.foundation.outcome import Outcome
from runbooks.engine.changing import changing
from runbooks.engine.parse import Block, Draft, Item, Problem, parse
from runbooks.engine.procedure import Command, Kind, Probe, Runbook, Step
from runbooks.engine.words import split

KEYS = tuple(
    "kind changes expect verify undo within ready stops after when unless otherwise leaves".split()  # noqa: SIM905
)
"""The keys of a step's list; docs/runbooks.md says what each means."""
FLAGS = ("keep",)
OUTCOMES = {outcome.name.lower().replace("_", "-"): outcome.code for outcome in Outcome}
WITHIN = 600.0
"""Seconds a step may take where it does not say; every child has a limit."""

_REPEATABLE = ("verify", "undo", "stops")
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def load(path: Path) -> Runbook:
    """The runbook at `path`. Raises ConfigError naming every problem with its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", file=path) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=path) from None
    return read(text, path)


def read(text: str, path: Path) -> Runbook:
    """As `load`, from text."""
    runbook, problems = examine(parse(text), path, hashlib.sha256(text.encode()).hexdigest())
    if problems:
        first, *rest = problems
        more = [f"{path}:{each.line}: {each.what}" + (f" (expected: {each.expected})" * bool(each.expected))
                for each in rest]  # fmt: skip
        raise ConfigError(
            first.what, file=path, line=first.line, expected=first.expected, remedy="\n  ".join(more)
        )
    return runbook


def examine(draft: Draft, path: Path, sha256: str) -> tuple[Runbook, list[Problem]]:
    """The runbook, which may be run only when there is no problem; problems in the order of lines."""
    problems = list(draft.problems)
    steps = [_step(block, problems) for block in draft.blocks]
    if not steps:
        problems.append(Problem(1, "there is no step in this runbook", "a block that begins ```sh step=ID"))
    _references(steps, problems)
    problems.sort(key=lambda problem: problem.line)
    return Runbook(path, path.stem, draft.title or path.stem, draft.about, sha256, tuple(steps)), problems


class _Items:
    """The list of one step, with a complaint for everything that is not as it should be."""

    def __init__(self, block: Block, problems: list[Problem]) -> None:
        self.line = block.line
        self._problems = problems
        self._items: dict[str, list[Item]] = {}
        for item in block.items:
            if item.key not in KEYS:
                near = difflib.get_close_matches(item.key, KEYS, 1)
                hint = f"did you mean {near[0].title()}?" if near else ", ".join(key.title() for key in KEYS)
                self.complain(item.line, f"unknown attribute {item.key.title()!r}", hint)
            elif item.key in self._items and item.key not in _REPEATABLE:
                self.complain(item.line, f"{item.key.title()} stands twice in this step")
            else:
                self._items.setdefault(item.key, []).append(item)

    def complain(self, line: int, what: str, expected: str = "") -> None:
        self._problems.append(Problem(line, what, expected))

    def all(self, key: str) -> list[Item]:
        return self._items.get(key, [])

    def one(self, key: str) -> Item | None:
        found = self.all(key)
        return found[0] if found else None

    def text(self, key: str) -> str:
        item = self.one(key)
        return "" if item is None else item.text

    def command(self, text: str, line: int) -> Command | None:
        try:
            return split(text, line)
        except ValueError as error:
            self.complain(line, str(error))
            return None

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        item = self.one(key)
        value = "" if item is None else item.text.lower().removeprefix("--")
        if item is not None and value not in allowed:
            self.complain(item.line, f"unknown {key} {item.text!r}", " or ".join(allowed))
            return ""
        return value


def _step(block: Block, problems: list[Problem]) -> Step:
    items = _Items(block, problems)
    step_id = block.attributes.get("step", "")
    if step_id and not _ID.fullmatch(step_id):
        items.complain(block.line, f"step={step_id} cannot be a name", "small letters, digits and dashes")
    if not block.title:
        items.complain(block.line, f"step {step_id!r} has no heading above it", "## What is done here")
    if not block.commands:
        items.complain(block.line, f"step {step_id!r} has no command", "one command per line")
    commands = tuple(filter(None, (items.command(text, line) for line, text in block.commands)))
    kind = Kind(items.choice("kind", tuple(kind.value for kind in Kind)) or "normal")
    expect, shows = _expectation(items, step_id)
    step = Step(
        id=step_id,
        title=block.title,
        line=block.line,
        commands=commands,
        kind=kind,
        expect=expect,
        shows=shows,
        within=_within(items),
        changes=_changes(items, step_id, commands),
        verify=tuple(filter(None, (_probe(items, item, needs_command=True) for item in items.all("verify")))),
        undo=_undo(items),
        ready=_ready(items, kind, step_id),
        stops=_names(items, "stops"),
        after=_names(items, "after"),
        when=items.choice("when", FLAGS),
        unless=items.choice("unless", FLAGS),
        otherwise=items.text("otherwise"),
        leaves=_leaves(items),
    )
    if step.changes and kind is not Kind.BACKGROUND:
        # A background step is verified by its readiness and undone by the runner, which stops it.
        if not items.all("verify"):
            items.complain(
                block.line,
                f"step {step_id!r} changes something and has no verification",
                "Verify: `command`",
            )
        if not items.all("undo"):
            items.complain(block.line, f"step {step_id!r} changes something and has no undo",
                           "Undo: `command`, or Undo: none, and why")  # fmt: skip
    return step


def _expectation(items: _Items, step_id: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    item = items.one("expect")
    wanted = f"Expect: {' | '.join(OUTCOMES)} or a number of 0 to 255"
    if item is None:
        items.complain(items.line, f"step {step_id!r} does not say which outcome is expected", wanted)
        return (), ()
    plain = item.plain.lower()
    words, _, rest = plain.partition("shows")
    codes: list[int] = []
    for word in re.split(r"[\s,]+|\bor\b", words):
        if word in OUTCOMES:
            codes.append(OUTCOMES[word])
        elif word.isdecimal() and word.isascii() and int(word) < 256:
            codes.append(int(word))
        elif word not in ("", "exit"):
            items.complain(item.line, f"unknown outcome {word!r}", wanted)
    if not codes:
        items.complain(item.line, "no outcome stands here", wanted)
    if bool(item.code) != ("shows" in plain) or rest.replace("and", "").strip(" ,."):
        items.complain(item.line, "text in the output is not understood", "Expect: good, shows `the text`")
    return tuple(codes), item.code


def _within(items: _Items) -> float:
    item = items.one("within")
    if item is None:
        return WITHIN
    try:
        seconds = float(parse_duration(item.text))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 7 * 86400:
        items.complain(item.line, f"{item.text!r} is not a time limit", "30s, 5m, 2h (at most 7d)")
        return WITHIN
    return seconds


def _changes(items: _Items, step_id: str, commands: tuple[Command, ...]) -> str:
    item = items.one("changes")
    if item is None or not item.text:
        items.complain(items.line, f"step {step_id!r} does not say what it changes",
                       "Changes: nothing, or Changes: what will be different")  # fmt: skip
        return ""
    if item.text.lower().rstrip(".") != "nothing":
        return item.text
    for command in commands:
        if name := changing(command.words):
            items.complain(item.line, f"`huidu {name}` changes something", "Changes: what will be different")
    return ""


def _probe(items: _Items, item: Item, *, needs_command: bool) -> Probe | None:
    """`command`, or `command` shows `text` (and `text`), or, for readiness, shows `text`."""
    plain = " ".join(item.plain.lower().replace(",", " ").replace(".", " ").split())
    bare = plain.startswith("shows") and not needs_command
    texts = item.code if bare else item.code[1:]
    expected = "" if not texts else "shows" + " and" * (len(texts) - 1)
    if plain != expected or not (item.code if needs_command else item.code or bare):
        forms = "`command`, or `command` shows `text`" + ("" if needs_command else ", or shows `text`")
        items.complain(item.line, f"{item.key.title()} is not understood", f"{item.key.title()}: {forms}")
        return None
    if bare:
        return Probe(item.line, None, texts)
    command = items.command(item.code[0], item.line)
    return None if command is None else Probe(item.line, command, texts)


def _undo(items: _Items) -> tuple[Command, ...]:
    commands: list[Command | None] = []
    for item in items.all("undo"):
        none, _, reason = item.plain.partition(",")
        if not item.code and none.lower() == "none" and reason.strip():
            continue
        if len(item.code) != 1 or item.plain:
            items.complain(item.line, "Undo is not understood", "Undo: `command`, or Undo: none, and why")
            continue
        commands.append(items.command(item.code[0], item.line))
    return tuple(filter(None, commands))


def _leaves(items: _Items) -> tuple[str, ...]:
    item = items.one("leaves")
    if item is None:
        return ()
    if not item.code or item.plain.replace("and", "").strip(" ,"):
        items.complain(item.line, "Leaves is not understood", "Leaves: `a file` and `another`")
    for name in item.code:
        items.command(name, item.line)  # complains about unknown variables
    return item.code


def _ready(items: _Items, kind: Kind, step_id: str) -> Probe | None:
    item = items.one("ready")
    if kind is Kind.BACKGROUND and item is None:
        items.complain(items.line, f"background step {step_id!r} does not say when it is ready",
                       "Ready: `command`, or Ready: shows `text`")  # fmt: skip
    if kind is not Kind.BACKGROUND and item is not None:
        items.complain(item.line, "only a background step becomes ready", "Kind: background")
        return None
    return None if item is None else _probe(items, item, needs_command=False)


def _names(items: _Items, key: str) -> tuple[str, ...]:
    names: list[str] = []
    for item in items.all(key):
        found = [word for word in re.split(r"[\s,`]+|\bor\b|\band\b", item.text) if word]
        if not found:
            items.complain(item.line, f"{key.title()} names no step")
        names.extend(found)
    return tuple(names)


def _references(steps: list[Step], problems: list[Problem]) -> None:
    """Ids are unique, and what a step names stands before it and is of the right kind."""
    seen: dict[str, Step] = {}

    def look(step: Step, names: tuple[str, ...], what: str, fits: Callable[[Step], bool]) -> None:
        for name in names:
            if name not in seen or not fits(seen[name]):
                known = ", ".join(each.id for each in seen.values() if fits(each)) or "none stands before it"
                problems.append(
                    Problem(step.line, f"step {step.id!r}: {name!r} is no {what} before it", known)
                )

    for step in steps:
        look(step, step.stops, "background step", lambda each: each.kind is Kind.BACKGROUND)
        look(step, step.after, "step", lambda each: True)
        if step.after and step.kind is not Kind.ALWAYS:
            problems.append(
                Problem(step.line, f"step {step.id!r}: After is for clean-up steps", "Kind: always")
            )
        if step.id in seen:
            first = seen[step.id].line
            problems.append(Problem(step.line, f"step {step.id!r} stands already at line {first}"))
        elif step.id:
            seen[step.id] = step
