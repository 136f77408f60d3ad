"""Real servers for the CRM's tests: PostgreSQL, Tryton, the CRM's own processes, a link that can be cut."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.ports import free_port

HOST = "127.0.0.1"
ENVIRONMENT = {**os.environ, "PYTHONSAFEPATH": "1"}


def eventually(what: Callable[[], Any], seconds: float = 15.0, every: float = 0.05) -> Any:
    """The first true answer of `what`; a failure that shows the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what} (last answer: {answer!r})")
        time.sleep(every)


def listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=0.5):
        return True
    return False


@dataclass
class Process:
    """A child that is stopped at the end of the test, whatever happened to it."""

    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(10)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.popen.terminate()
        return self.popen.wait(15)


@dataclass
class Starter:
    """Starts `python -m MODULE ...` of the CRM and waits until its port answers."""

    folder: Path
    started: list[Process] = field(default_factory=list)

    def __call__(self, command: list[str], port: int, seconds: float = 20.0) -> Process:
        log = self.folder / f"{len(self.started)}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=ENVIRONMENT)
        process = Process(popen, log, f"http://{HOST}:{port}")
        self.started.append(process)
        deadline = time.monotonic() + seconds
        while not listening(port):
            if popen.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{' '.join(command[:4])} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        return process

    def close(self) -> None:
        for process in reversed(self.started):
            if process.popen.poll() is None:
                process.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    starter.close()


@dataclass(frozen=True)
class Postgres:
    port: int
    folder: Path  # passwords lie here, for passfile=
    password: str

    def conninfo(self, database: str, user: str = "postgres") -> str:
        passfile = self.folder / "passfile"
        return f"host={HOST} port={self.port} dbname={database} user={user} passfile={passfile}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo(database), autocommit=True, connect_timeout=5)


@contextlib.contextmanager
def running(folder: Path, make: Callable[[Path, str], None]) -> Iterator[Postgres]:
    """A PostgreSQL on the data folder that `make(data, password)` lays; stopped at the end."""
    from infra.toolchain import postgres as programs

    port, password = free_port(), secrets.token_urlsafe(16)
    passfile = folder / "passfile"
    passfile.write_text(f"{HOST}:{port}:*:*:{password}\n")
    passfile.chmod(0o600)
    make(folder / "data", password)
    settings = {"fsync": "off", "shared_buffers": "64MB", "max_connections": "60"}
    starter = Starter(folder)
    process = starter(programs.server(folder / "data", port, settings), port)
    server = Postgres(port, folder, password)

    def ready() -> bool:
        with contextlib.suppress(psycopg.OperationalError), server.connect():
            return True
        return False

    try:
        eventually(ready)
        yield server
        process.popen.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(10)
    finally:
        starter.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]) -> Iterator[Postgres]:
    program("postgres")
    from infra.toolchain import postgres as programs

    def make(data: Path, password: str) -> None:
        programs.create(
            data, superuser_password=password, role="touchpoints", password=password, database="touchpoints"
        )

    with running(tmp_path_factory.mktemp("postgres"), make) as server:
        yield server


def run_schema(conninfo: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "crm.touchpoints.schema", "--database", conninfo, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False)


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """A database with the tables, 20 customers and the products."""
    done = run_schema(postgres.conninfo("touchpoints", "touchpoints"), "--customers", "20")
    assert done.returncode == 0, done.stderr
    return "touchpoints"


_numbers = itertools.count()


@pytest.fixture
def database(postgres: Postgres, template: str) -> Iterator[str]:
    """The connection string of a touchpoints database of the test's own."""
    name = f"test_{next(_numbers)}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER touchpoints")
    yield postgres.conninfo(name, "touchpoints")
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def touchpoints(start: Starter, database: str) -> Callable[..., Process]:
    """Start the touchpoints of a release on the test's database: `touchpoints("v2", "errors=5%")`."""

    def serve(release: str = "v1", *defects: str) -> Process:
        port = free_port()
        command = [sys.executable, "-m", "crm.touchpoints", "--listen", f"{HOST}:{port}"]
        command += ["--database", database, "--release", release]
        for defect in defects:
            command += ["--defect", defect]
        process = start(command, port)
        eventually(lambda: requests.get(process.url + "/healthz", timeout=2).ok)
        return process

    return serve


@pytest.fixture
def monitor(start: Starter, database: str) -> Callable[..., Process]:
    def watch(*more: str) -> Process:
        port = free_port()
        command = [sys.executable, "-m", "crm.synchronisation", "monitor", "--database", database]
        return start([*command, "--metrics", f"{HOST}:{port}", *more], port)

    return watch


@dataclass(frozen=True)
class TrytonCore:
    port: int
    database: str
    user: str
    password_file: Path
    folder: Path
    postgres: Postgres

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.postgres.connect(self.database) as connection:
            return connection.execute(query, params).fetchall()

    def does(self, statements: str) -> None:
        with self.postgres.connect(self.database) as connection:
            connection.execute(statements.encode())

    def prepare(self, password_file: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "crm.core.prepare", "--config", str(self.folder / "trytond.conf")]
        command += ["--database", self.database, "--sync-user", self.user]
        command += ["--admin-password-file", str(self.folder / "admin")]
        command += ["--sync-password-file", str(password_file or self.password_file)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=280, env=ENVIRONMENT, check=False
        )


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]) -> Iterator[TrytonCore]:
    """Tryton serving a copy of its prepared database (which is made first if there is none: a minute)."""
    program("postgres")
    trytond = program("trytond")
    from huidu.foundation.workspace import Workspace
    from infra.toolchain import tryton

    folder = tmp_path_factory.mktemp("core")
    for name in ("admin", "sync"):
        (folder / name).write_text(secrets.token_urlsafe(16) + "\n")
        (folder / name).chmod(0o600)

    def make(data: Path, password: str) -> None:
        passwords = {"postgres": password, tryton.ROLE: password}
        tryton.copy_template(Workspace.from_env(), data, passwords, print)

    starter = Starter(folder)
    with running(tmp_path_factory.mktemp("core-db"), make) as server:
        port = free_port()
        uri = f"postgresql://{tryton.ROLE}@{HOST}:{server.port}/?passfile={server.folder / 'passfile'}"
        config = folder / "trytond.conf"
        config.write_text(f"[database]\nuri = {uri}\n[web]\nlisten = {HOST}:{port}\n")
        core = TrytonCore(port, tryton.DATABASE, tryton.SYNC_USER, folder / "sync", folder, server)
        done = core.prepare()
        assert done.returncode == 0, done.stdout + done.stderr
        try:
            starter([str(trytond), "-c", str(config), "-d", core.database], port, seconds=60)
            yield core
        finally:
            starter.close()


class Link:
    """A TCP way to `target` that can be cut, and that can lose the answers while the questions arrive."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._deaf = threading.Event()
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        self._deaf.clear()
        if self._listener is None:
            self._listener = socket.create_server((HOST, self.port))
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Nothing listens any more, and what was open is closed."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def lose_answers(self) -> None:
        self._deaf.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection((HOST, self._target))
            except OSError:
                return
            self._open += [near, far]
            threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and self._deaf.is_set():
                    break
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def link(core: TrytonCore) -> Iterator[Link]:
    link = Link(core.port)
    yield link
    link.cut()


@pytest.fixture
def worker(start: Starter, database: str, core: TrytonCore, link: Link) -> Callable[..., Process]:
    """Start the synchronisation worker of a release: `worker("v1", "--drain-abandoned")`."""

    def work(release: str = "v1", *more: str) -> Process:
        port = free_port()
        command = [sys.executable, "-m", "crm.synchronisation", "worker", "--database", database]
        command += ["--release", release, "--core-url", f"http://{HOST}:{link.port}"]
        command += ["--core-database", core.database, "--core-user", core.user]
        command += ["--core-password-file", str(core.password_file), "--metrics", f"{HOST}:{port}"]
        return start([*command, *more], port)

    return work


@pytest.fixture(name="eventually")
def eventually_() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def schema(postgres: Postgres) -> Callable[..., subprocess.CompletedProcess[str]]:
    return run_schema
