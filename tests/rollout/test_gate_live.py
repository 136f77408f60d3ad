"""`huidu gate` on a real Prometheus with two hours of history: objectives and a plan's gates."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
import xml.etree.ElementTree as ET

import pytest
import requests
from click.testing import CliRunner

from huidu.foundation.errors import Unreachable, UsageError
from huidu.foundation.outcome import Outcome
from rollout.gate.command import gate
from tests.ports import free_port

STEP = 15
HOURS = 2
BAD_FROM, RESTART = 3600, 1800
"""Seconds after the beginning: from then on v2 fails; the process of v1 starts again, its counters at 0."""

PLAN = """
name: live
gates:
  errors:
    kind: error-ratio
    tolerated_ratio: 1.5
    floor: 1%
    dispersion: 1
    metrics: {{total: ['rq_total{{app="{{release}}"}}'], bad: ['rq_total{{app="{{release}}",code="500"}}']}}
observation: {{prometheus: "{address}", traffic: {{total: ['rq_total{{app="{{release}}"}}']}}}}
"""
SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: shop
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {spec: {query: 'sum(rate(rq_total{app="APP",code="500"}[5m]))'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'sum(rq_total{app="APP"})'}}}
  timeWindow: [{duration: 1h, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""
QUEUE = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: queue}
spec:
  service: shop
  indicator: {spec: {thresholdMetric: {metricSource: {spec: {query: queue_length}}}}}
  objectives: [{op: lt, value: 100, target: 0.9}]
"""


def history(begin):
    """OpenMetrics: v1 90/s, v2 10/s; v2 fails 5 % in the second hour; a queue of 0 to 120."""
    lines = ["# TYPE rq counter"]
    counts = dict.fromkeys([(a, c) for a in ("v1", "v2") for c in ("200", "500")], 0.0)
    rows = {key: [] for key in counts}
    for t in range(0, HOURS * 3600 + 1, STEP):
        if t == RESTART:
            counts["v1", "200"] = counts["v1", "500"] = 0.0
        failing = 0.05 if t > BAD_FROM else 0.0
        for app, rate in (("v1", 90.0), ("v2", 10.0)):
            part = failing if app == "v2" else 0.001
            counts[app, "500"] += STEP * rate * part
            counts[app, "200"] += STEP * rate * (1 - part)
        for key in counts:
            rows[key].append((begin + t, counts[key]))
    for (app, code), samples in rows.items():
        labels = f'app="{app}",code="{code}",instance="{app}:80",job="shop"'
        lines += [f"rq_total{{{labels}}} {value:.3f} {t}" for t, value in samples]
    lines.append("# TYPE queue_length gauge")
    times = range(0, HOURS * 3600 + 1, STEP)
    lines += [f"queue_length {120 if t > BAD_FROM and t % 60 == 0 else 7} {begin + t}" for t in times]
    return "\n".join([*lines, "# EOF"]) + "\n"


@pytest.fixture(scope="module")
def past(program, tmp_path_factory):
    """(address, begin) of a Prometheus that knows the history."""
    folder = tmp_path_factory.mktemp("prometheus")
    begin = int(time.time()) // 3600 * 3600 - 6 * 3600
    (folder / "history.txt").write_text(history(begin))
    binary = program("prometheus")
    promtool = [binary.with_name("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    command = [*promtool, folder / "history.txt", folder / "data"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    (folder / "prometheus.yml").write_text("{}\n")
    port = free_port()
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [binary, *options, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if requests.get(f"{address}/-/ready", timeout=5).ok:
                    break
            except requests.ConnectionError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield address, begin
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def asked(past, tmp_path, monkeypatch):
    """The gate, asked from the second `after` the beginning backwards over `over`; (exit code, findings)."""
    address, begin = past
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    (tmp_path / "plan.yaml").write_text(PLAN.format(address=address))
    (tmp_path / "v1.yaml").write_text(SLO.replace("APP", "v1"))
    (tmp_path / "v2.yaml").write_text(SLO.replace("APP", "v2"))
    (tmp_path / "queue.yaml").write_text(QUEUE)

    def ask(*arguments, after, over="30m"):
        until = datetime.datetime.fromtimestamp(begin + after, datetime.UTC).isoformat()
        typed = [str(tmp_path / each) if str(each).endswith(".yaml") else str(each) for each in arguments]
        command = [*typed, "--prometheus", address, "--until", until, "--over", over, "--json"]
        result = CliRunner().invoke(gate, command)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, json.loads(result.stdout)["findings"]

    return ask


pytestmark = pytest.mark.server


def test_an_objective_is_kept_before_and_broken_after(asked):
    code, (found,) = asked("--slo", "v2.yaml", after=3600)
    assert code == Outcome.GOOD.code and "0 bad of 18,000" in found["sentence"]
    code, (found,) = asked("--slo", "v2.yaml", after=7200)
    assert code == Outcome.BAD.code and "900 bad of 18,000 (5 %)" in found["sentence"]


def test_a_restart_in_the_middle_loses_and_invents_nothing(asked):
    _, (found,) = asked("--slo", "v1.yaml", after=3600, over="1h")
    assert "324 bad of 324,000" in found["sentence"]


def test_too_few_requests_prove_nothing_over_a_minute_but_the_window_itself_is_a_fact(asked):
    code, (found,) = asked("--slo", "v1.yaml", "--dispersion", "50", after=3600, over="1m")
    assert code == Outcome.NOT_EVIDENCE.code and "not proved either way" in found["sentence"]
    code, (found,) = asked("--slo", "v1.yaml", "--dispersion", "50", after=7200, over="window")
    assert code == Outcome.GOOD.code and "between" not in found["sentence"]


def test_a_threshold_is_a_part_of_the_samples(asked):
    assert asked("--slo", "queue.yaml", after=3600)[0] == Outcome.GOOD.code
    code, (found,) = asked("--slo", "queue.yaml", after=7200)
    assert code == Outcome.BAD.code and "lt 100" in found["sentence"]
    assert asked("--slo", "queue.yaml", after=4 * 3600)[0] == Outcome.NOT_EVIDENCE.code


def test_time_slices(asked, tmp_path):
    text = SLO.replace("APP", "v2").replace("Occurrences", "Timeslices")
    slices = "target: 0.4, timeSliceTarget: 0.99, timeSliceWindow: 5m"
    (tmp_path / "v1.yaml").write_text(text.replace("target: 0.99", slices))
    code, (found,) = asked("--slo", "v1.yaml", after=5400, over="1h")
    assert code == Outcome.GOOD.code and "6 of 12 time slices" in found["sentence"]
    (tmp_path / "v1.yaml").write_text(text.replace("target: 0.99", slices.replace("0.4", "0.6")))
    assert asked("--slo", "v1.yaml", after=5400, over="1h")[0] == Outcome.BAD.code


def test_a_plan_s_gates_now_and_then(asked, tmp_path):
    release = ("--plan", "plan.yaml", "--release", "v2", "--stable", "v1", "--percent", 20)
    code, findings = asked(*release, after=3600)
    assert code == Outcome.GOOD.code and findings[1]["outcome"] == "GOOD"
    junit = tmp_path / "gate.xml"
    code, findings = asked(*release, "--junit", junit, after=4800)
    assert code == Outcome.BAD.code and findings[1]["outcome"] == "BAD"
    assert ET.parse(junit).getroot().attrib["failures"] == "2"
    assert asked(*release, after=4 * 3600)[0] == Outcome.NOT_EVIDENCE.code


def test_looks_that_are_no_evidence_are_told(asked):
    release = ("--plan", "plan.yaml", "--release", "v2", "--stable", "v1")
    _, findings = asked(*release, after=3600, over="40m")
    told = [each["sentence"] for each in findings if each["name"] == "left out"]
    assert "1 of 59 looks, 3,000 requests in them, are no evidence: settling: the candidate warms up" in told
    assert all(each["outcome"] is None for each in findings if each["name"] == "left out")


def test_the_stretch_of_a_load_run(asked, past, tmp_path):
    folder = tmp_path / "home" / "load" / "r1"
    folder.mkdir(parents=True)
    begun = datetime.datetime.fromtimestamp(past[1] + 5400, datetime.UTC).isoformat()
    (folder / "verdict.json").write_text(json.dumps({"started": begun, "duration": 600.0}))
    code, (found,) = asked("--slo", "v2.yaml", "--during", "r1", after=0)
    assert code == Outcome.BAD.code and "300 bad of 6,000" in found["sentence"]
    (folder / "verdict.json").write_text("{}")
    with pytest.raises(AssertionError, match="when it ran"):
        asked("--slo", "v2.yaml", "--during", "r1", after=0)


def run(*arguments):
    return CliRunner().invoke(gate, [str(each) for each in arguments]).exception


def test_what_is_asked_wrongly_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    (tmp_path / "slo.yaml").write_text(SLO)
    slo = tmp_path / "slo.yaml"
    assert "where is Prometheus" in str(run("--slo", slo))
    assert isinstance(run("--slo", slo, "--prometheus", "http://127.0.0.1:1"), Unreachable)
    for wrong in (("--over", "soon"), ("--until", "tomorrow")):
        assert isinstance(run("--slo", slo, "--prometheus", "http://127.0.0.1:1", *wrong), UsageError)
    (tmp_path / "plan.yaml").write_text(PLAN.format(address="http://127.0.0.1:1"))
    assert "--release" in str(run("--plan", tmp_path / "plan.yaml"))
    assert "--stable" in str(run("--plan", tmp_path / "plan.yaml", "--release", "v2"))
