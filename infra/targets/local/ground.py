"""What is there before the first component and goes after the last: folders, ports, supervisor, watcher."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from huidu.foundation.errors import MissingProgram, UsageError
from huidu.foundation.workspace import Workspace, write_atomic
from infra.desired import Desired
from infra.targets.local import kinds, lacking, launch, ports, postgres, runtime, site, watch
from infra.targets.local.probe import Tcp
from infra.targets.local.process import Process, section
from infra.targets.local.secrets import Secrets
from infra.targets.local.site import Site
from infra.toolchain import tryton

WATCHER = "while"
_SHUTDOWN_SECONDS = 25.0
_END_SECONDS = 5.0


def plan(workspace: Workspace, desired: Desired, secrets: Path | None = None) -> Site:
    """The site this stack has or would have; nothing is written but secrets (into `secrets` where given).

    Raises MissingProgram, StateError.
    """
    needed = kinds.programs(desired.topology)
    programs = site.find_programs(workspace, needed)
    missing = sorted(needed - programs.keys())
    if missing:
        raise MissingProgram(f"missing: {', '.join(missing)}", remedy="run `huidu doctor --obtain`")
    running = site.supervisor(workspace).states()
    names = tuple(kinds.port_names(desired.topology))
    held = [name for name in names if name.split("/")[0] in running]
    chosen = ports.choose(names, ports.recall(site.ports_file(workspace)), held)
    return Site(workspace, desired, chosen, programs, Secrets(secrets or workspace.secrets))


def lay(workspace: Workspace, desired: Desired, say: Callable[[str], None] = lambda text: None) -> Site:
    """Everything but components: folders, ports, a running supervisor. Raises MissingProgram, StateError."""
    stack = plan(workspace, desired)
    for folder in (site.root(workspace), site.root(workspace) / "pids", workspace.logs):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ports.remember(site.ports_file(workspace), stack.ports)
    # Also what was given up till now: a command that was killed may not have come to it.
    before = Desired.read(site.desired_file(workspace))
    if before is not None:
        lacking.note(stack, before.topology)
    desired.write(site.desired_file(workspace))
    lacking.note(stack, desired.topology)
    site.save(stack)
    # Here and not where it is copied: it may take a minute, and this process can tell of it.
    if any(postgres.from_template(stack, name) for name in desired.standing()):
        tryton.prepare_template(workspace, say)
    site.make_runtime_folder(workspace)
    keeper = site.supervisor(workspace)
    if not keeper.alive():
        keeper.kill()
        end_leftovers(workspace)
        # What the last supervisor kept is brought up by the program, one by one and in order.
        shutil.rmtree(keeper.folder / "programs", ignore_errors=True)
        keeper.start()
    return stack


def start_of(pid: int) -> int:
    """When a process was started that a stack is to be tied to. Raises UsageError where there is none."""
    start = launch.start_of(pid)
    if start is None:
        raise UsageError(f"there is no process {pid}", remedy="give --while the id of a running process")
    return start


def watch_over(workspace: Workspace, pid: int) -> None:
    """Tie the stack to a process: when it is gone, the stack goes down. 0 unties it. Raises UsageError."""
    keeper = site.supervisor(workspace)
    file = keeper.section_file(WATCHER)
    if not pid:
        file.unlink(missing_ok=True)
        keeper.remove(WATCHER, _END_SECONDS)
        return
    start = start_of(pid)
    down = [sys.executable, "-m", "huidu.cli", "stack", "down", "--take-over"]
    # A process of its own that outlives the supervisor: see watch.py.
    process = Process(
        command=(sys.executable, "-I", "-S", watch.__file__, str(pid), str(start), *down),
        address="",
        version="",
        probe=Tcp(0),
        environment={
            "HUIDU_HOME": str(workspace.home),
            "HUIDU_CACHE": str(workspace.cache),
            "PYTHONSAFEPATH": "1",
            "HOME": os.environ.get("HOME", "/"),
        },
        stop_seconds=2,
    )
    text = section(
        WATCHER, process, Path("/"), site.record_file(workspace, WATCHER), site.log_file(workspace, WATCHER)
    )
    if file.exists() and file.read_text(encoding="utf-8") == text and WATCHER in keeper.states():
        return
    keeper.remove(WATCHER, _END_SECONDS)
    write_atomic(file, text)
    keeper.add(WATCHER)


def clear(workspace: Workspace, keep_data: bool) -> None:
    """Stop the supervisor and what is left, remove the folders; `keep_data`: but databases and secrets."""
    site.supervisor(workspace).shutdown(_SHUTDOWN_SECONDS)
    end_leftovers(workspace)
    runtime.remove(site.runtime_folder(workspace))
    root = site.root(workspace)
    if not keep_data:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(workspace.secrets, ignore_errors=True)
        return
    for each in sorted(root.iterdir()) if root.is_dir() else ():
        if each.is_dir() and not (each / postgres.DATA).is_dir():
            shutil.rmtree(each, ignore_errors=True)
        elif each.is_file() and each != site.desired_file(workspace):
            each.unlink()


def end_leftovers(workspace: Workspace) -> None:
    """End recorded processes that outlived their supervisor: SIGINT (PostgreSQL: fast), then SIGKILL."""
    folder = site.root(workspace) / "pids"
    records = sorted(folder.iterdir()) if folder.is_dir() else []
    for number, seconds in ((signal.SIGINT, _END_SECONDS), (signal.SIGKILL, _END_SECONDS)):
        found = [each for each in map(launch.read_record, records) if each]
        for pid, _ in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        until = time.monotonic() + seconds
        while any(map(launch.read_record, records)) and time.monotonic() < until:
            time.sleep(0.05)
