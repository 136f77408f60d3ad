"""What a component comes to on this machine: files, a command line, a way to see whether it is healthy."""

from __future__ import annotations

import hashlib
import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.targets.local import launch
from infra.targets.local.probe import Probe

_LOG_BYTES = "2MB"
# What dies at once is tried again after 1, 2, 3 ... seconds: twenty times make three and a half minutes.
_RETRIES = 20


@dataclass(frozen=True)
class Process:
    """One supervised process.

    `files`: text by path below the component's folder, ours, written (0600) when they differ.
    `seeds`: written once and then somebody else's (the route file is the rollout's).
    `stop_signal`: a name without SIG; after `stop_seconds` it is SIGKILL.
    `ready_seconds`: how long it may take until the probe is content.
    `orphan_signal`: what the kernel sends it when the supervisor is killed.
    `ready`: what is asked while it starts, where `probe` asks more than it can answer alone by then.
    `output`: where its standard output goes by itself, bounded as a log is; empty: into its log.
    """

    command: tuple[str, ...]
    address: str
    version: str
    probe: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 8
    ready_seconds: float = 90.0
    orphan_signal: int = int(signal.SIGKILL)
    ready: Probe | None = None
    output: Path | None = None


def digest(text: str) -> str:
    """A short name for a text's content."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def digest_of(path: Path) -> str:
    """The digest of a file's content, or "missing"."""
    try:
        return digest(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return "missing"


def launcher(record: Path | str, orphan_signal: int) -> list[str]:
    """The words to put before a command line so that `launch` starts it."""
    return [sys.executable, "-I", "-S", launch.__file__, str(record), str(orphan_signal)]


def section(name: str, process: Process, folder: Path, record: Path, log: Path) -> str:
    """The program's section of supervisor's configuration."""
    environment = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(process.environment.items()))
    command = shlex.join([*launcher(record, process.orphan_signal), *process.command])
    lines = {
        "command": _escaped(command),
        "directory": _escaped(str(folder)),
        "environment": environment,
        "autostart": "true",
        "autorestart": "true",
        "startsecs": "1",
        "startretries": str(_RETRIES),
        "stopsignal": process.stop_signal,
        "stopwaitsecs": str(process.stop_seconds),
        "killasgroup": "true",
        **(_kept("stdout", log) | {"redirect_stderr": "true"} if process.output is None else {}),
        **(_kept("stdout", process.output) | _kept("stderr", log) if process.output else {}),
    }
    body = "".join(f"{key}={value}\n" for key, value in lines.items() if value)
    return f"[program:{name}]\n{body}"


def _kept(stream: str, file: Path) -> dict[str, str]:
    """The file a stream goes to: at most twice _LOG_BYTES, the older half beside it as `<file>.1`."""
    return {
        f"{stream}_logfile": _escaped(_escaped(str(file))),  # this one supervisor expands twice
        f"{stream}_logfile_maxbytes": _LOG_BYTES,
        f"{stream}_logfile_backups": "1",
    }


def _escaped(text: str) -> str:
    # supervisor expands %(name)s in every value.
    return text.replace("%", "%%")
