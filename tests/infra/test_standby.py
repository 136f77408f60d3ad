"""The core's database and its standby in a second region, as the core and a person on call live with them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.desired import Desired
from infra.failover import failed_over, rejoined
from infra.topology import Topology
from tests.infra.homes import PROGRAMS, Home, until

pytestmark = pytest.mark.server

ALONE = """\
extends: hybrid-crm
name: core-only
components: {prometheus: null, link: null, core-proxy: null, sync-monitor: null,
             sync-stable: null, sync-candidate: null}
"""
PRIMARY, STANDBY = "core-db", "core-db-standby"


@dataclass
class CoreUser:
    """Somebody logged in to the core, over its JSON-RPC."""

    home: Home
    user: str = "admin"
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, *params: Any, seconds: float = 30.0) -> Any:
        if not self.headers:
            password = (self.home.path / f"secrets/core-{self.user}.password").read_text().strip()
            number, token, *_ = self._post("common.db.login", [self.user, {"password": password}], 30.0)
            session = base64.b64encode(f"{self.user}:{number}:{token}".encode()).decode()
            self.headers["Authorization"] = f"Session {session}"
        return self._post(method, [*params, {}], seconds)

    def _post(self, method: str, params: list[Any], seconds: float) -> Any:
        body = {"id": 1, "method": method, "params": params}
        answer = requests.post(
            f"{self.home.stack.core}/crm/rpc/", json=body, headers=self.headers, timeout=seconds
        )
        answer.raise_for_status()
        assert "error" not in answer.json(), answer.json()
        return answer.json()["result"]

    def parties(self, name: str) -> int:
        return int(self("model.party.party.search_count", [["name", "=", name]], 0, None))

    def store(self, event: str, seconds: float = 30.0) -> list[str]:
        values = {
            "uuid": event,
            "customer_id": "c-000001",
            "at": "2026-01-01T00:00:00+00:00",
            "touchpoint": "web",
            "kind": "test",
            "priority": False,
            "release": "v1",
            "payload": {},
        }
        return list(self("model.huidu.touchpoint.event.store", [values], seconds=seconds)["stored"])


@pytest.fixture(scope="module")
def home(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    for name in PROGRAMS:
        program(name)
    folder = tmp_path_factory.mktemp("standby")
    (folder / "topology.yaml").write_text(ALONE)
    found = Home(folder / "home")
    try:
        found.huidu("up", "--topology", str(folder / "topology.yaml"))
        yield found
    finally:
        found.huidu("down")
    assert found.processes() == []


@pytest.fixture(scope="module")
def admin(home: Home) -> CoreUser:
    return CoreUser(home)


@pytest.fixture(scope="module")
def sync(home: Home) -> CoreUser:
    return CoreUser(home, "sync")


def supervisorctl(home: Home, *words: str) -> None:
    import sys

    config = home.path / "stack/supervisor/supervisord.conf"
    line = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(config), *words]
    subprocess.run(line, capture_output=True, timeout=60, check=False)


def rewrite(home: Home, change: Callable[[Topology], Topology]) -> None:
    """As a command leaves it that was killed when it had written down what it is about to do."""
    file = home.path / "stack/desired.json"
    desired = Desired.read(file)
    assert desired is not None
    desired.model_copy(update={"topology": change(desired.topology)}).write(file)


def given_up(home: Home) -> set[str]:
    """Who counts as lacking something."""
    return {name for name in (PRIMARY, STANDBY) if (home.path / "stack" / name / "given-up").exists()}


def gone(home: Home) -> set[str]:
    """Who stands no more until `rejoin`, with data that lack something or with none."""
    desired = Desired.read(home.path / "stack/desired.json")
    assert desired is not None
    return {name for name in (PRIMARY, STANDBY) if desired.topology.components[name].lost}


def written_to(home: Home, name: str) -> None:
    """See that `name` is written to and the other follows it: here each test begins with what it needs,
    whichever ran before it."""
    if gone(home):
        home.huidu("rejoin")
    if home.sql(name, "SELECT pg_is_in_recovery()") == [(True,)]:
        home.huidu("failover", "--planned")
        home.huidu("rejoin")


def alone_on_the_standby(home: Home) -> None:
    """STANDBY is written to, PRIMARY was given up, as after a failover."""
    if gone(home) != {PRIMARY}:
        written_to(home, PRIMARY)
        home.huidu("failover", "--planned")


def test_the_standby_streams_synchronously(home: Home) -> None:
    written_to(home, PRIMARY)
    rows = home.sql(PRIMARY, "SELECT application_name, state, sync_state FROM pg_stat_replication")
    assert rows == [(STANDBY, "streaming", "sync")]
    assert home.sql(STANDBY, "SELECT pg_is_in_recovery()") == [(True,)]
    assert set(home.states().values()) == {""}


def test_what_only_reads_is_answered_by_the_standby(home: Home, admin: CoreUser) -> None:
    """Before any failover: afterwards the core's open connections stay with whom they were made to."""
    written_to(home, PRIMARY)
    before, after = str(uuid.uuid4()), str(uuid.uuid4())
    (number,) = admin("model.party.party.create", [{"name": before, "addresses": []}])
    home.sql(STANDBY, "SELECT pg_wal_replay_pause()")
    try:
        home.sql(PRIMARY, "UPDATE party_party SET name = %s WHERE id = %s", after, number)
        assert (admin.parties(before), admin.parties(after)) == (1, 0)
    finally:
        home.sql(STANDBY, "SELECT pg_wal_replay_resume()")
    until(lambda: admin.parties(after) == 1)


def test_what_was_written_is_read_at_once(admin: CoreUser) -> None:
    for name in (str(uuid.uuid4()) for _ in range(10)):
        admin("model.party.party.create", [{"name": name, "addresses": []}])
        assert admin.parties(name) == 1


def test_without_the_standby_writes_wait_reads_go_on_and_up_brings_it_back(
    home: Home, admin: CoreUser, sync: CoreUser
) -> None:
    written_to(home, PRIMARY)
    known, new, name = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
    admin("model.party.party.create", [{"name": name, "addresses": []}])
    assert sync.store(known) == [known]
    supervisorctl(home, "stop", STANDBY)
    with pytest.raises(requests.Timeout):
        sync.store(new, seconds=2)
    # What is in the core already may not have reached any standby: that is not said before one is back.
    with pytest.raises(requests.Timeout):
        sync.store(known, seconds=2)
    assert admin.parties(name) == 1
    assert "writes wait" in home.states()[PRIMARY]
    assert STANDBY in home.huidu("drift", code=1)
    # And what is there of it is half a copy, as a killed `up` leaves it.
    (home.path / "stack" / STANDBY / "unfinished").touch()
    shutil.rmtree(home.path / "stack" / STANDBY / "data" / "base")
    assert json.loads(home.huidu("up", "--json"))["changed"] == {STANDBY: "update"}
    # Whose client went away is still waiting to be committed; asked again only then, it is there already.
    until(lambda: not home.sql(PRIMARY, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
    until(lambda: sync.store(new) == [new])
    query = "SELECT count(*) FROM huidu_touchpoint_event WHERE uuid = ANY(%s)"
    assert home.sql(STANDBY, query, [known, new]) == [(2,)]
    assert set(home.states().values()) == {""}


@pytest.mark.parametrize("killed", [STANDBY, PRIMARY])
def test_a_killed_server_comes_back_and_catches_up(home: Home, sync: CoreUser, killed: str) -> None:
    written_to(home, PRIMARY)
    before = home.pid(killed)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: home.pid(killed) not in (None, before))
    until(lambda: set(home.states().values()) == {""})
    event = str(uuid.uuid4())
    until(lambda: sync.store(event) == [event])


def test_a_primary_that_is_well_is_not_left_by_mistake(home: Home) -> None:
    written_to(home, PRIMARY)
    before = home.pids()
    assert "core-db is well" in home.huidu("failover", code=2)
    assert home.pids() == before


def test_a_lost_primary_is_never_replaced_by_an_empty_one_and_nothing_acknowledged_is_lost(
    home: Home, sync: CoreUser
) -> None:
    written_to(home, PRIMARY)
    acknowledged = [str(uuid.uuid4()) for _ in range(5)]
    assert [sync.store(each) for each in acknowledged] == [[each] for each in acknowledged]
    core, standby = home.pid("core"), home.pid(STANDBY)
    killed = home.pid(PRIMARY)
    assert killed is not None
    # Gone at once, before the kill: supervisor starts it again within moments, and must find nothing.
    data = home.path / "stack" / PRIMARY / "data"
    data.rename(data.with_name("lost"))
    os.kill(killed, signal.SIGKILL)
    shutil.rmtree(data.with_name("lost"))
    assert "huidu stack failover" in home.huidu("up", code=3)
    home.huidu("failover")
    rows = home.sql(STANDBY, "SELECT uuid FROM huidu_touchpoint_event WHERE uuid = ANY(%s)", acknowledged)
    assert {uuid for (uuid,) in rows} == set(acknowledged)
    after = str(uuid.uuid4())
    until(lambda: sync.store(after) == [after])
    assert (home.pid("core"), home.pid(STANDBY)) == (core, standby), "nobody else was restarted"
    assert "runs alone" in home.states()[STANDBY]
    assert "was given up" in home.huidu("failover", code=2)


def test_a_topology_file_does_not_undo_a_failover(home: Home) -> None:
    alone_on_the_standby(home)
    before = home.pids()
    for command in ("up", "preview"):
        said = home.huidu(command, "--topology", str(home.path.parent / "topology.yaml"), code=2)
        assert "makes core-db written to" in said and "huidu stack failover --planned" in said
    assert home.pids() == before
    assert home.sql(STANDBY, "SELECT pg_is_in_recovery()") == [(False,)]


def test_it_comes_back_as_the_standby_with_a_new_copy(home: Home, sync: CoreUser) -> None:
    alone_on_the_standby(home)
    home.huidu("rejoin")
    rows = home.sql(STANDBY, "SELECT application_name, state, sync_state FROM pg_stat_replication")
    assert rows == [(PRIMARY, "streaming", "sync")]
    assert set(home.states().values()) == {""}
    assert home.sql(PRIMARY, "SELECT count(*) FROM huidu_touchpoint_event") == home.sql(
        STANDBY, "SELECT count(*) FROM huidu_touchpoint_event"
    )
    assert "was not given up" in home.huidu("rejoin", code=2)


def test_kept_data_are_found_again_and_a_failover_that_was_interrupted_is_finished(home: Home) -> None:
    written_to(home, STANDBY)
    counted = home.sql(STANDBY, "SELECT count(*) FROM huidu_touchpoint_event")
    home.huidu("down", "--keep-data")
    # As if it had been killed between writing down what it is about to do and doing it.
    rewrite(home, lambda topology: failed_over(topology, STANDBY, PRIMARY))
    home.huidu("up")
    assert home.sql(PRIMARY, "SELECT pg_is_in_recovery()") == [(False,)]
    assert home.sql(PRIMARY, "SELECT count(*) FROM huidu_touchpoint_event") == counted
    assert given_up(home) == {STANDBY}
    home.huidu("rejoin")
    assert given_up(home) == set()
    assert (home.path / "stack" / STANDBY / "data.former").is_dir(), "what it was is kept until the next time"
    assert set(home.states().values()) == {""}


def test_whoever_was_given_up_and_has_not_caught_up_never_takes_over(home: Home) -> None:
    """Both ways in which a `rejoin` may be cut off."""
    written_to(home, PRIMARY)
    home.huidu("alone")
    assert given_up(home) == {STANDBY}
    home.sql(PRIMARY, "DROP TABLE IF EXISTS written")
    home.sql(PRIMARY, "CREATE TABLE written AS SELECT 'alone' AS at")
    rewrite(home, lambda topology: rejoined(topology, PRIMARY, STANDBY))
    supervisorctl(home, "stop", PRIMARY)
    said = home.huidu("failover", code=2)
    assert f"{STANDBY} has no whole copy" in said and f"bring {PRIMARY} back" in said
    data = home.path / "stack" / PRIMARY / "data"
    data.rename(data.with_name("elsewhere"))
    said = home.huidu("up", code=3)
    assert "lacks what was written since" in said and "failover" not in said
    assert not data.exists()
    data.with_name("elsewhere").rename(data)
    home.huidu("up")
    assert given_up(home) == set()
    assert home.sql(STANDBY, "SELECT at FROM written") == [("alone",)]

    home.huidu("failover", "--planned")
    assert given_up(home) == {PRIMARY}
    home.sql(STANDBY, "UPDATE written SET at = 'after the failover'")
    rewrite(home, lambda topology: rejoined(topology, STANDBY, PRIMARY))
    supervisorctl(home, "stop", STANDBY)
    assert f"{PRIMARY} has no whole copy" in home.huidu("failover", code=2)
    home.huidu("up")
    assert given_up(home) == set()
    until(lambda: set(home.states().values()) == {""})
    # Now it has all, and takes over.
    home.huidu("failover", "--planned")
    assert home.sql(PRIMARY, "SELECT at FROM written") == [("after the failover",)]
