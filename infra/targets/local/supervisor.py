"""supervisord: started on its own, spoken to over a Unix socket that only its owner can open."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from huidu.foundation.errors import HuiduError, StateError
from huidu.foundation.workspace import write_atomic
from infra.targets.local import launch
from infra.targets.local.process import launcher

_CALL_SECONDS = 10.0
_START_SECONDS = 20.0
_LOOK_SECONDS = 0.05
_STOPPED = frozenset({"STOPPED", "EXITED", "FATAL", "BACKOFF"})

# supervisor's own numbers for what may go wrong (supervisor.xmlrpc.Faults).
_BAD_NAME, _NOT_RUNNING, _ALREADY_ADDED, _STILL_RUNNING = 10, 70, 90, 91


@dataclass(frozen=True, slots=True)
class State:
    """What supervisor says of one program.

    `state`: RUNNING, STARTING, BACKOFF, FATAL, STOPPED ...; `pid`: 0 for none; `seconds`: in this state.
    """

    name: str
    state: str
    pid: int
    seconds: float
    remark: str

    @property
    def runs(self) -> bool:
        return self.state == "RUNNING"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_CALL_SECONDS)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path)


class Supervisor:
    """The supervisor of one stack. `folder`: its configuration; `socket_path`: where it listens."""

    def __init__(self, folder: Path, socket_path: Path) -> None:
        self.folder = folder
        self.socket_path = socket_path
        self.record = folder / "supervisord.pid"

    def section_file(self, name: str) -> Path:
        """The configuration file of one program."""
        return self.folder / "programs" / f"{name}.ini"

    def alive(self) -> bool:
        """Whether it runs and answers."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except HuiduError:
            return False

    def start(self) -> None:
        """Start it, in a session of its own, unless it runs. Raises StateError with what it said."""
        if self.alive():
            return
        self.kill()
        (self.folder / "programs").mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "supervisord.conf", self._configuration())
        said = self.folder / "supervisord.err"
        environment = {
            key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if key in os.environ
        }
        with said.open("wb") as output:
            process = subprocess.Popen(
                [
                    *launcher(self.record, 0),
                    *(sys.executable, "-m", "supervisor.supervisord", "-n", "-s"),
                    *("-c", str(self.folder / "supervisord.conf")),
                ],
                cwd="/",
                env={**environment, "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + _START_SECONDS
        while not self.alive():
            if process.poll() is not None or time.monotonic() > until:
                words = said.read_text(errors="replace").strip().splitlines()
                raise StateError(
                    f"supervisor does not start: {words[-1] if words else 'no word'}", where=str(self.folder)
                )
            time.sleep(_LOOK_SECONDS)

    def states(self) -> dict[str, State]:
        """Every program by name; none where the supervisor does not run."""
        try:
            found = self._call("getAllProcessInfo")
        except HuiduError:
            return {}
        return {
            each["name"]: State(
                name=each["name"],
                state=each["statename"],
                pid=int(each["pid"]),
                seconds=max(
                    0.0, float(each["now"] - (each["start"] if each["pid"] else each["stop"] or each["now"]))
                ),
                remark=str(each["spawnerr"] or each["description"]),
            )
            for each in found
        }

    def add(self, name: str) -> None:
        """Take up a program whose section file was just written, and start it."""
        try:
            self._call("reloadConfig")
            self._call("addProcessGroup", name)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _ALREADY_ADDED:
                raise StateError(f"supervisor refuses {name}: {fault.faultString}") from None

    def remove(self, name: str, seconds: float) -> None:
        """Stop a program, wait until it has ended (at most `seconds`), forget it. Unknown ones are fine."""
        try:
            self._call("stopProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (_NOT_RUNNING, _BAD_NAME):
                raise StateError(f"supervisor does not stop {name}: {fault.faultString}") from None
        until = time.monotonic() + seconds
        while True:
            state = self.states().get(name)
            if state is None:
                return
            if state.state in _STOPPED:
                try:
                    self._call("removeProcessGroup", name)
                    return
                except xmlrpc.client.Fault as fault:
                    if fault.faultCode == _BAD_NAME:
                        return
                    if fault.faultCode != _STILL_RUNNING:
                        raise StateError(f"supervisor keeps {name}: {fault.faultString}") from None
            if time.monotonic() > until:
                raise StateError(f"{name} does not stop", remedy=f"it is process {state.pid}")
            time.sleep(_LOOK_SECONDS)

    def shutdown(self, seconds: float) -> None:
        """Stop all programs and then itself; after `seconds` by force (its children die with it)."""
        with contextlib.suppress(HuiduError, xmlrpc.client.Fault):
            self._call("shutdown")
        until = time.monotonic() + seconds
        while launch.read_record(self.record) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End a supervisor that does not answer."""
        found = launch.read_record(self.record)
        if found:
            os.kill(found[0], signal.SIGKILL)
            until = time.monotonic() + _CALL_SECONDS
            while launch.read_record(self.record) and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS)
        self.socket_path.unlink(missing_ok=True)

    def _call(self, method: str, *arguments: Any) -> Any:
        """One remote call. Raises StateError where nobody answers, Fault where it is refused."""
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(str(self.socket_path)))
        try:
            return cast(Any, getattr(proxy.supervisor, method))(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise StateError(
                f"the supervisor does not answer ({type(error).__name__})",
                where=str(self.socket_path),
                remedy="`huidu stack up` starts it again",
            ) from None
        finally:
            proxy("close")()

    def _configuration(self) -> str:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        return f"""[unix_http_server]
file={self.socket_path}
chmod=0600
[supervisord]
logfile={self.folder}/supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
loglevel=info
pidfile={self.folder}/supervisord.own.pid
childlogdir={self.folder}
minfds={max(soft, files)}
minprocs=64
umask=077
identifier=huidu
{"user=root" if os.getuid() == 0 else ""}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{self.socket_path}
[include]
files = programs/*.ini
""".replace("%", "%%")
