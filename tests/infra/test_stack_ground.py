"""What a local stack stands on: ports, secrets, short folders, the lock, program sections, releases."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.errors import Locked, StateError, UsageError
from infra.desired import Desired, Release
from infra.hybrid_crm import TOPOLOGY
from infra.lifecycle import share_of_arm
from infra.lock import held
from infra.targets.local import edge_routes, launch, ports, runtime
from infra.targets.local.probe import Http, Tcp
from infra.targets.local.process import Process, section
from infra.targets.local.secrets import TOKEN_KEY, Secrets

CREATED = "2026-01-01T00:00:00+00:00"
NAMES = st.lists(st.text("abcdef/", min_size=1, max_size=6), unique=True, max_size=12)
PORT = st.integers(ports.LOWEST, ports.HIGHEST - 1)


@pytest.mark.slow
@settings(deadline=None)
@given(NAMES, st.dictionaries(st.text("abcdef/", min_size=1, max_size=6), PORT), st.sets(PORT))
def test_every_name_gets_a_port_of_its_own_that_is_free(
    names: list[str], known: dict[str, int], busy: set[int]
) -> None:
    # Two names never remember one port: `remember` writes what `choose` chose.
    remembered = {name: port for port, name in {port: name for name, port in known.items()}.items()}
    chosen = ports.choose(names, remembered, free=lambda port: port not in busy)
    assert set(chosen) == set(names)
    assert len(set(chosen.values())) == len(names)
    assert not set(chosen.values()) & busy
    for name in names:
        if name in remembered and remembered[name] not in busy:
            assert chosen[name] == remembered[name]


def test_a_port_that_our_own_component_holds_is_kept() -> None:
    assert ports.choose(["edge"], {"edge": 25000}, held=["edge"], free=lambda _: False) == {"edge": 25000}


def test_no_free_port_is_said() -> None:
    with pytest.raises(StateError, match="no free port"):
        ports.choose(["edge"], {}, free=lambda _: False)


def test_a_port_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not ports.is_free(server.getsockname()[1])


def test_ports_are_remembered_and_a_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    ports.remember(file, {"edge": 25000})
    assert ports.recall(file) == {"edge": 25000}
    file.write_text("{half")
    assert ports.recall(file) == {}


def test_secrets_are_long_stable_and_for_their_owner_alone(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "secrets")
    first, passfile = secrets.read(TOKEN_KEY), secrets.passfile("db.pgpass", "role")
    assert len(first) >= 43
    assert Secrets(tmp_path / "secrets").read(TOKEN_KEY) == first
    assert passfile.read_text() == f"127.0.0.1:*:*:role:{secrets.password('db.pgpass', 'role')}\n"
    assert secrets.folder.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in secrets.folder.iterdir()} == {0o600}
    assert Secrets(tmp_path / "other").read(TOKEN_KEY) != first


def test_a_socket_path_is_short_however_long_the_home_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 90)))
    (tmp_path / ("x" * 90)).mkdir()
    one, two = (runtime.place(Path("/h" * 200) / name) for name in ("a", "b"))
    assert one != two
    assert len(str(one / "supervisor.sock")) < 108


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o755)
    with pytest.raises(StateError, match="not ours alone"):
        runtime.make(folder)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(StateError):
        runtime.make(tmp_path / "link")


@pytest.mark.parametrize("odd", ["/a b/%c/'d'", '/q"uote', "/长 路"])
def test_a_programs_section_says_what_was_meant_whatever_the_path(odd: str) -> None:
    process = Process(command=("run", f"{odd}/x", "--y=1 %"), address="", version="", probe=Tcp(1))
    text = section("edge", process, Path(odd), Path(odd) / "pid", Path("/log"))
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read_string(text)
    words = shlex.split(parser["program:edge"]["command"].replace("%%", "%"))
    assert words[-3:] == ["run", f"{odd}/x", "--y=1 %"]
    assert parser["program:edge"]["autorestart"] == "true"
    assert parser["program:edge"]["stdout_logfile_maxbytes"] == "2MB"


def test_an_output_of_its_own_is_bounded_and_what_goes_wrong_stays_in_the_log() -> None:
    process = Process(
        command=("run",), address="", version="", probe=Tcp(1), output=Path("/logs/failures.jsonl")
    )
    parser = configparser.RawConfigParser()
    parser.read_string(section("edge", process, Path("/"), Path("/pid"), Path("/logs/edge.log")))
    said = parser["program:edge"]
    assert (said["stdout_logfile"], said["stderr_logfile"]) == ("/logs/failures.jsonl", "/logs/edge.log")
    for stream in ("stdout", "stderr"):
        assert said[f"{stream}_logfile_maxbytes"] == "2MB" and said[f"{stream}_logfile_backups"] == "1"
    assert "redirect_stderr" not in said


def test_a_second_command_is_told_who_is_at_work(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from infra.lock import held\n"
        "with held(Path(sys.argv[1]), 'up'): print('held', flush=True); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with pytest.raises(Locked, match=rf"`huidu stack up` \(process {first.pid}"), held(tmp_path, "down"):
            pass
        with held(tmp_path, "down", take_over=True):
            assert launch.start_of(first.pid) is None
    finally:
        first.kill()
        first.wait(10)
        assert first.stdout is not None
        first.stdout.close()


def test_a_lock_whose_holder_was_killed_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from infra.lock import held\n"
        "with held(Path(sys.argv[1]), 'up'): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=30).returncode == -9
    with held(tmp_path, "up"):
        pass


def test_a_recorded_process_is_known_by_its_start_and_a_zombie_is_gone(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    file = tmp_path / "pid"
    launch.record(file, child.pid, launch.start_of(child.pid))
    assert launch.read_record(file) is not None
    launch.record(tmp_path / "other", child.pid, 1)
    assert launch.read_record(tmp_path / "other") is None
    os.kill(child.pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while launch.read_record(file) and time.monotonic() < until:
        time.sleep(0.01)
    assert launch.read_record(file) is None
    child.wait(5)


def test_a_launched_program_dies_with_its_parent(tmp_path: Path) -> None:
    record = tmp_path / "pid"
    launched = [sys.executable, "-I", "-S", launch.__file__, str(record), "9", "sleep", "60"]
    code = f"import subprocess, time; subprocess.Popen({launched!r}); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        _until(lambda: launch.read_record(record) is not None)
        parent.kill()
        _until(lambda: launch.read_record(record) is None)
    finally:
        parent.kill()
        parent.wait(5)
    assert launch.read_record(record) is None


def test_a_probe_says_what_is_wrong() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert "no connection" in Tcp(port).look()
        assert "no answer" in Http(f"http://127.0.0.1:{port}/").look()
        server.listen()
        assert Tcp(port).look() == ""


@pytest.fixture
def stable() -> Desired:
    return Desired(topology=TOPOLOGY, stable=Release(version="v1"), created=CREATED)


def test_a_release_is_promoted_and_then_stands_alone(stable: Desired) -> None:
    promoted = stable.with_candidate("v2", ("errors=5%",)).promoted()
    assert (promoted.stable.version, promoted.stable.defects) == ("v2", ("errors=5%",))
    assert promoted.candidate is not None
    assert promoted.without_candidate().release("candidate") is None


def test_a_baseline_is_the_stable_release_begun_with_the_candidate_and_ends_with_it(stable: Desired) -> None:
    assert stable.release("baseline") is None
    three = stable.with_candidate("v2", (), "10:00")
    found = three.release("baseline")
    assert found is not None and (found.version, found.begun) == ("v1", "10:00")
    for after in (three.promoted(), three.without_candidate(), three.with_candidate("v3", ())):
        assert after.release("baseline") is None
        assert "touchpoints-baseline" not in after.standing()


def test_a_topology_without_a_baseline_says_so(stable: Desired) -> None:
    kept = {name: each for name, each in TOPOLOGY.components.items() if each.arm != "baseline"}
    mine = stable.model_copy(update={"topology": TOPOLOGY.model_copy(update={"components": kept})})
    with pytest.raises(UsageError, match="no component for a baseline"):
        mine.with_candidate("v2", (), "10:00")


@pytest.mark.parametrize("version", ["", "v 2", "-v", "v/2", "x" * 41])
def test_an_impossible_version_is_refused(stable: Desired, version: str) -> None:
    with pytest.raises(UsageError, match="no version"):
        stable.with_candidate(version, ())


def test_what_runs_already_is_no_candidate_and_nothing_is_no_promotion(stable: Desired) -> None:
    with pytest.raises(UsageError, match="already"):
        stable.with_candidate("v1", ())
    with pytest.raises(UsageError, match="no candidate"):
        stable.promoted()


def test_what_was_wanted_is_read_back_and_damage_is_said(tmp_path: Path, stable: Desired) -> None:
    file = tmp_path / "desired.json"
    assert Desired.read(file) is None
    wanted = stable.with_candidate("v2", ("locks",))
    wanted.write(file)
    assert Desired.read(file) == wanted
    file.write_text("{}")
    with pytest.raises(StateError, match="not understood"):
        Desired.read(file)


@pytest.mark.parametrize(("weight", "share"), [(0, 0.0), (500, 0.05), (10000, 1.0)])
def test_the_candidates_share_is_read_from_the_route_file(tmp_path: Path, weight: int, share: float) -> None:
    routes = edge_routes.routes("secret")
    text = json.dumps(routes)
    file = tmp_path / "arms.json"
    for route in routes["resources"][0]["virtual_hosts"][0]["routes"]:
        clusters = route["route"].get("weighted_clusters", {}).get("clusters", [])
        if route["name"] == "cohort-high":
            given = {"touchpoints-candidate-high": weight, "touchpoints-stable-high": 10000 - weight}
            for each in clusters:
                each["weight"] = given.get(each["name"], 0)
    file.write_text(json.dumps(routes))
    assert share_of_arm(file, "candidate") == share
    file.write_text(text)
    assert share_of_arm(file, "candidate") == 0.0
    assert share_of_arm(tmp_path / "none.json", "candidate") == 0.0


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
