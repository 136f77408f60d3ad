"""Pulumi's engine through its Automation API: inline program, state in a folder, news of every component."""

from __future__ import annotations

import contextlib
import datetime
import shlex
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pulumi import automation as auto
from pulumi.automation._stack import StackInitMode

from huidu.foundation.errors import HuiduError, StateError
from huidu.foundation.workspace import write_atomic
from infra.news import IDLE, News, words
from infra.targets.local import host
from infra.targets.local.process import launcher

PROJECT, STACK = "huidu", "stack"
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
    """Pulumi for one stack.

    `folder`: its state; `cli`: the program; `passphrase_file`: for its secrets; `plugins`: providers'
    programs by name; `target`: what the commands are given for a stack elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        cli: Path,
        passphrase_file: Path,
        environment: Mapping[str, str],
        python: str,
        record: Path,
        plugins: Mapping[str, Path] | None = None,
        target: str = "",
    ) -> None:
        self.folder = folder
        self._cli = cli
        self._passphrase_file = passphrase_file
        self._environment = environment
        self._python = python
        self._record = record
        self._plugins = plugins or {}
        more = f" --target {target}" if target else ""
        self._remedy = (
            f"what stands was left as it is; `huidu stack up{more}` goes on, `huidu stack down{more}` clears"
        )

    def up(self, program: Callable[[], None], news: News) -> None:
        """Bring about what the program says, after looking at what really stands. Raises HuiduError."""
        with self._stack(program) as stack, _explained(news, self._remedy):
            stack.up(refresh=True, on_event=news, color="never", suppress_outputs=True)

    def preview(self, program: Callable[[], None], news: News) -> None:
        """What `up` would do; nothing is changed. Raises HuiduError."""
        with self._stack(program) as stack, _explained(news, self._remedy):
            stack.preview(refresh=True, on_event=news, color="never")

    def drift(self, news: News) -> None:
        """What differs between the state and what stands; nothing is changed. Raises HuiduError."""
        with self._stack(lambda: None) as stack, _explained(news, self._remedy):
            stack.preview_refresh(on_event=news, color="never")

    def destroy(self, news: News) -> None:
        """Take every component down, dependents first. Raises HuiduError."""
        with self._stack(lambda: None) as stack, _explained(news, self._remedy):
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
            raise StateError(f"Pulumi does not start: {words(str(error))}", where=str(self.folder)) from None
        yield stack

    def _write_programs(self) -> None:
        line = launcher(self._record, int(signal.SIGKILL))
        texts = {
            "pulumi": _CLI.format(launcher=shlex.join(line), cli=shlex.quote(str(self._cli))),
            "pulumi-resource-pulumi-python": _PROVIDER.format(
                python=shlex.quote(self._python), host=shlex.quote(host.__file__)
            ),
        }
        for name, path in self._plugins.items():
            texts[name] = f'#!/bin/sh\nexec {shlex.quote(str(path))} "$@"\n'
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
def _explained(news: News, remedy: str) -> Iterator[None]:
    """Pulumi's failures, a person's Ctrl-C and a pipeline's SIGTERM, in words."""
    with _quiet_threads(), _terminated_as_interrupted():
        try:
            yield
        except auto.CommandError as error:
            causes = list(dict.fromkeys(each for each in news.errors if each and not IDLE.search(each)))
            raise HuiduError("; ".join(causes) or words(str(error)), remedy=remedy) from None
        except KeyboardInterrupt:
            raise HuiduError("interrupted", remedy=remedy) from None


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is, where it would have ended us without a word."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
