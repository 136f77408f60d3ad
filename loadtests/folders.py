"""Where a run's files lie: a folder for each, and a note which was the last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from huidu.foundation.errors import ConfigError, StateError
from huidu.foundation.workspace import Workspace, write_atomic
from loadtests.wording import counted


def remember(workspace: Workspace, folder: Path, out: Path | None) -> None:
    """`huidu load report` without a name means this run, unless its folder was chosen elsewhere by hand."""
    if out is None or folder.parent == workspace.load:
        write_atomic(workspace.load / "latest", folder.name + "\n")


def find_run(name: str | None) -> Path:
    """The folder of a run: a path, a name under `load/`, or (None) the last. Raises ConfigError."""
    load = Workspace.from_env().load
    if name is None:
        latest = load / "latest"
        if not latest.is_file():
            raise ConfigError("no run was made here yet", file=load, remedy="run `huidu load verify PROFILE`")
        name = latest.read_text(encoding="utf-8").strip()
    for folder in (Path(name), load / name):
        if (folder / "run.json").is_file():
            return folder
    raise ConfigError("there is no such run", file=name, expected="a folder that holds run.json")


# What huidu writes into a run's folder, and what lies in folders inside of it.
_OWN = (
    *(
        "run.json",
        "ends.json",
        "members.json",
        "status.json",
        "annotations.json",
        "memory.json",
        "verdict.json",
    ),
    *("report.html", "junit.xml", "summary.md", "compare.html", "compare.json", "search.html", "search.json"),
    *("recording-*.jsonl", "worker-*.log", "worker.log", "master.log", "ready-*", "start", "until"),
)
_OWN_FOLDERS = ("calibration", "sizing", "member-*", "run-[0-9]*")
# One of these says that a run of ours was here.
_MARKS = ("run.json", "search.json")


def _cleared(folder: Path) -> int:
    """Take away what an earlier run left, and nothing else; how many files that were."""
    found = [file for name in _OWN for file in folder.glob(name) if file.is_file()]
    for file in found:
        file.unlink()
    number = len(found)
    for inner in [each for name in _OWN_FOLDERS for each in folder.glob(name) if each.is_dir()]:
        number += _cleared(inner)
        with suppress(OSError):  # somebody keeps something else in it
            inner.rmdir()
    return number


def _ignore(text: str) -> None:
    """Nobody wants to know."""


def new_folder(
    workspace: Workspace, out: Path | None, kind: str, say: Callable[[str], None] = _ignore
) -> Path:
    """A new folder for the run; what an earlier run left in it is taken away, and said. Raises StateError."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    wanted = (
        [out]
        if out is not None
        else [workspace.load / f"{kind}-{stamp}{tail}" for tail in ("", "-2", "-3", "-4")]
    )
    for folder in wanted:
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
        except FileExistsError:
            continue
        except OSError as error:
            raise StateError(f"cannot be created: {error.strerror}", where=str(folder)) from None
        if any((folder / name).is_file() for name in _MARKS):
            say(f"  {folder}: {counted(_cleared(folder), 'file')} of an earlier run taken away")
        return folder.resolve()
    raise StateError("several runs began in this very second", where=str(workspace.load), remedy="try again")
