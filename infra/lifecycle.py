"""A stack's life: up, changed by a release, looked at, taken down. Each change is one run of the program."""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from huidu.foundation.errors import HuiduError, UsageError
from huidu.foundation.workspace import Workspace
from infra import failover, hybrid_crm, policies, stack_file
from infra.desired import Desired, Release
from infra.engine import Engine, scratch
from infra.lock import held
from infra.news import News, Step
from infra.program import program
from infra.targets.local import edge_routes, ground, proxies, site
from infra.targets.local.secrets import PASSPHRASE
from infra.targets.local.site import Site
from infra.targets.local.target import LocalTarget
from infra.targets.protocol import Health
from infra.topology import Topology
from infra.topology_file import load_topology

ENGINE = "engine"
_ADMIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Change:
    """What one run of the program did."""

    steps: tuple[Step, ...]
    standing: int
    seconds: float

    @property
    def unchanged(self) -> int:
        """How many components were left alone."""
        touched = {step.component for step in self.steps if step.operation != "delete"}
        return self.standing - len(touched)


class Lifecycle:
    """The stack of one workspace. `news` makes a listener for each run of the engine; `say` takes a line."""

    def __init__(self, workspace: Workspace, news: Callable[[], News], say: Callable[[str], None]) -> None:
        self.workspace = workspace
        self._news = news
        self._say = say

    def up(self, topology: Path | None, watched: int | None, exemptions: Path | None = None) -> Change:
        """Bring up what is wanted, or finish what was interrupted; unchanged components are left alone.

        `watched`: the stack takes itself down when this process is gone (0: never). Raises HuiduError,
        PolicyRefused among them.
        """
        wanted = load_topology(topology) if topology else None
        if watched:
            ground.start_of(watched)
        self.workspace.ensure_writable()
        with held(self.workspace.home, "up"):
            return self._bring_about(self._judged(self._wanted(wanted), exemptions), watched)

    def release(self, change: Callable[[Desired], Desired], action: str) -> Change:
        """Run the program with another desired state of the releases. Raises HuiduError."""
        with held(self.workspace.home, action):
            return self._bring_about(change(self.desired()), None)

    def preview(self, topology: Path | None, exemptions: Path | None = None) -> tuple[Step, ...]:
        """What `up` would do; nothing is changed. Raises HuiduError."""
        wanted = load_topology(topology) if topology else None
        with held(self.workspace.home, "preview"), scratch() as folder:
            desired = self._judged(self._wanted(wanted), exemptions)
            stands = site.desired_file(self.workspace).exists() and site.supervisor(self.workspace).alive()
            stack = ground.plan(self.workspace, desired, None if stands else folder / "secrets")
            engine = self._engine(stack, None if stands else folder)
            news = self._news()
            engine.preview(program(desired, LocalTarget(stack)), news)
            return tuple(news.steps)

    def drift(self) -> tuple[Step, ...]:
        """What stands otherwise than it was brought up; nothing is changed. Raises HuiduError."""
        desired = self.desired()
        with held(self.workspace.home, "drift"):
            news = self._news()
            self._engine(site.load(self.workspace)).drift(news)
            unknown = (name for name in desired.standing() if name not in news.seen)
            return (*news.found, *(Step(name, "missing") for name in unknown))

    def down(self, keep_data: bool, take_over: bool) -> bool:
        """Take everything down; whether there was anything. Raises HuiduError."""
        elsewhere = sorted(self.workspace.home.glob("targets/*/desired.json"))
        if elsewhere:
            # Its engine's state is read with the passphrase that goes with the secrets.
            name = elsewhere[0].parent.name
            raise UsageError(
                f"this home also keeps a stack on {name}, whose keys would go",
                where=str(self.workspace.home),
                remedy=f"huidu stack down --target {name}, then this; or another HUIDU_HOME for one of them",
            )
        if not site.root(self.workspace).exists() and not self.workspace.stack_file.exists():
            return False
        with held(self.workspace.home, "down", take_over):
            stack_file.remove(self.workspace)
            if site.supervisor(self.workspace).alive():
                self._destroy()
            ground.clear(self.workspace, keep_data)
        return True

    def _destroy(self) -> None:
        try:
            engine = self._engine(site.load(self.workspace))
            if engine.exists:
                engine.destroy(self._news())
        except HuiduError as error:
            # What the engine cannot end is ended afterwards, by the supervisor and from the records.
            self._say(f"the engine could not take all of it down ({error.what}); doing it without")

    def status(self) -> tuple[Health, ...]:
        """Every component that should stand, as it is now. Raises HuiduError where there is no stack."""
        desired = self.desired()
        return LocalTarget(site.load(self.workspace)).health(desired)

    def desired(self) -> Desired:
        """What is wanted. Raises UsageError where no stack was brought up."""
        found = Desired.read(site.desired_file(self.workspace))
        if found is None or not (site.root(self.workspace) / "site.json").exists():
            remedy = "run `huidu stack up`, or set HUIDU_HOME to the stack's folder"
            for each in sorted(self.workspace.home.glob("targets/*/desired.json")):
                remedy = (
                    f"this home's stack stands on {each.parent.name}: `up` (--candidate, --stable), `drift` "
                    f"and `down` take --target {each.parent.name}"
                )
            raise UsageError("no stack stands here", where=str(self.workspace.home), remedy=remedy)
        return found

    def _judged(self, desired: Desired, exemptions: Path | None) -> Desired:
        """The same, where no policy is against it: this machine makes nothing that policies know of."""
        today = datetime.datetime.now(datetime.UTC).date()
        for note in policies.refuse(desired.topology, (), exemptions, today).notes():
            self._say(note)
        return desired

    def _wanted(self, topology: Topology | None) -> Desired:
        found = Desired.read(site.desired_file(self.workspace))
        if found is not None:
            if topology is None:
                return found
            failover.refuse_other_places(found.topology, topology)
            return found.model_copy(update={"topology": topology})
        chosen = topology or hybrid_crm.TOPOLOGY
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return Desired(topology=chosen, stable=Release(version=chosen.release), created=created)

    def _bring_about(self, desired: Desired, watched: int | None) -> Change:
        begun = time.monotonic()
        stack = ground.lay(self.workspace, desired, self._say)
        if watched is not None:
            ground.watch_over(self.workspace, watched)
        target = LocalTarget(stack)
        # What cannot stand here fails now, in words, rather than inside the engine.
        description = stack_file.compose(desired, target.name, target.describe(desired))
        news = self._news()
        self._engine(stack).up(program(desired, target), news)
        stack_file.write(self.workspace, description)
        return Change(tuple(news.steps), len(desired.standing()), time.monotonic() - begun)

    def _engine(self, stack: Site, folder: Path | None = None) -> Engine:
        home = folder or site.root(stack.workspace) / "pulumi"
        return Engine(
            folder=home,
            cli=stack.program("pulumi").path,
            passphrase_file=stack.secrets.path(PASSPHRASE),
            environment=LocalTarget(stack).environment(),
            python=sys.executable,
            record=home / ENGINE if folder else site.record_file(stack.workspace, ENGINE),
        )


def share_of_arm(route_file: Path, arm: str, admin: str = "") -> float:
    """The largest share (0 to 1) that a cohort's route gives an arm; 0 without a route file.

    `admin`: of the edge. What it serves counts as well as what it is asked to serve: it may
    have refused the file, or not have read it yet. Where it does not answer the file decides.
    """
    try:
        found = list(json.loads(route_file.read_text(encoding="utf-8"))["resources"])
    except (OSError, ValueError, KeyError):
        found = []
    return max((_share_in(each, arm) for each in (*found, *_served(admin))), default=0.0)


def _served(admin: str) -> list[dict[str, Any]]:
    """The route configurations that the edge serves now; none where it does not answer."""
    if not admin:
        return []
    url = f"{admin}/config_dump?resource=dynamic_route_configs"
    try:
        # Straight there: a proxy meant for the internet (HTTP_PROXY) must not stand between.
        with urllib3.PoolManager(retries=False) as straight:
            answer = straight.request("GET", url, timeout=_ADMIN_SECONDS)
        return [each["route_config"] for each in json.loads(answer.data)["configs"]]
    except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError):
        return []


def _share_in(configuration: dict[str, Any], arm: str) -> float:
    mine = {edge_routes.cluster(arm, cohort) for cohort in edge_routes.COHORTS}
    share = 0.0
    for route in (route for host in configuration["virtual_hosts"] for route in host["routes"]):
        clusters = route.get("route", {}).get("weighted_clusters", {}).get("clusters", [])
        total = sum(each.get("weight", 0) for each in clusters)
        given = sum(each.get("weight", 0) for each in clusters if each["name"] in mine)
        share = max(share, given / total if total else 0.0)
    return share


def route_file(workspace: Workspace, topology: Topology) -> Path:
    """The file in which the edge's weights stand."""
    door = next(name for name, _ in topology.of("edge"))
    return site.root(workspace) / door / proxies.ROUTE_FILE
