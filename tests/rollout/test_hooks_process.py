"""A plan's commands as real programs, around a candidate that is a real process behind a real Envoy."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import textwrap
import time

import pytest
import requests

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal

pytestmark = pytest.mark.server

NOBODY = {"cohort-high": 0, "cohort-rest": 0}
ARM = """
import http.server, pathlib, sys, time
class Arm(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count = 0
    def do_GET(self):
        Arm.count += 1
        if self.headers.get("x-chat"):
            self.send_response(200)
            self.send_header("x-arm", "candidate")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"2\\r\\nhi\\r\\n")
            time.sleep(600)
        failing = float((pathlib.Path(__file__).parent / "failing").read_text())
        self.send_response(500 if Arm.count * failing % 1 + failing >= 1 else 200)
        self.send_header("x-arm", "candidate")
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Arm)
server.daemon_threads = True
server.serve_forever()
"""
SHOP = """
import os, signal, subprocess, sys, time, pathlib, socket
here = pathlib.Path(__file__).parent
what, *more = sys.argv[1:]
pid = here / "arm.pid"
def running():
    try:
        state = pathlib.Path(f"/proc/{{pid.read_text()}}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state not in "ZX"
    except OSError:
        return False
def said(word):
    with (here / "said").open("a") as file:
        file.write(" ".join([word, what, *more]) + "\\n")
said("begun")
if what == "start":
    (here / "at-start").touch()
    while (here / "wait").exists():
        time.sleep(0.05)
    if not running():
        arm = subprocess.Popen([sys.executable, str(here / "arm.py"), "{port}"], start_new_session=True)
        pid.write_text(str(arm.pid))
        with (here / "arms").open("a") as file:
            file.write(f"{{arm.pid}}\\n")
    while True:
        try:
            socket.create_connection(("127.0.0.1", {port}), 1).close()
            break
        except OSError:
            time.sleep(0.05)
elif what == "stop":
    if running():
        os.kill(int(pid.read_text()), signal.SIGKILL)
    while running():
        time.sleep(0.02)
said("done")
"""
DEPLOY = """
deploy:
  start: {{run: [{python}, {shop}, start, "{{release}}"], timeout: 30s}}
  scale: {{run: [{python}, {shop}, scale, "{{percent}}"], timeout: 30s}}
  capacity: {{peak: 100/s, head_room: 0 %, ready: 'envoy_server_live * 4', per_replica: 30/s, longest: 1m}}
  promote: {{run: [{python}, {shop}, promote], timeout: 30s}}
  stop: {{run: [{python}, {shop}, stop], timeout: 30s}}
rollback:
  drain: 1s
  close: {{run: [{python}, {shop}, stop], timeout: 30s}}
  steps:
    - {{name: rows, run: [{python}, {shop}, rows-back], verify: ["true"]}}
"""


@pytest.fixture
def shop(site):
    """The site's candidate is a process that only the plan's commands start and stop."""
    arm = site.edge.arms["candidate"]
    port = arm.server_address[1]
    arm.shutdown()
    arm.server_close()
    here = site.folder / "shop"
    here.mkdir()
    (here / "arm.py").write_text(ARM)
    (here / "shop.py").write_text(textwrap.dedent(SHOP.format(port=port)))
    (here / "failing").write_text("0")
    _chats_last(site.edge.route_file)
    plan = site.plan()
    text, deploy, _ = plan.read_text().partition("deploy:")
    assert deploy
    plan.write_text(text + DEPLOY.format(python=sys.executable, shop=here / "shop.py"))
    yield here
    for line in (here / "arms").read_text().split() if (here / "arms").exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line), signal.SIGKILL)


def _chats_last(file):
    """A request may take as long as it likes (Envoy's own limit is 15 s)."""
    document = json.loads(file.read_text())
    for route in document["resources"][0]["virtual_hosts"][0]["routes"]:
        route["route"]["timeout"] = "0s"
    fresh = file.with_name("fresh")
    fresh.write_text(json.dumps(document | {"version_info": "chats"}))
    fresh.rename(file)


def said(shop):
    return (shop / "said").read_text().splitlines()


def run(site, *more):
    return ("run", str(site.folder / "plan.yaml"), "--release", "v2", "--json", *more)


def journaled(site, kind):
    path = site.folder / "home" / "rollouts" / "v2" / "journal.sqlite"
    with Journal.open(path, SystemClock(), writer=False) as journal:
        return [event.data for event in journal.events() if event.kind == kind]


def test_a_candidate_is_started_scaled_promoted_and_stopped_although_the_controller_is_killed(site, shop):
    (shop / "wait").touch()
    process = site.start(*run(site))
    site.until((shop / "at-start").exists)
    process.kill()  # `start` is journaled, and not done
    process.communicate(timeout=10)
    process = site.start(*run(site))
    site.until(lambda: len(journaled(site, "resumed")) == 2)
    time.sleep(0.5)
    assert said(shop) == ["begun start v2"], "what still runs is waited for, not run beside"
    (shop / "wait").unlink()
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    facts, calls = json.loads(out), said(shop)
    assert calls[:4] == ["begun start v2", "done start v2"] * 2
    assert len((shop / "arms").read_text().split()) == 1, "one candidate was started"
    assert calls[-4:] == ["begun promote", "done promote", "begun stop", "done stop"]
    scaled = [float(call.split()[2]) for call in calls if call.startswith("done scale")]
    assert scaled == pytest.approx([100 * each["share"] for each in facts["stages"]], rel=0.2)
    assert len(calls) == 2 * (2 + len(scaled) + 2), "and nothing else"
    assert site.share() == NOBODY and facts["outcome"] == "promoted"


def test_a_bad_release_goes_back_its_chat_is_closed_and_it_is_stopped(site, shop):
    process = site.start(*run(site))
    site.until(lambda: site.share()["cohort-high"] > 0)
    chat = _chat(site)
    (shop / "failing").write_text("0.5")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 1, err
    facts, calls = json.loads(out), said(shop)
    assert facts["outcome"] == "rolled-back" and "1 were closed" in facts["sentence"], facts["sentence"]
    with pytest.raises(requests.exceptions.RequestException):
        list(chat.iter_content(1024))
    assert calls[-6:] == [
        f"{word} {what}" for what in ("stop", "rows-back", "stop") for word in ("begun", "done")
    ]
    (drained,) = journaled(site, "drained")
    assert (drained["before"], drained["after"]) == (1, 0) and site.share() == NOBODY


def _chat(site):
    """A stream of a customer that the candidate serves, and that does not end by itself."""
    deadline = time.monotonic() + 30
    for number in range(10_000):
        assert time.monotonic() < deadline, "nobody is served by the candidate"
        headers = {"x-customer-id": f"chat-{number}", "x-tier": "high"}
        if requests.get(site.edge.url, headers=headers, timeout=5).headers.get("x-arm") != "candidate":
            continue
        talk = requests.get(site.edge.url, headers={**headers, "x-chat": "1"}, stream=True, timeout=60)
        if talk.headers.get("x-arm") == "candidate":
            return talk
        talk.close()
    raise AssertionError


def _with_limits(site, limits):
    plan = site.folder / "plan.yaml"
    text = plan.read_text()
    assert "blind: 30s" in text and "restart_within: 0s" in text
    plan.write_text(text.replace("blind: 30s", "blind: 5s" if "blind" in limits else "blind: 30s"))
    if "unattended" in limits:
        plan.write_text(text.replace("restart_within: 0s", "restart_within: 60s, unattended: 5s"))


def _ended(chat):
    with pytest.raises(requests.exceptions.RequestException):
        list(chat.iter_content(1024))


def test_blind_for_too_long_the_chats_are_closed_as_well(site, shop):
    _with_limits(site, "blind")
    process = site.start(*run(site))
    site.until(lambda: site.share()["cohort-high"] > 0)
    chat = _chat(site)
    site.prometheus.stop()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    _ended(chat)
    facts = json.loads(out)
    assert facts["outcome"] == "retreated" and "1 were closed" in facts["sentence"], facts["sentence"]
    assert site.share() == NOBODY and said(shop)[-2:] == ["begun stop", "done stop"]


@pytest.mark.drill
def test_a_guard_closes_the_chats_and_the_candidate_is_started_again_by_the_next_run(site, shop):
    _with_limits(site, "unattended")
    process = site.start(*run(site), "--guard")
    site.until(lambda: site.share()["cohort-high"] > 0)
    chat = _chat(site)
    process.kill()
    process.communicate(timeout=10)
    site.until(lambda: journaled(site, "drained"), 40)
    _ended(chat)
    assert site.share() == NOBODY and said(shop)[-2:] == ["begun stop", "done stop"]
    process = site.start(*run(site))
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert json.loads(out)["outcome"] == "promoted"
    assert len((shop / "arms").read_text().split()) == 2, "started, and after the guard's way back again"


def test_an_abort_waits_for_the_chats_and_says_that_they_were_closed(site, shop):
    process = site.start(*run(site))
    site.until(lambda: site.share()["cohort-high"] > 0)
    chat = _chat(site)
    code, _, told = site.run("abort", "v2", "--why", "enough")
    assert code == 0 and "stable serves everybody again" in told and "1 were closed" in told, told
    _ended(chat)
    process.communicate(timeout=20)
    assert process.returncode == 4 and site.share() == NOBODY
