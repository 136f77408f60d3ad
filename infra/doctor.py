"""Every external program: found where, which version, or how to get it."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huidu.foundation.errors import HuiduError, MissingProgram, StateError
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace, write_atomic
from infra import toolchain
from infra.toolchain import Found, Program, prometheus, tryton
from infra.toolchain.program import Say

_WITH = "huidu doctor --obtain --kubernetes"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table. `remedy` is empty where all is well."""

    name: str
    about: str
    ok: bool
    version: str
    where: str
    origin: str
    remedy: str


def run(workspace: Workspace, obtain: bool, quiet: bool, kubernetes: bool = False) -> list[Finding]:
    """Look at every program, with `obtain` get what is missing; print a table on stderr.

    With `quiet` only what is missing or being obtained is said; with `kubernetes` the control plane for tests
    is wanted too. Exit: 0 where every finding is ok, else 2.
    """
    remembered = _remembered(workspace) if obtain and quiet else None
    if remembered and not kubernetes:
        return remembered
    terminal = Terminal()
    try:
        with _interruptible():
            findings = remembered or examine(workspace, obtain, terminal.progress)
            optional = _kubernetes(workspace, kubernetes, obtain, terminal.progress)
    finally:
        terminal.close()
    _say(terminal, [*findings, *optional], quiet)
    if all(each.ok for each in findings):
        _remember(workspace, findings)
    return [*findings, *optional]


def _say(terminal: Terminal, findings: list[Finding], quiet: bool) -> None:
    if not quiet:
        for each in findings:
            terminal.say(_line(each), "" if each.ok else "bold red")
    for each in findings:
        if not each.ok:
            terminal.say(f"{each.name} is missing: {each.remedy}", "bold red")
        elif each.remedy and not quiet:
            terminal.say(f"{each.name}: {each.remedy}", "yellow")


def examine(workspace: Workspace, obtain: bool, say: Say) -> list[Finding]:
    """A finding for each program, promtool and the prepared database; one failure hides none of the rest."""
    findings = [_program(workspace, program, obtain, say) for program in toolchain.all()]
    found = prometheus.promtool(workspace)
    findings.append(_finding("promtool", "checks rules", found, prometheus.BY_HAND))
    if all(each.ok for each in findings):
        findings.append(_database(workspace))
    return findings


def _program(
    workspace: Workspace, program: Program, obtain: bool, say: Say, command: str = "huidu doctor --obtain"
) -> Finding:
    try:
        found = program.obtain(workspace, say) if obtain else program.find(workspace)
    except MissingProgram as error:
        return _finding(program.name, program.about, None, f"{error.what}; {error.remedy or program.by_hand}")
    except StateError as error:
        return _finding(program.name, program.about, None, str(error))
    return _finding(program.name, program.about, found, f"`{command}` gets it, or: {program.by_hand}")


def _kubernetes(workspace: Workspace, wanted: bool, obtain: bool, say: Say) -> list[Finding]:
    """What tests on Kubernetes need: where nobody asks for it, its absence is no fault and it is not made."""
    if wanted:
        return [_program(workspace, program, obtain, say, _WITH) for program in toolchain.kubernetes()]
    remedy = f"`{_WITH}` gets it (7 minutes on two cores in all); only `make test-kubernetes` needs it"
    return [
        _finding(program.name, program.about, found, "")
        if (found := program.find(workspace))
        else Finding(program.name, program.about, True, "", "not yet", "", remedy)
        for program in toolchain.kubernetes()
    ]


def _finding(name: str, about: str, found: Found | None, remedy: str) -> Finding:
    if found is None:
        return Finding(name, about, False, "", "", "", remedy)
    return Finding(name, about, True, found.version, str(found.path), found.origin, "")


def _database(workspace: Workspace) -> Finding:
    """The core's prepared database: its absence is no fault, only a minute that the first stack will take."""
    about = "the core's database, prepared"
    if data := tryton.template(workspace):
        return Finding("template", about, True, "", str(data), "cache", "")
    remedy = "`huidu doctor --obtain` makes it (a minute), or else the first `huidu stack up`"
    return Finding("template", about, True, "", "not yet", "", remedy)


def _line(finding: Finding) -> str:
    """A row of the table. Not cut to the terminal's width: a path is there to be copied."""
    mark = "✗" if not finding.ok else "·" if finding.remedy else "✓"
    known = f"{finding.version:<9}{finding.origin:<25}{finding.where}" if finding.where else finding.about
    return f"{mark} {finding.name:<12}{known}"


# What was found last is remembered with the files' size and time, so that `make setup` costs nothing when
# all is as it was. What has changed in any way is looked at again.


def _stamp(workspace: Workspace) -> Path:
    return workspace.cache / "doctor.json"


def _remember(workspace: Workspace, findings: list[Finding]) -> None:
    document = {
        "environment": sys.prefix,
        "template": str(tryton.template(workspace)),
        "findings": [asdict(each) | {"file": _identity(Path(each.where))} for each in findings],
    }
    with contextlib.suppress(OSError):  # A cache that cannot be written is not the doctor's complaint.
        write_atomic(_stamp(workspace), json.dumps(document, indent=1))


def _remembered(workspace: Workspace) -> list[Finding] | None:
    try:
        document: dict[str, Any] = json.loads(_stamp(workspace).read_text(encoding="utf-8"))
        if document["environment"] != sys.prefix or document["template"] != str(tryton.template(workspace)):
            return None
        if any(each.pop("file") != _identity(Path(each["where"])) for each in document["findings"]):
            return None
        findings = [Finding(**each) for each in document["findings"]]
        expected = {program.name for program in toolchain.all()} | {"promtool", "template"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, HuiduError):
        return None
    complete = {each.name for each in findings} == expected and tryton.template(workspace) is not None
    return findings if complete else None


def _identity(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns] if path.is_file() else [0, 0]


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C, so that what is being made is cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
