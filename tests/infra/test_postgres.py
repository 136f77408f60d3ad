"""PostgreSQL runs for whoever we are, takes passwords only, stops when asked and ends with its starter."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from huidu.foundation.errors import StateError
from huidu.foundation.workspace import Workspace
from infra.targets.kubernetes import poolers
from infra.toolchain import postgres, tryton
from tests.infra.conftest import free_ports

pytestmark = pytest.mark.server
OWN, SUPER = 'it\'s "mine"', "the boss's"


@pytest.fixture(scope="module", autouse=True)
def needed(program: Callable[[str], Path]) -> None:
    program("postgres")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder below one that only we may enter."""
    above = tmp_path_factory.mktemp("private", numbered=True)
    above.chmod(0o700)
    data = above / "deep" / "data"
    postgres.create(data, superuser_password=SUPER, role="touchpoints", password=OWN, database="touchpoints")
    return data


def connect(port: int, user: str, password: str, database: str = "touchpoints") -> psycopg.Connection:
    deadline = time.monotonic() + 15
    while True:
        try:
            return psycopg.connect(
                host="127.0.0.1", port=port, user=user, password=password, dbname=database, connect_timeout=3
            )
        except psycopg.OperationalError as error:
            if "password" in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture
def server(made: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    data = tmp_path / "copy"
    shutil.copytree(made, data, symlinks=True)
    postgres.adopt(data)
    (port,) = free_ports(1)
    process = subprocess.Popen(postgres.server(data, port), stderr=subprocess.DEVNULL)
    yield process, port, data
    process.kill()
    process.wait()


def test_a_role_owns_its_database_and_needs_its_password(
    server: tuple[subprocess.Popen[bytes], int, Path],
) -> None:
    _, port, _ = server
    with connect(port, "touchpoints", OWN) as connection:
        connection.execute("CREATE TABLE customers (name text)")
        connection.execute("INSERT INTO customers VALUES ('王小明')")
    for wrong in ("", "guess"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(port, "touchpoints", wrong)


def test_sigint_stops_it_although_somebody_is_connected(
    server: tuple[subprocess.Popen[bytes], int, Path],
) -> None:
    process, port, data = server
    with connect(port, "postgres", SUPER, "postgres"):
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert not (data / "postmaster.pid").exists()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def test_killing_what_was_started_kills_the_server(server: tuple[subprocess.Popen[bytes], int, Path]) -> None:
    process, port, _ = server
    connect(port, "touchpoints", OWN).close()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while listens(port):  # Its own process ends a moment after the one that was started.
        assert time.monotonic() < deadline, "the server lives on"
        time.sleep(0.05)


def test_new_passwords_take_the_place_of_old_ones(made: Path, tmp_path: Path) -> None:
    data = tmp_path / "copy"
    shutil.copytree(made, data, symlinks=True)
    postgres.adopt(data)
    postgres.set_passwords(data, {"touchpoints": "new", "postgres": "newer"})
    (port,) = free_ports(1)
    process = subprocess.Popen(postgres.server(data, port), stderr=subprocess.DEVNULL)
    try:
        connect(port, "touchpoints", "new").close()
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(port, "touchpoints", OWN)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def test_a_poolers_user_finds_passwords_by_its_function_and_nobody_else_does(
    server: tuple[subprocess.Popen[bytes], int, Path],
) -> None:
    """What a new database of CloudNativePG is told (spec.bootstrap.initdb.postInitApplicationSQL)."""
    _, port, _ = server
    with connect(port, "postgres", SUPER) as connection:
        for statement in poolers.lets_them_in("touchpoints"):
            connection.execute(statement)
        connection.execute(f"SET ROLE {poolers.USER}")
        found = connection.execute("SELECT usename, passwd FROM public.user_search('touchpoints')").fetchall()
        assert [name for name, _ in found] == ["touchpoints"] and found[0][1].startswith("SCRAM-SHA-256$")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("SELECT passwd FROM pg_shadow")
        connection.execute("SET ROLE touchpoints")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT passwd FROM public.user_search('postgres')")


def test_a_failure_never_repeats_the_password(made: Path, tmp_path: Path) -> None:
    with pytest.raises(StateError) as caught:
        postgres.set_passwords(made, {"nobody_here": "s3cret-word"})
    assert "nobody_here" in str(caught.value)
    assert "s3cret-word" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
def test_root_without_namespaces_runs_it_as_another_user(tmp_path: Path) -> None:
    """As in containers that forbid user namespaces: setpriv is the way."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "setpriv").symlink_to(shutil.which("setpriv") or pytest.skip("this machine has no setpriv"))
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    code = f"""
import subprocess, time
from pathlib import Path
from infra.toolchain import postgres
data = Path({str(private)!r}) / "data"
postgres.create(data, superuser_password="a", role="r", password="b", database="d")
process = subprocess.Popen(postgres.server(data, {free_ports(1)[0]}), stderr=subprocess.DEVNULL)
deadline = time.monotonic() + 15
while "ready" not in (data / "postmaster.pid").read_text() if (data / "postmaster.pid").exists() else True:
    assert time.monotonic() < deadline and process.poll() is None
    time.sleep(0.05)
print(data.stat().st_uid)
process.terminate()
assert process.wait(10) == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) != 0


def test_the_prepared_core_is_copied_and_not_made_again_with_passwords_of_ones_own(tmp_path: Path) -> None:
    workspace = Workspace.from_env()
    if tryton.template(workspace) is None:
        pytest.skip("needs tryton's prepared database: run `make setup`")
    said: list[str] = []
    tryton.copy_template(workspace, tmp_path / "core", {"tryton": OWN, "postgres": SUPER}, said.append)
    assert said == [], "it was prepared again, which takes a minute"
    (port,) = free_ports(1)
    process = subprocess.Popen(postgres.server(tmp_path / "core", port), stderr=subprocess.DEVNULL)
    try:
        with connect(port, "tryton", OWN, tryton.DATABASE) as connection:
            rows = connection.execute("SELECT name FROM ir_module WHERE state = 'activated'").fetchall()
        assert {"party", "sale_opportunity", "marketing", "huidu_touchpoint"} <= {name for (name,) in rows}
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)
