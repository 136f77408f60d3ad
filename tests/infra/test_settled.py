"""What supervisor has just started looks alive for a moment: a real one is asked about real programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from infra.targets.local import settled
from infra.targets.local.probe import Tcp
from infra.targets.local.process import Process, section
from infra.targets.local.supervisor import Supervisor
from tests.infra.homes import until
from tests.ports import free_ports

pytestmark = pytest.mark.server

LISTENS = """
import socket, sys, time
time.sleep(1.5)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(99)
"""


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    folder = tmp_path_factory.mktemp("settled")
    made = Supervisor(folder / "supervisor", folder / "s.sock")
    made.start()
    yield made
    made.shutdown(20)


def start(keeper: Supervisor, name: str, *command: str) -> None:
    folder = keeper.folder.parent
    process = Process(command, "", "1", Tcp(1), stop_signal="KILL")
    keeper.section_file(name).write_text(
        section(name, process, folder, folder / f"{name}.pid", folder / f"{name}.log")
    )
    keeper.add(name)


def test_what_ends_as_soon_as_it_is_started_is_never_taken_for_alive(keeper: Supervisor) -> None:
    (port,) = free_ports(1)
    start(keeper, "ends", "sh", "-c", "sleep 0.7; exit 1")
    until(lambda: keeper.states()["ends"].state == "STARTING")  # at this moment it looks alive
    assert settled.problem(keeper, "ends", Tcp(port)) == "backoff"


def test_what_ends_a_little_later_is_waited_for(keeper: Supervisor) -> None:
    """As a database does on a busy machine: supervisor itself believes in whatever has lived for a second."""
    (port,) = free_ports(1)
    start(keeper, "later", "sh", "-c", "sleep 1.5; exit 1")
    until(lambda: keeper.states()["later"].runs)
    assert settled.problem(keeper, "later", Tcp(port), within=2) != ""


def test_what_is_slow_to_answer_is_waited_for(keeper: Supervisor) -> None:
    (port,) = free_ports(1)
    program = keeper.folder / "slow.py"
    program.write_text(LISTENS)
    start(keeper, "slow", sys.executable, str(program), str(port))
    assert Tcp(port).look()
    assert settled.problem(keeper, "slow", Tcp(port)) == ""
    assert keeper.states()["slow"].runs


def test_what_was_stopped_or_never_was_is_said_at_once(keeper: Supervisor) -> None:
    start(keeper, "stopped", "sleep", "99")
    keeper._call("stopProcess", "stopped")
    assert settled.problem(keeper, "stopped", Tcp(1)) == "stopped"
    assert settled.problem(keeper, "nobody", Tcp(1)) == "missing"
