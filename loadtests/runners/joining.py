"""`huidu load worker`: wait for a run, take part in it, wait for the next.

Each run is taken part in by a process of its own (Locust patches the standard library, and a run must not
inherit what the last one left in memory).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from huidu.foundation.errors import StateError, UsageError
from loadtests.runners import link, messages
from loadtests.runners.run import last_line, locust_environment

_KNOCK_SECONDS = 2.0
_PAUSE_SECONDS = 1.0


def member_process(master: str, token_file: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A worker for one run, with its files and its log in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "worker.log").open("wb") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "loadtests.runners.member", "--master", master),
                *("--token-file", str(token_file), "--folder", str(folder)),
            ],
            env=locust_environment(folder),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class Joining:
    """A worker that waits for runs. `stop` from a signal handler or another thread."""

    def __init__(self, master: str, token_file: Path, say: Callable[[str], None]) -> None:
        self._host, self._port = link.address(master, "--master")
        self._token_file = token_file.resolve()
        self._say = say
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Leave: a run under way loses this worker, and says so."""
        self._stopped.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def serve(self, once: bool, patience: float | None) -> None:
        """Until stopped, or after one run. `patience`: seconds to wait for a run at most.

        Raises UsageError where the run refuses this worker, StateError where no run came in time or it died.
        """
        keys = link.keys_of(link.read_token(self._token_file))
        master = f"{self._host}:{self._port}" if ":" not in self._host else f"[{self._host}]:{self._port}"
        self._say(f"waiting for a run at {master}")
        while not self._stopped.is_set():
            self._await(keys, master, patience)
            if self._stopped.is_set():
                return
            with tempfile.TemporaryDirectory(prefix="huidu-worker-") as folder:
                code, words = self._take_part(master, Path(folder))
            if self._stopped.is_set():
                return
            if code == messages.REFUSED:
                raise UsageError(words or "refused", where=master)
            if code == messages.LATER:
                self._stopped.wait(_PAUSE_SECONDS)
                continue
            self._say(f"took part in a run{f': {words}' if words else ''}")
            if code != 0 and once:
                raise StateError(f"the worker ended with exit code {code}", where=master, remedy=words)
            if once:
                return
            self._stopped.wait(_PAUSE_SECONDS)

    def _await(self, keys: link.Keys, master: str, patience: float | None) -> None:
        limit = None if patience is None else time.monotonic() + patience
        while not self._stopped.is_set():
            answer = link.knock(self._host, self._port, keys, _KNOCK_SECONDS)
            if answer == "open":
                return
            if answer == "refused":
                raise UsageError(
                    "the run there has another token, or is none",
                    where=master,
                    remedy=f"copy the token of the run's machine to {self._token_file}",
                )
            if limit is not None and time.monotonic() > limit:
                raise StateError(f"no run came within {patience:g} s", where=master)

    def _take_part(self, master: str, folder: Path) -> tuple[int, str]:
        self._process = member_process(master, self._token_file, folder)
        try:
            code = self._process.wait()
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait(timeout=10)
        return code, last_line(folder / "worker.log")
