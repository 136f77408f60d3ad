"""Pulumi's engine through its Automation API: inline program, state in a folder, news of every component."""

from __future__ import annotations

import contextlib
import datetime
import re
import shlex
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi import automation as auto
from pulumi.automation._stack import StackInitMode
from pulumi.automation.events import EngineEvent

from huidu.foundation.errors import HuiduError, StateError
from huidu.foundation.workspace import write_atomic
from infra.targets.local import host
from infra.targets.local.process import launcher

PROJECT, STACK = "huidu", "stack"
# Operations that only look.
_LOOKS = ("same", "refresh", "read")
_DYNAMIC = "pulumi-python:dynamic"
_ENGINE_FOLDERS = ("bin", "home", "work", "state")
_PROVIDER = """#!/bin/sh
# Pulumi starts its dynamic providers through this file; the interpreter is the one that runs huidu.
exec {python} -u {host} $PPID "$@"
"""
_CLI = """#!/bin/sh
# The engine must not outlive the command that drives it, and a user's own Pulumi is another matter.
unset PULUMI_CONFIG_PASSPHRASE PULUMI_STACK PULUMI_ACCESS_TOKEN PULUMI_CONFIG PULUMI_PARALLEL
exec {launcher} {cli} "$@"
"""


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
            self.errors.append(_words(event.diagnostic_event.message))

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


class _Stack(auto.Stack):
    """After `up` and `destroy` the Automation API reads outputs and history back: three runs of the CLI, over
    a second. Nobody here asks for them; `News` heard it all."""

    def outputs(self) -> auto.OutputMap:
        """None."""
        return {}

    def info(self, show_secrets: bool = True) -> auto.UpdateSummary:
        """That it went well: a failed command raises before this is asked."""
        return auto.UpdateSummary(
            kind="update",
            start_time=datetime.datetime.now(datetime.UTC),
            message="",
            environment={},
            config={},
            result="succeeded",
        )


class Engine:
    """Pulumi for one stack. `folder`: its state; `cli`: the program; `passphrase_file`: for its secrets."""

    def __init__(
        self,
        folder: Path,
        cli: Path,
        passphrase_file: Path,
        environment: Mapping[str, str],
        python: str,
        record: Path,
    ) -> None:
        self.folder = folder
        self._cli = cli
        self._passphrase_file = passphrase_file
        self._environment = environment
        self._python = python
        self._record = record

    def up(self, program: Callable[[], None], news: News) -> None:
        """Bring about what the program says, after looking at what really stands. Raises HuiduError."""
        with self._stack(program) as stack, _explained(news):
            stack.up(refresh=True, on_event=news, color="never", suppress_outputs=True)

    def preview(self, program: Callable[[], None], news: News) -> None:
        """What `up` would do; nothing is changed. Raises HuiduError."""
        with self._stack(program) as stack, _explained(news):
            stack.preview(refresh=True, on_event=news, color="never")

    def drift(self, news: News) -> None:
        """What differs between the state and what stands; nothing is changed. Raises HuiduError."""
        with self._stack(lambda: None) as stack, _explained(news):
            stack.preview_refresh(on_event=news, color="never")

    def destroy(self, news: News) -> None:
        """Take every component down, dependents first. Raises HuiduError."""
        with self._stack(lambda: None) as stack, _explained(news):
            stack.destroy(on_event=news, color="never", suppress_outputs=True)

    @property
    def exists(self) -> bool:
        """Whether there is any state."""
        return any((self.folder / "state").glob(f".pulumi/stacks/{PROJECT}/*.json*"))

    @contextlib.contextmanager
    def _stack(self, program: Callable[[], None]) -> Iterator[auto.Stack]:
        for name in _ENGINE_FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write_programs()
        variables = {
            **self._environment,
            "PULUMI_BACKEND_URL": (self.folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._passphrase_file),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        try:
            workspace = auto.LocalWorkspace(
                work_dir=str(self.folder / "work"),
                pulumi_home=str(self.folder / "home"),
                program=program,
                env_vars=variables,
                secrets_provider="passphrase",
                project_settings=auto.ProjectSettings(name=PROJECT, runtime="python"),
                pulumi_command=auto.PulumiCommand(root=str(self.folder), skip_version_check=True),
            )
            stack = _Stack(STACK, workspace, StackInitMode.CREATE_OR_SELECT)
            if any((self.folder / "state").glob(".pulumi/locks/**/*.json")):
                # The caller holds the stack's lock, so the engine that left this one is dead.
                stack.cancel()
        except (OSError, auto.CommandError) as error:
            raise StateError(f"Pulumi does not start: {_words(str(error))}", where=str(self.folder)) from None
        yield stack

    def _write_programs(self) -> None:
        line = launcher(self._record, int(signal.SIGKILL))
        texts = {
            "pulumi": _CLI.format(launcher=shlex.join(line), cli=shlex.quote(str(self._cli))),
            "pulumi-resource-pulumi-python": _PROVIDER.format(
                python=shlex.quote(self._python), host=shlex.quote(host.__file__)
            ),
        }
        for name, text in texts.items():
            write_atomic(self.folder / "bin" / name, text, mode=0o700)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a preview where no stack stands."""
    folder = Path(tempfile.mkdtemp(prefix="huidu-preview-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _explained(news: News) -> Iterator[None]:
    """Pulumi's failures, and a person's Ctrl-C, in words."""
    remedy = "what stands was left as it is; `huidu stack up` goes on, `huidu stack down` clears"
    with _quiet_threads():
        try:
            yield
        except auto.CommandError as error:
            words = list(dict.fromkeys(each for each in news.errors if each and not _IDLE.search(each)))
            raise HuiduError("; ".join(words) or _words(str(error)), remedy=remedy) from None
        except KeyboardInterrupt:
            raise HuiduError("interrupted", remedy=remedy) from None


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """An interrupted Automation API closes what its own threads still read; their complaints help nobody."""
    previous = threading.excepthook

    def hook(told: threading.ExceptHookArgs) -> None:
        if told.exc_type is not ValueError:
            previous(told)

    threading.excepthook = hook
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Error in event stream|Failed to parse engine event")
            yield
    finally:
        threading.excepthook = previous


# What the engine says besides the cause.
_IDLE = re.compile(r"update failed|preview failed|resource .* failed$|^\s*$")
_NOISE = re.compile(
    r"Exception calling application: |<\{%[a-z ]+%\}>|^error: |^\s*\d+ errors? occurred:\s*|^\s*\* |"
    r"(?:creating|updating|deleting|reading) urn:\S+: "
)


def _words(message: str) -> str:
    text = message
    for _ in range(3):
        text = _NOISE.sub("", text).strip()
    return text.removeprefix("Exception calling application: ").strip()


def _component(about: Any) -> str | None:
    return str(about.urn).rsplit("::", 1)[-1] if _DYNAMIC in str(about.urn) else None


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
