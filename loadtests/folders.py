"""Where a run's files lie: a folder for each, and a note which was the last."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from huidu.foundation.errors import ConfigError, StateError
from huidu.foundation.workspace import Workspace, write_atomic


def remember(workspace: Workspace, folder: Path, out: Path | None) -> None:
    """`huidu load report` without a name means this run, unless its folder was chosen by hand."""
    if out is None:
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


def new_folder(workspace: Workspace, out: Path | None, kind: str) -> Path:
    """A new folder for the run. Raises StateError."""
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
        for left in [
            *folder.glob("ready-*"),
            *folder.glob("recording-*.jsonl"),
            folder / "start",
            folder / "until",
            folder / "verdict.json",
        ]:
            left.unlink(missing_ok=True)
        return folder.resolve()
    raise StateError("several runs began in this very second", where=str(workspace.load), remedy="try again")
