"""The observer as a process, on a real Prometheus: somebody shifts, and others ask for the verdict."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import requests

from rollout.folder import reading
from tests.rollout.edges import route_document
from tests.rollout.sites import SECRET

pytestmark = pytest.mark.server

PLAN = """
name: podinfo
gates:
  errors:
    kind: error-ratio
    tolerated_ratio: 1.5
    floor: 1%
    dispersion: 1
    late_onset: false
    metrics:
      total: ['http_requests_total{{app="{{release}}"}}']
      bad: ['http_requests_total{{app="{{release}}",status="500"}}']
observation:
  prometheus: {address}
  poll: 1s
  settle: 1s
  warm_up: 1s
  traffic: {{total: ['http_requests_total{{app="{{release}}"}}']}}
"""


class Service(http.server.BaseHTTPRequestHandler):
    """Counters of both arms as they would be by now: 300 requests a second, `share` of them on v2."""

    server: Counting

    def do_GET(self):
        text = "# TYPE http_requests_total counter\n" + "".join(
            f'http_requests_total{{app="{app}",status="{status}"}} {value:.0f}\n'
            for (app, status), value in self.server.now().items()
        )
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        return None


class Counting(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Service)
        self.share, self.last, self.lock = 0.0, time.monotonic(), threading.Lock()
        self.counts = dict.fromkeys([(a, s) for a in ("v1", "v2") for s in ("200", "500")], 0.0)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def now(self):
        with self.lock:
            at = time.monotonic()
            n, self.last = 300 * (at - self.last), at
            self.counts["v1", "200"] += n * (1 - self.share)
            self.counts["v2", "200"] += n * self.share * 0.7
            self.counts["v2", "500"] += n * self.share * 0.3
            return dict(self.counts)


@pytest.fixture
def prometheus(program, tmp_path, free_port):
    service, port = Counting(), free_port()
    config = tmp_path / "prometheus.yml"
    target = f"127.0.0.1:{service.server_address[1]}"
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"  - {{job_name: app, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    command = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )
    try:
        yield service, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        service.shutdown()
        service.server_close()


def decision_of(address, wanted):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = requests.get(f"{address}?name=watched", timeout=5).json()
        if found.get("decision") == wanted:
            return found
        time.sleep(0.3)
    raise AssertionError(found)


def test_beside_a_proxy_the_share_is_what_it_serves_and_nothing_is_touched(site):
    plan = site.plan()
    process = site.start("observe", str(plan), "--release", "v2", "--listen", "0", "--json")
    try:
        address = process.stderr.readline().strip()
        site.until(lambda: requests.get(address, timeout=5).json().get("decision") == "advance")
        for share in (0.1, 0.3):
            _shift(site, share)
            site.until(lambda share=share: requests.get(address, timeout=5).json()["share"] > share * 0.9)
        before = site.edge.route_file.read_bytes()
        site.until(lambda: requests.get(address, timeout=5).json()["allowed"] > 0)
        assert site.edge.route_file.read_bytes() == before
        assert not list(site.edge.route_file.parent.glob(".*.lock")), "it owns nothing"
    finally:
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=30)
    assert process.returncode == 3, told
    assert [each["share"] for each in json.loads(out)["shifts"]] == pytest.approx([0.1, 0.3])


def test_a_fleet_that_takes_a_share_one_proxy_after_the_other_was_shifted_once(site, start_edge):
    second = start_edge("second", document=route_document(testers=SECRET, trial=True))
    plan, one = site.plan(), f'{{file: "{site.edge.route_file}", admin: "{site.edge.admin}"}}'
    both = f'{one}, {{file: "{second.route_file}", admin: "{second.admin}"}}'
    assert one in plan.read_text()
    plan.write_text(plan.read_text().replace(one, both))
    process = site.start("observe", str(plan), "--release", "v2", "--listen", "0", "--json")
    try:
        address = process.stderr.readline().strip()
        site.until(lambda: requests.get(address, timeout=5).json().get("decision") == "advance")
        for share in (0.1, 0.4):
            _shift(site, share)
            time.sleep(1.5)  # customers of the first are counted meanwhile
            _shift(site, share, second)
            site.until(lambda share=share: requests.get(address, timeout=5).json()["share"] == share)
    finally:
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=30)
    assert process.returncode == 3, told
    assert [each["share"] for each in json.loads(out)["shifts"]] == [0.1, 0.4]


def _shift(site, share, edge=None):
    """As another controller does it."""
    file = (edge or site.edge).route_file
    document = route_document({"high": round(share * 10_000), "rest": round(share * 10_000)}, SECRET, True)
    fresh = file.with_name("fresh")
    fresh.write_text(json.dumps(document | {"version_info": f"argo-{share}"}))
    fresh.rename(file)


def test_observed_from_outside_while_somebody_shifts(prometheus, tmp_path):
    service, address = prometheus
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN.format(address=address))
    home = tmp_path / "home"
    environment = {**os.environ, "HUIDU_HOME": str(home), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "huidu.cli", "rollout", "observe", str(plan), "--release", "v2"]
    command += ["--stable", "v1", "--name", "watched", "--listen", "0", "--json"]
    deadline = time.monotonic() + 60
    while True:  # until Prometheus has its first samples
        with_data = {"query": "http_requests_total"}
        try:
            if requests.get(f"{address}/api/v1/query", with_data, timeout=5).json()["data"]["result"]:
                break
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        first = process.stderr.readline().strip()
        assert first.startswith("http://127.0.0.1:"), first + process.stderr.read()
        assert decision_of(first, "advance")["sentence"].startswith("nobody has met v2 yet")
        service.share = 0.2
        assert decision_of(first, "rollback")["blamed"] == "errors"
        answer = requests.post(f"{first}?name=watched&hook=rollback", json={"name": "podinfo"}, timeout=5)
        assert answer.status_code == 200 and "errors" in answer.text
        assert requests.get(first, headers={"host": "evil.example"}, timeout=5).status_code == 421
    finally:
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=30)
    assert process.returncode == 1, told
    facts = json.loads(out)
    assert facts["outcome"] == "rollback" and facts["shifts"][0]["share"] == pytest.approx(0.2, abs=0.1)
    folder = home / "observations" / "watched"
    with reading(folder / "journal.sqlite") as journal:
        assert journal.verify() > 5
        kinds = [event.kind for event in journal.events()]
    assert kinds[0] == "started" and kinds[-1] == "paused" and "intended" not in kinds
    assert json.loads((folder / "report.json").read_text()) == facts
