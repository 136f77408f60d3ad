"""A short folder for sockets: a Unix socket's path has at most 107 characters, HUIDU_HOME any number."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from huidu.foundation.errors import StateError

LONGEST = 107


def place(home: Path) -> Path:
    """Where the folder for `home` belongs; nothing is made."""
    name = f"huidu-{os.getuid()}-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    # The last is for a TMPDIR with a long path; what is made there is 0700.
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108
        if parent and Path(parent).is_dir() and len(f"{parent}/{name}/supervisor.sock") <= LONGEST:
            return Path(parent) / name
    raise StateError(
        "no folder with a short path for sockets", remedy="set TMPDIR to a folder with a short path"
    )


def make(folder: Path) -> Path:
    """Make the folder, ours alone (0700). Raises StateError where something else lies in its place."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StateError(f"cannot be made: {error.strerror}", where=str(folder)) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StateError(
            "is not ours alone", where=str(folder), remedy="remove it, or set TMPDIR to another folder"
        )
    return folder


def remove(folder: Path) -> None:
    """Take the folder away with what lies in it."""
    shutil.rmtree(folder, ignore_errors=True)
