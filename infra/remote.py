"""A stack that stands elsewhere: on clusters or in a cloud. The same engine, program and policies as at home.

Everything is looked at before anything is changed: topology, settings, policies, the provider's plugin, and
what the target itself finds in its way.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.errors import ConfigError, MissingProgram, UsageError
from huidu.foundation.workspace import Workspace, write_atomic
from huidu.model.stack import Stack
from infra import hybrid_crm, plugins, policies, stack_file, toolchain
from infra.desired import Desired, Release, release_of
from infra.engine import Engine
from infra.lock import held
from infra.news import News, Step
from infra.program import program
from infra.render import render
from infra.rendered import Rendered
from infra.targets import known
from infra.targets.local.secrets import PASSPHRASE, Secrets
from infra.targets.protocol import RemoteTarget
from infra.topology_file import load_topology

NONE = "none"
"""Said in the place of a version: no candidate."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command was asked for; None: as it was the last time, or the default.

    `candidate`: NONE takes it away.
    """

    topology: Path | None = None
    settings: Path | None = None
    exemptions: Path | None = None
    stable: str | None = None
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What one run of the program did, of how many resources."""

    steps: tuple[Step, ...]
    resources: int
    seconds: float


class Remote:
    """The stack of one workspace on the target `name`."""

    def __init__(
        self, workspace: Workspace, name: str, news: Callable[[], News], say: Callable[[str], None]
    ) -> None:
        self.workspace = workspace
        self.name = name
        self._news = news
        self._say = say
        self._home = workspace.home / "targets" / name

    def up(self, wanted: Wanted) -> Done:
        """Bring about what is wanted, or finish what was interrupted. Raises HuiduError."""
        self.workspace.ensure_writable()
        with held(self.workspace.home, f"up --target {self.name}"):
            self._not_another()
            begun = time.monotonic()
            desired, target, rendered = self._judged(wanted)
            self._can(desired, target, rendered)
            engine = self._engine(target)
            described = target.describe(desired) if target.serves else None
            self._remember(desired, wanted)
            news = self._news()
            engine.up(program(desired, target), news)
            if described is not None:
                stack_file.write(self.workspace, stack_file.compose(desired, target.name, described))
            return Done(tuple(news.steps), len(rendered), time.monotonic() - begun)

    def preview(self, wanted: Wanted) -> Done:
        """What `up` would do; nothing is changed. Raises HuiduError."""
        with held(self.workspace.home, f"preview --target {self.name}"):
            begun = time.monotonic()
            desired, target, rendered = self._judged(wanted)
            self._can(desired, target, rendered)
            news = self._news()
            self._engine(target).preview(program(desired, target), news)
            return Done(tuple(news.steps), len(rendered), time.monotonic() - begun)

    def drift(self) -> tuple[Step, ...]:
        """What stands otherwise than it was brought up; nothing is changed. Raises HuiduError."""
        with self._standing("drift") as (target, engine):
            news = self._news()
            engine.drift(news)
            return target.drifted(news.found)

    def down(self) -> tuple[str, ...] | None:
        """Take everything down but what keeps data, whose names it gives; None where there was nothing.

        Raises HuiduError.
        """
        if not (self._home / "desired.json").exists():
            return None
        with self._standing("down") as (target, engine):
            kept = target.keeps
            news = self._news()
            engine.destroy(news)
            if self._stands() == self.name:
                stack_file.remove(self.workspace)
            (self._home / "desired.json").unlink(missing_ok=True)
        done = (step.component for step in news.steps)
        return tuple(name for name in done if name.partition("/")[2].partition(" ")[0] in kept)

    @contextmanager
    def _standing(self, action: str) -> Iterator[tuple[RemoteTarget, Engine]]:
        desired = self._read()
        if desired is None:
            raise UsageError(
                f"no stack of this workspace stands on {self.name}",
                where=str(self.workspace.home),
                remedy=f"`huidu stack up --target {self.name}`, or set HUIDU_HOME to the stack's folder",
            )
        with held(self.workspace.home, f"{action} --target {self.name}"):
            target = known.make(self.name, desired, self._settings(None))
            target.reachable()
            render(program(desired, target))
            yield target, self._engine(target)

    def _judged(self, wanted: Wanted) -> tuple[Desired, RemoteTarget, tuple[Rendered, ...]]:
        """What is wanted, rendered, and not against any policy."""
        desired = self._desired(wanted)
        target = known.make(self.name, desired, self._settings(wanted.settings))
        rendered = render(program(desired, target))
        today = datetime.datetime.now(datetime.UTC).date()
        for note in policies.refuse(desired.topology, rendered, wanted.exemptions, today).notes():
            self._say(note)
        return desired, target, rendered

    def _can(self, desired: Desired, target: RemoteTarget, rendered: tuple[Rendered, ...]) -> None:
        """The engine's plugin is there, and nothing, and nobody, stands in the way over there."""
        plugins.need(self.workspace, self.name, target.provider)
        target.preflight(rendered)
        before = self._read()
        if before is None or replaces_candidate(before, desired):
            target.unserved()

    def _engine(self, target: RemoteTarget) -> Engine:
        cli = toolchain.pulumi.find(self.workspace)
        if cli is None:
            raise MissingProgram("Pulumi is missing", remedy="run `huidu doctor --obtain`")
        return Engine(
            folder=self._home / "pulumi",
            cli=cli.path,
            passphrase_file=Secrets(self.workspace.secrets).path(PASSPHRASE),
            environment=target.environment(),
            python=sys.executable,
            record=self._home / "engine",
            plugins=plugins.need(self.workspace, self.name, target.provider),
            target=self.name,
        )

    def _read(self) -> Desired | None:
        again = f"remove it, then `huidu stack up --target {self.name}` with the same --topology and versions"
        return Desired.read(self._home / "desired.json", anew=f"{again}; what stands there stays")

    def _desired(self, wanted: Wanted) -> Desired:
        found = self._read()
        given = load_topology(wanted.topology) if wanted.topology else None
        if found is None:
            topology = given or hybrid_crm.TOPOLOGY
            created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            found = Desired(topology=topology, stable=Release(version=topology.release), created=created)
        elif given is not None:
            found = found.model_copy(update={"topology": given})
        return _with_releases(found, wanted)

    def _settings(self, given: Path | None) -> Path | None:
        remembered = self._home / "settings.yaml"
        return given or (remembered if remembered.exists() else None)

    def _remember(self, desired: Desired, wanted: Wanted) -> None:
        """Before anything is changed: who comes after an interruption goes on from here."""
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        desired.write(self._home / "desired.json")
        if wanted.settings is not None:
            write_atomic(self._home / "settings.yaml", wanted.settings.read_text(encoding="utf-8"))

    def _not_another(self) -> None:
        stands = self._stands()
        if stands and stands != self.name:
            raise UsageError(
                f"a stack of this workspace stands on the target {stands}",
                where=str(self.workspace.home),
                remedy="take it down first, or set HUIDU_HOME to another folder",
            )

    def _stands(self) -> str:
        """The target of the stack that `stack.json` tells of."""
        try:
            return Stack.read(self.workspace.stack_file).target
        except ConfigError:
            return ""


def _with_releases(desired: Desired, wanted: Wanted) -> Desired:
    """With the versions that were asked for. Raises UsageError for an impossible one."""
    if wanted.stable is not None:
        # What the candidate runs may become stable while the candidate still serves.
        stable = release_of(wanted.stable)
        desired = desired.model_copy(update={"stable": stable})
    if wanted.candidate == NONE:
        return desired.without_candidate()
    if wanted.candidate is not None and wanted.candidate != (desired.candidate and desired.candidate.version):
        return desired.with_candidate(wanted.candidate, ())
    return desired


def replaces_candidate(before: Desired, after: Desired) -> bool:
    """Whether the candidate's pods go, or become another version's."""
    was, becomes = before.candidate, after.candidate
    return (was and was.version) != (becomes and becomes.version) or (before.baseline and not after.baseline)
