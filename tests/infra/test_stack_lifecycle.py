"""The whole reference stack on this machine, as a user lives with it, in the order he would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from huidu.foundation.workspace import Workspace
from infra.desired import Desired
from infra.targets.local import launch
from infra.targets.local.site import desired_file
from tests.infra.homes import PROGRAMS, Home, until

pytestmark = pytest.mark.server

SMALL = """\
extends: hybrid-crm
name: small
components: {core: null, core-db: null, core-db-standby: null, core-proxy: null, link: null,
             prometheus: null, sync-monitor: null, sync-stable: null, sync-candidate: null}
"""


@pytest.fixture(scope="module")
def home(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    for name in PROGRAMS:
        program(name)
    found = Home(tmp_path_factory.mktemp("stack") / "home")
    try:
        found.huidu("up")
        yield found
    finally:
        found.huidu("down")
    assert found.processes() == []
    assert not (found.path / "stack").exists()
    assert not (found.path / "secrets").exists()
    assert not (found.path / "stack.json").exists()


def test_the_stack_stands_and_serves(home: Home) -> None:
    status = json.loads(home.huidu("status", "--json"))
    assert {each["name"] for each in status} == {each.name for each in home.stack.components}
    assert all(each["healthy"] for each in status)
    assert home.leads() == {home.stack.releases.stable}
    assert requests.get(f"{home.stack.prometheus}/-/ready", timeout=5).status_code == 200


def test_its_events_reach_the_core(home: Home) -> None:
    monitor = next(each.address for each in home.stack.components if each.name == "sync-monitor")

    def delivered() -> bool:
        text = requests.get(f"{monitor}/metrics", timeout=5).text
        counts = [line.rsplit(" ", 1)[1] for line in text.splitlines() if "delay_seconds_count{" in line]
        return sum(map(float, counts)) >= 1

    home.leads()
    until(delivered)


def test_a_request_that_failed_is_kept_by_its_id(home: Home) -> None:
    edge = home.stack.edge
    header = {edge.testers_header: edge.testers_secret_file.read_text().strip()}
    assert requests.get(f"{edge.url}/shop/nobody?who=Ada", headers=header, timeout=10).status_code == 503
    log = edge.failures_log
    assert log is not None

    def told() -> list[str]:
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        return [each for each in lines if "/shop/nobody" in each and each.endswith("\n")]

    until(told)
    line = json.loads(told()[0])
    assert (line["path"], line["status"], line["flags"]) == ("/shop/nobody", 503, "UF")
    assert line["cluster"] == edge.testers_candidate and line["request_id"]
    assert log.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_of_it_listens_beyond_loopback_and_files_are_private(home: Home) -> None:
    pids = {pid for pid in home.pids().values() if pid}
    open_to_all = [
        each.laddr
        for pid in pids
        for each in psutil.Process(pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN and each.laddr.ip != "127.0.0.1"
    ]
    assert open_to_all == []
    secrets = list((home.path / "secrets").iterdir())
    assert secrets and {each.stat().st_mode & 0o777 for each in secrets} == {0o600}


def test_no_secret_stands_in_a_command_line_or_in_pulumis_state(home: Home) -> None:
    lines = "\n".join(" ".join(psutil.Process(pid).cmdline()) for pid in home.pids().values() if pid)
    folders = (home.path / "stack/pulumi", home.path / "logs", home.path / "stack/supervisor")
    files = [each for folder in folders for each in folder.rglob("*") if each.is_file()]
    kept = "\n".join(each.read_text(errors="replace") for each in files)
    for file in (home.path / "secrets").iterdir():
        secret = file.read_text().strip()
        secret = secret.rsplit(":", 1)[-1] if file.suffix == ".pgpass" else secret
        assert secret not in lines + kept, file.name


def test_up_a_second_time_changes_nothing(home: Home) -> None:
    before = home.pids()
    assert json.loads(home.huidu("up", "--json"))["changed"] == {}
    assert home.pids() == before
    assert home.huidu("preview").strip() == "nothing to do"


def test_a_killed_component_comes_back_by_itself(home: Home) -> None:
    killed = home.pid("touchpoints-stable")
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    until(lambda: home.pid("touchpoints-stable") not in (None, killed))
    until(home.healthy)


def test_drift_is_seen_and_put_right(home: Home) -> None:
    config = home.path / "stack/link/envoy.json"
    config.write_text(config.read_text() + "\n")
    (home.path / "stack/edge/rds/arms.json").touch()  # the rollout's: no drift
    before = home.pids()
    assert home.huidu("drift", code=1).split()[:2] == ["differs", "link"]
    changed = json.loads(home.huidu("up", "--json"))["changed"]
    assert changed == {"link": "update"}
    home.huidu("drift")
    assert {name for name, pid in home.pids().items() if pid != before[name]} == {"link"}


def test_a_database_that_lost_its_data_is_made_anew_with_its_tables(home: Home) -> None:
    """Asked for in the moment in which supervisor starts it again, when it looks alive."""
    killed = home.pid("touchpoints-db")
    assert killed is not None
    before = home.pids()
    data = home.path / "stack/touchpoints-db/data"
    data.rename(data.with_name("lost"))
    os.kill(killed, signal.SIGKILL)
    shutil.rmtree(data.with_name("lost"))
    changed = json.loads(home.huidu("up", "--json"))["changed"]
    assert changed == {"touchpoints-db": "update", "touchpoints-stable": "update"}
    assert home.leads() == {home.stack.releases.stable}
    assert json.loads(home.huidu("up", "--json"))["changed"] == {}
    others = home.pids().keys() - changed.keys()
    assert {name for name in others if home.pids()[name] != before[name]} == set()


def test_a_release_stands_beside_is_promoted_and_stopped(home: Home) -> None:
    before, stable = home.pids(), home.stack.releases.stable
    home.huidu("release", "v2", "--defect", "errors=0%")
    assert home.stack.releases.candidate == "v2"
    assert home.leads(3) == {stable} != {"v2"}
    secret = home.stack.edge.testers_secret_file.read_text().strip()
    answer = requests.get(
        f"{home.stack.edge.url}/shop/products", headers={home.stack.edge.testers_header: secret}, timeout=5
    )
    assert answer.headers["x-release"] == "v2"
    assert {name: pid for name, pid in home.pids().items() if name in before} == before
    home.huidu("up")
    assert home.stack.releases.candidate == "v2"
    home.huidu("release", "--promote")
    assert home.leads(3) == {"v2"}
    home.huidu("release", "--stop")
    assert (home.stack.releases.stable, home.stack.releases.candidate) == ("v2", None)
    assert home.pid("touchpoints-candidate") is None


def test_a_candidate_that_serves_is_not_stopped(home: Home) -> None:
    home.huidu("release", "v3")
    route_file = home.stack.edge.route_file
    original = route_file.read_text()
    routes = json.loads(original)
    for route in routes["resources"][0]["virtual_hosts"][0]["routes"]:
        if route["name"] == "cohort-high":
            for each in route["route"]["weighted_clusters"]["clusters"]:
                arm = each["name"].removeprefix("touchpoints-")
                each["weight"] = {"candidate-high": 500, "stable-high": 9500}.get(arm, 0)
    route_file.write_text(json.dumps(routes))
    assert "5.00%" in home.huidu("release", "--stop", code=2)
    assert home.pid("touchpoints-candidate") is not None
    route_file.write_text(original)
    home.huidu("release", "--stop")


@pytest.mark.drill
def test_a_baseline_is_as_new_as_the_candidate_and_ends_with_it(home: Home) -> None:
    before, stable = home.pids(), home.stack.releases.stable
    home.huidu("release", "v3", "--baseline")
    assert {name: pid for name, pid in home.pids().items() if name in before} == before
    assert (home.stack.releases.baseline, home.stack.releases.stable) == (stable, stable)
    assert home.healthy()
    edge = home.stack.edge
    secret = edge.testers_secret_file.read_text().strip()
    served = requests.get(f"{edge.url}/shop/products", headers={edge.testers_fresh_header: secret}, timeout=5)
    assert served.headers["x-release"] == stable
    original = edge.route_file.read_text()
    routes = json.loads(original)
    for route in routes["resources"][0]["virtual_hosts"][0]["routes"]:
        if route["name"] == "cohort-high":
            for each in route["route"]["weighted_clusters"]["clusters"]:
                arm = each["name"].removeprefix("touchpoints-")
                each["weight"] = {"baseline-high": 300, "stable-high": 9700}.get(arm, 0)
    edge.route_file.write_text(json.dumps(routes))
    for words in (("release", "--stop"), ("release", "--promote"), ("release", "v4")):
        assert "the baseline still serves 3.00%" in home.huidu(*words, code=2)
    edge.route_file.write_text(original)
    home.huidu("release", "--stop")
    assert home.stack.releases.baseline is None and home.pid("touchpoints-baseline") is None


@pytest.mark.parametrize(
    "words",
    [
        ("release",),
        ("release", "--promote", "--baseline"),
        ("release", "v9", "--promote"),
        ("release", "--promote"),
        ("release", "v9", "--defect", "errors"),
        ("release", "v9", "--defect", "latency=+4s"),
        ("release", "--stop", "--defect", "locks"),
        ("release", "v 9"),
        ("up", "--while", "999999999"),
        ("up", "--topology", "/none.yaml"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(home: Home, words: tuple[str, ...]) -> None:
    before, stack = home.pids(), home.stack
    assert "Traceback" not in home.huidu(*words, code=2)
    assert (home.pids(), home.stack) == (before, stack)


@pytest.mark.drill
def test_a_release_that_does_not_start_is_said_and_stable_goes_on(home: Home) -> None:
    stable = home.stack.releases.stable
    # As a release whose defect this version of huidu no longer knows: its program ends at its start.
    kept = desired_file(Workspace(home.path, home.path))
    wanted = Desired.read(kept)
    assert wanted is not None
    wanted.with_candidate("v4", ("errors=500%",)).write(kept)
    said = home.huidu("up", code=3)
    assert "touchpoints-candidate" in said and "log" in said
    assert home.leads() == {stable}
    home.huidu("release", "--stop")
    home.huidu("drift")


@pytest.mark.drill
def test_without_its_supervisor_nothing_is_left_and_up_brings_it_back(home: Home) -> None:
    stable = home.stack.releases.stable
    found = launch.read_record(home.path / "stack/supervisor/supervisord.pid")
    assert found is not None
    os.kill(found[0], signal.SIGKILL)
    until(lambda: home.processes() == [], 90)
    assert "missing" in home.huidu("drift", code=1)
    home.huidu("up")
    assert home.leads() == {stable}


def test_data_that_is_kept_is_found_again(home: Home) -> None:
    secret = (home.path / "secrets/token.key").read_text()
    address, stable = home.stack.edge.url, home.stack.releases.stable
    home.huidu("down", "--keep-data")
    assert home.processes() == []
    home.huidu("up")
    assert (home.path / "secrets/token.key").read_text() == secret
    assert home.stack.edge.url == address
    assert home.stack.releases.stable == stable


@pytest.fixture
def small(program: Callable[[str], Path], tmp_path: Path) -> Iterator[Home]:
    for name in ("pulumi", "envoy", "postgres", "supervisord"):
        program(name)
    (tmp_path / "small.yaml").write_text(SMALL)
    found = Home(tmp_path / "a home with blanks")
    yield found
    found.huidu("down")
    assert found.processes() == []


def test_two_homes_stand_side_by_side(home: Home, small: Home, tmp_path: Path) -> None:
    small.huidu("up", "--topology", str(tmp_path / "small.yaml"))
    assert small.stack.edge.url != home.stack.edge.url
    assert small.leads() == {"v1"}
    assert home.leads() == {home.stack.releases.stable}


def test_the_stack_goes_down_with_the_process_it_was_brought_up_for(small: Home, tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        small.huidu("up", "--topology", str(tmp_path / "small.yaml"), "--while", str(owner.pid))
        assert small.processes()
    finally:
        owner.kill()
        owner.wait(5)
    until(lambda: small.processes() == [] and not (small.path / "stack").exists(), 90)


def test_an_up_that_was_killed_is_finished_by_the_next(small: Home, tmp_path: Path) -> None:
    line = small.line("up", "--topology", str(tmp_path / "small.yaml"))
    first = subprocess.Popen(
        line, env=small.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: (small.path / "stack/supervisor/programs/edge.ini").exists(), 90)
    # Held, so that it has not ended before the second one has begun.
    first.send_signal(signal.SIGSTOP)
    assert "is at work on this stack" in small.huidu("up", code=2)
    first.kill()
    first.wait(5)
    small.huidu("up")
    small.huidu("drift")
    assert small.leads() == {"v1"}


def test_an_up_that_is_told_to_end_says_so_and_is_finished_by_the_next(small: Home, tmp_path: Path) -> None:
    """As a pipeline ends it whose time is over."""
    line = small.line("up", "--topology", str(tmp_path / "small.yaml"))
    first = subprocess.Popen(
        line, env=small.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until(lambda: (small.path / "stack/supervisor/programs/edge.ini").exists(), 90)
    first.terminate()
    _, said = first.communicate(timeout=90)
    assert first.returncode == 3 and "interrupted" in said and "`huidu stack up` goes on" in said
    small.huidu("up")
    assert small.leads() == {"v1"}


def test_nothing_stands_where_nothing_was_brought_up(tmp_path: Path) -> None:
    empty = Home(tmp_path / "empty")
    assert "no stack stands here" in empty.huidu("status", code=2)
    assert "no stack stands here" in empty.huidu("drift", code=2)
    assert "no stack stands here" in empty.huidu("down")
    assert not list(Workspace(empty.path, tmp_path).home.glob("stack*"))
