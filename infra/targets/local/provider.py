"""The Pulumi dynamic provider: a component of the stack as a resource, kept by supervisor.

Pulumi pickles the provider into its state and runs it in a process of its own, so it is one small class
without state at module level; what it needs it reads from the stack's folder. Its inputs hold no secrets:
paths and digests only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from huidu.foundation.errors import HuiduError
from huidu.foundation.workspace import Workspace, write_atomic
from infra.targets.local import kinds, settled, site
from infra.targets.local.process import Process, digest, digest_of, section
from infra.targets.local.site import Site

RUNNING = "running"
PRESENT = "present"
_COMPARED = ("version", "address", "command", "files", "seeds", "section")
_LOOK_SECONDS = 0.15
_FALLS = 2
_BACKOFF_SECONDS = 5.0
_STOP_SLACK = 12.0


def inputs(stack: Site, name: str) -> dict[str, Any]:
    """What Pulumi is told of a component: whatever, when it differs, asks for a restart of it."""
    process = kinds.of(stack, name).process(stack, name)
    component = stack.desired.topology.components[name]
    return {
        "component": name,
        "kind": component.kind,
        "zone": component.zone,
        "home": str(stack.workspace.home),
        "cache": str(stack.workspace.cache),
        "version": process.version,
        "address": process.address,
        "command": " ".join(process.command),
        "files": {path: digest(text) for path, text in process.files.items()},
        "seeds": dict.fromkeys(process.seeds, PRESENT),
        "section": digest(_section(stack, name, process)),
    }


class LocalProvider(ResourceProvider):
    """Create, read, update, delete one component."""

    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Anything that differs is an update in place; so is a component that does not run."""
        changed = any(_plain(_olds.get(key)) != _plain(_news.get(key)) for key in _COMPARED)
        moved = [key for key in ("home",) if _olds.get(key) != _news.get(key)]
        return DiffResult(
            changes=changed or bool(moved) or _olds.get("state") != RUNNING,
            replaces=moved,
            delete_before_replace=True,
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Write, prepare, start, wait until healthy. Does the same where the component is there already."""
        return CreateResult(props["component"], _apply(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Rewrite and restart this component alone."""
        return UpdateResult(_apply(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """What is really there: files by digest, the state by asking supervisor."""
        workspace = _workspace(props)
        name = props["component"]
        keeper = site.supervisor(workspace)
        found = keeper.states().get(name)
        if found is None:
            return ReadResult("", {})
        folder = site.root(workspace) / name
        return ReadResult(
            id_,
            {
                **props,
                "files": {path: digest_of(folder / path) for path in props["files"]},
                "seeds": {
                    path: PRESENT if (folder / path).exists() else "missing" for path in props["seeds"]
                },
                "section": digest_of(keeper.section_file(name)),
                "state": _state(workspace, name),
            },
        )

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Stop it and take its configuration away; its data stay until the stack's folder goes."""
        workspace = _workspace(_props)
        keeper = site.supervisor(workspace)
        name = _props["component"]
        keeper.section_file(name).unlink(missing_ok=True)
        if keeper.alive():
            keeper.remove(name, _STOP_SLACK + 20)


def _state(workspace: Workspace, name: str) -> str:
    """RUNNING, or what is wrong: in supervisor's word, its probe's, or its kind's."""
    stack = site.load(workspace)
    if name not in stack.desired.standing():
        return RUNNING  # It is about to go: nobody asks how it is.
    kind = kinds.of(stack, name)
    process = kind.process(stack, name)
    problem = settled.problem(site.supervisor(workspace), name, process.ready or process.probe)
    if not problem and kind.deviation is not None:
        problem = kind.deviation(stack, name)
    return problem or RUNNING


def _apply(props: dict[str, Any]) -> dict[str, Any]:
    workspace = _workspace(props)
    name = props["component"]
    stack = site.load(workspace)
    kind = kinds.of(stack, name)
    process = kind.process(stack, name)
    keeper = site.supervisor(workspace)
    if name in keeper.states():
        keeper.remove(name, process.stop_seconds + _STOP_SLACK)
    folder = stack.folder(name)
    for path, text in process.files.items():
        write_atomic(folder / path, text, mode=0o600)
    for path, text in process.seeds.items():
        if not (folder / path).exists():
            write_atomic(folder / path, text, mode=0o600)
    folder.mkdir(parents=True, exist_ok=True)
    if kind.prepare is not None:
        kind.prepare(stack, name, lambda text: None)
    write_atomic(keeper.section_file(name), _section(stack, name, process))
    keeper.add(name)
    _await_health(stack, name, process)
    if kind.engage is not None:
        kind.engage(stack, name)
    return {**props, "state": RUNNING}


def _await_health(stack: Site, name: str, process: Process) -> None:
    """Return when supervisor says it runs and the probe is content. Raises HuiduError with its last words."""
    keeper = site.supervisor(stack.workspace)
    until = time.monotonic() + process.ready_seconds
    pids: set[int] = set()
    since = time.monotonic()
    problem = "not started"
    while time.monotonic() < until:
        state = keeper.states().get(name)
        if state is not None and state.pid:
            pids.add(state.pid)
        if state is not None and state.state != "BACKOFF":
            since = time.monotonic()
        hopeless = len(pids) > _FALLS or time.monotonic() - since > _BACKOFF_SECONDS
        if state is None or state.state in ("FATAL", "STOPPED") or hopeless:
            remark = state.remark if state else ""
            problem = f"it ends as soon as it is started{f' ({remark})' if remark else ''}"
            break
        probe = process.ready or process.probe
        problem = probe.look() if state.state in ("RUNNING", "STARTING") else state.remark
        if not problem:
            return
        time.sleep(_LOOK_SECONDS)
    log = site.log_file(stack.workspace, name)
    raise HuiduError(f"{name} does not get healthy: {problem}{_last_words(log)}", remedy=f"its log: {log}")


def _last_words(log: Path) -> str:
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines()[-40:] if line.strip()]
    except OSError:
        return ""
    return f"; it said: {' | '.join(lines[-3:])[:600]}" if lines else ""


def _section(stack: Site, name: str, process: Process) -> str:
    return section(
        name,
        process,
        stack.folder(name),
        site.record_file(stack.workspace, name),
        site.log_file(stack.workspace, name),
    )


def _workspace(props: Mapping[str, Any]) -> Workspace:
    return Workspace(Path(props["home"]), Path(props["cache"]))


def _plain(value: Any) -> Any:
    """Values as they compare after serialisation: an empty mapping and a missing one are the same."""
    return (dict(sorted(value.items())) if isinstance(value, Mapping) else value) or None
