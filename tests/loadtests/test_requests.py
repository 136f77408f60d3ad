"""What is sent: secrets, rows of test data, connections, journeys of one's own; and the reports."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as XML

import pytest

from huidu.foundation.document import load_document
from huidu.foundation.errors import ConfigError
from loadtests.filling import Script, own_rows
from loadtests.http_steps import HttpStep
from loadtests.plan import Plan
from loadtests.planning import make_plan
from loadtests.profile import Profile
from loadtests.report.junit import junit
from loadtests.report.markdown import markdown
from loadtests.report.reports import HEADERS, rows
from loadtests.summary import Summary

_PROFILE = """
channels:
  web: {peak: 10/s, journey: {http: [{get: "/c/${data.customer}"}]}}
headers: {Authorization: "Bearer ${API_TOKEN}"}
data: {csv: people.csv}
duration: 6s
warmup: 1s
timeout: 3s
limits: {p95: 2s, failures: {at_most: 0.1%, proof: observed}}
"""


def _write(folder: Path, text: str = _PROFILE, people: int = 5) -> Path:
    (folder / "p.yaml").write_text(text)
    with (folder / "people.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["customer", "city"], *([f"c {n}", "Köln"] for n in range(people))])
    return folder / "p.yaml"


def _plan(file: Path, environment: dict[str, str] | None = None, **more: Any) -> Plan:
    given = {"API_TOKEN": "s3cret"} if environment is None else environment
    profile = load_document(file, Profile)
    return make_plan(profile, file, host="http://x", stack=None, environment=given, **more)


def test_secrets_come_from_the_environment_and_stand_in_no_file(tmp_path: Path) -> None:
    plan = _plan(_write(tmp_path))
    assert "s3cret" not in plan.model_dump_json() and "${API_TOKEN}" in plan.model_dump_json()
    script = Script(plan.channels[0].http, plan.headers, {"API_TOKEN": "s3cret\r\nX-Evil: 1"})
    (request,) = script.requests({"customer": "c 1/2", "city": "Köln"})
    assert request.path == "/c/c%201%2F2"
    assert request.headers == {"Authorization": "Bearer s3cretX-Evil: 1"}


@pytest.mark.parametrize(
    ("change", "environment", "says"),
    [
        (("", ""), {}, "API_TOKEN"),
        (("data.customer", "data.nobody"), None, "customer, city"),
        (("data: {csv: people.csv}", ""), None, "`data: {csv: file}`"),
        (("people.csv}", "people.csv, once: true}"), None, "has 5 rows"),
        (("people.csv}", "nothing.csv}"), None, "cannot be read"),
    ],
)
def test_a_placeholder_that_stands_for_nothing_is_said_before_anything_is_sent(
    tmp_path: Path, change: tuple[str, str], environment: dict[str, str] | None, says: str
) -> None:
    file = _write(tmp_path, _PROFILE.replace(*change))
    with pytest.raises(ConfigError) as caught:
        _plan(file, environment)
    assert says in str(caught.value)


def test_no_row_is_two_workers() -> None:
    every = [{"n": str(n)} for n in range(10)]
    seen = [[row["n"] for row, _ in zip(own_rows(every, w, 3), range(8), strict=False)] for w in range(3)]
    assert not set(seen[0]) & set(seen[1]) and not set(seen[1]) & set(seen[2])
    assert set(seen[0]) | set(seen[1]) | set(seen[2]) == {str(n) for n in range(10)}


def test_a_body_is_filled_in_depth() -> None:
    step = HttpStep.model_validate({"post": "/x", "json": {"a": [{"b": "${data.v}"}], "n": 1}})
    (request,) = Script((step,), {}, {}).requests({"v": '"quoted"'})
    assert json.loads(request.body or b"") == {"a": [{"b": '"quoted"'}], "n": 1}


_OWN = """
from loadtests.journeys.catalogue import Journey
from loadtests.visit import Visit

def twice(visit: Visit) -> None:
    visit.step("one", "GET", "/ok").require("status" in visit.step("two", "GET", "/ok").json(), "no status")

JOURNEYS = {"mine": Journey(twice, steps=2, known=False)}
"""


def test_a_file_of_journeys_that_is_none_is_said(tmp_path: Path) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text("channels: {web: {peak: 10/s, journeys: {mine: 1}}}\n")
    for text, says in (("x = 1", "holds no journeys"), ("1/0", "ZeroDivisionError")):
        (tmp_path / "own.py").write_text(text)
        with pytest.raises(ConfigError, match=says):
            _plan(profile, journeys=tmp_path / "own.py")
    (tmp_path / "own.py").write_text(_OWN)
    assert _plan(profile, journeys=tmp_path / "own.py").channels[0].visits == 6.0


@pytest.mark.parametrize(
    ("rate", "shares"),
    [
        ("{ramp: {from: 10%, to: 100%, over: 10s}}", {0: 0.1, 5: 0.55, 10: 1, 30: 1}),
        ("{steps: [{at: 0s, share: 50%}, {at: 10s, share: 1}]}", {0: 0.5, 9.9: 0.5, 10: 1, 30: 1}),
        ("{series: {csv: day.csv, column: requests, minute: 2s}}", {0: 0.5, 1.9: 0.5, 2: 1, 4: 0.25}),
    ],
)
def test_a_rate_over_time_is_owed_as_it_is_drawn(
    tmp_path: Path, rate: str, shares: dict[float, float]
) -> None:
    (tmp_path / "day.csv").write_text("minute,requests\n0,60\n1,120\n2,30\n")
    text = (
        f"channels: {{web: {{peak: 10/s, journey: {{http: [{{get: /}}]}}}}}}\nrate: {rate}\nduration: 30s\n"
    )
    (tmp_path / "p.yaml").write_text(text)
    plan = _plan(tmp_path / "p.yaml")
    intensity = plan.intensity(plan.channels[0])
    assert {t: round(intensity.at(t) / 12, 6) for t in shares} == shares
    assert plan.owed(0)["web"] == -(-round(intensity.between(0, 30), 6) // 1)


def test_users_become_arrivals_by_littles_law(tmp_path: Path) -> None:
    text = "channels: {web: {users: {peak: 600, visit: 2m}, journey: {http: [{get: /}, {get: /b}]}}}\n"
    (tmp_path / "p.yaml").write_text(text)
    (web,) = _plan(tmp_path / "p.yaml").channels
    assert (web.peak, web.visits) == (10.0, 6.0), "5 visits a second of two requests, offered 120 %"


@pytest.mark.server
def test_the_whole_path_with_own_journeys_and_its_reports(
    serve: Callable[..., str], begin: Any, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(_OWN)
    profile = _PROFILE.replace('journey: {http: [{get: "/c/${data.customer}"}]}', "journeys: {mine: 1}")
    profile = profile.replace(
        'headers: {Authorization: "Bearer ${API_TOKEN}"}\ndata: {csv: people.csv}\n', ""
    )
    profile += "connections: {reuse: request}"
    run = begin(profile, serve("ok"), "--journeys", str(tmp_path / "own.py")).finish()
    assert run.code == 0, run.stderr
    assert set(run.verdict["channels"]["web"]["steps"]) == {"mine: one", "mine: two"}
    cases = XML.parse(run.folder / "junit.xml").getroot().findall(".//testcase")
    assert {case.get("name") for case in cases} >= {"verdict", "p95", "failures", "schedule lag"}
    assert not XML.parse(run.folder / "junit.xml").getroot().findall(".//error")
    assert "PASS" in (run.folder / "summary.md").read_text()


@pytest.mark.parametrize(("word", "kind"), [("FAIL", "failure"), ("INVALID", "error")])
def test_junit_never_shows_green_for_what_is_no_pass(word: Any, kind: str) -> None:
    summary = _summary(word, "p95 <b>2 s</b> | \x00 [link](http://x) @team")
    suite = XML.fromstring(junit(summary)).find("testsuite")
    assert suite is not None
    assert suite.find(f"testcase[@name='verdict']/{kind}") is not None
    text = markdown(summary, HEADERS, rows(summary))
    assert word in text and "<b>" not in text.replace("\\<", "") and "[link](" not in text


def _summary(word: Any, reason: str) -> Summary:
    empty = dict.fromkeys(("average_ms", "p50_ms", "p95_ms", "p99_ms", "p999_ms", "longest_ms"))
    return Summary.model_validate(
        {
            **empty,
            **dict.fromkeys(("requests", "planned", "ok", "failed", "dropped", "censored"), 0),
            **dict.fromkeys(("sessions_limit", "in_flight_max", "lag_1_correlation"), 0),
            **dict.fromkeys(("offered_ratio", "schedule_lag_p99_ms", "littles_law_error")),
            **{key: [] for key in ("checks", "in_flight", "curve", "bins", "failures")},
            "kind": "verify",
            "verdict": word,
            "reasons": [reason],
            "profile": "p",
            "host": "http://x",
            "started": "now",
            "duration": 1.0,
            "bin_seconds": 1.0,
            "offer": 1.2,
            "cpu_max": {},
            "channels": {},
        }
    )
