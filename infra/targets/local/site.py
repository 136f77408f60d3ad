"""Where one local stack lies: folders, ports, secrets, programs; all that a component's file needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.errors import MissingProgram, StateError
from huidu.foundation.workspace import Workspace, read_json, write_atomic
from infra import toolchain
from infra.desired import Desired
from infra.targets.local import runtime
from infra.targets.local.secrets import Secrets
from infra.targets.local.supervisor import Supervisor
from infra.toolchain import Found

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Site:
    """One local stack. `ports` by "component" or "component/role"."""

    workspace: Workspace
    desired: Desired
    ports: Mapping[str, int]
    programs: Mapping[str, Found]
    secrets: Secrets

    @property
    def root(self) -> Path:
        """Everything of the stack but its secrets, logs and stack.json."""
        return root(self.workspace)

    def folder(self, component: str) -> Path:
        """A component's own folder."""
        return self.root / component

    def port(self, component: str, role: str = "") -> int:
        """A port of a component."""
        return self.ports[f"{component}/{role}" if role else component]

    def address(self, component: str, role: str = "") -> str:
        """host:port of a component."""
        return f"{HOST}:{self.port(component, role)}"

    def upstream(self, component: str, role: str) -> str:
        """The component that `component` knows as `role` (a validated topology has it)."""
        target = self.desired.topology.target(component, role)
        if target is None:
            raise StateError(f"{component} has no {role}")
        return target

    def program(self, name: str) -> Found:
        """An external program. Raises MissingProgram."""
        if name not in self.programs:
            raise MissingProgram(f"{name} is missing", remedy="run `huidu doctor --obtain`")
        return self.programs[name]


def root(workspace: Workspace) -> Path:
    """The folder of the stack that stands (or stood) in this workspace."""
    return workspace.home / "stack"


def desired_file(workspace: Workspace) -> Path:
    return root(workspace) / "desired.json"


def ports_file(workspace: Workspace) -> Path:
    return workspace.home / "ports.json"


def log_file(workspace: Workspace, component: str) -> Path:
    return workspace.logs / f"{component}.log"


def failures_file(workspace: Workspace, component: str) -> Path:
    """Where an edge's failed requests are kept; `<file>.1` is the older part."""
    return workspace.logs / f"{component}-failures.jsonl"


def record_file(workspace: Workspace, name: str) -> Path:
    """Where the process id and start time of `name` are kept."""
    return root(workspace) / "pids" / name


def supervisor(workspace: Workspace) -> Supervisor:
    """The stack's supervisor, whether or not it runs."""
    folder = root(workspace) / "supervisor"
    return Supervisor(folder, runtime_folder(workspace) / "supervisor.sock")


def runtime_folder(workspace: Workspace) -> Path:
    """The short folder for sockets: where it was made, else where it belongs."""
    try:
        return Path((root(workspace) / "runtime").read_text(encoding="utf-8").strip())
    except OSError:
        return runtime.place(workspace.home)


def make_runtime_folder(workspace: Workspace) -> Path:
    """Make it, and note where it is: XDG_RUNTIME_DIR may be another one tomorrow."""
    folder = runtime.make(runtime_folder(workspace))
    write_atomic(root(workspace) / "runtime", f"{folder}\n")
    return folder


def find_programs(workspace: Workspace, names: Collection[str]) -> dict[str, Found]:
    """Those of the external programs that are there."""
    found = ((each.name, each.find(workspace)) for each in toolchain.all() if each.name in names)
    return {name: each for name, each in found if each is not None}


def save(site: Site) -> None:
    """Note the ports and programs for the provider, which runs in another process."""
    programs = {name: [str(each.path), each.version, each.origin] for name, each in site.programs.items()}
    write_atomic(
        root(site.workspace) / "site.json", json.dumps({"ports": dict(site.ports), "programs": programs})
    )


def load(workspace: Workspace) -> Site:
    """The site as noted. Raises StateError where there is none."""
    desired = Desired.read(desired_file(workspace))
    if desired is None:
        raise StateError(
            "no stack is described here", where=str(workspace.home), remedy="run `huidu stack up`"
        )
    noted = read_json(root(workspace) / "site.json")
    programs = {
        name: Found(name, Path(path), version, origin)
        for name, (path, version, origin) in noted["programs"].items()
    }
    return Site(workspace, desired, noted["ports"], programs, Secrets(workspace.secrets))
