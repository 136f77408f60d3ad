"""Where state, logs, reports and downloads lie, and how files are written so that a crash leaves no half."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from huidu.foundation.errors import StateError


@dataclass(frozen=True, slots=True)
class Workspace:
    """`home`: state of one stack and its rollouts; `cache`: programs and templates shared by all of them."""

    home: Path
    cache: Path

    @classmethod
    def from_env(cls) -> Workspace:
        """HUIDU_HOME or `.huidu` here; HUIDU_CACHE or the user's cache folder. Nothing is created yet."""
        home = Path(os.environ.get("HUIDU_HOME") or ".huidu").expanduser().resolve()
        cache = os.environ.get("HUIDU_CACHE")
        return cls(
            home, Path(cache).expanduser().resolve() if cache else platformdirs.user_cache_path("huidu")
        )

    @property
    def stack_file(self) -> Path:
        return self.home / "stack.json"

    @property
    def rollouts(self) -> Path:
        return self.home / "rollouts"

    @property
    def load(self) -> Path:
        return self.home / "load"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def runbooks(self) -> Path:
        return self.home / "runbooks"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    def ensure_writable(self) -> None:
        """Prove that state can be written here. Raises StateError (full disk, no permission)."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            write_atomic(self.home / ".writable", "x" * 65536)
            (self.home / ".writable").unlink()
        except OSError as error:
            raise StateError(
                f"state cannot be written: {error.strerror or error}",
                where=str(self.home),
                remedy="free some space, or set HUIDU_HOME to a writable folder; nothing was changed",
            ) from None


def write_atomic(path: Path, text: str, mode: int = 0o644) -> None:
    """Write `text` to a new file beside `path`, sync it, rename it over `path`. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # noqa: PTH101 - by name, before the rename makes it visible
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The JSON value in `path`. Raises StateError where it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError("the file is missing", where=str(path)) from None
    except ValueError as error:
        raise StateError(f"not JSON: {error}", where=str(path), remedy="it is damaged; remove it") from None
