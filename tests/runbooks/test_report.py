"""The go-live page: its numbers are those of the inputs, it needs nothing but itself, it does not flatter."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from runbooks.commands import report
from runbooks.report.drawing import draw, ranks, with_candidates
from runbooks.report.facts import Rollout
from runbooks.report.figures import turning_points

NAMES = ["good", "errors", "slow", "late", "down", "locks"]


def make(home: Any, *more: str) -> Result:
    return CliRunner().invoke(report, ["go-live", "--run", home.run, *more])


def page(home: Any) -> str:
    return str((home.folder / "reports/go-live.html").read_text(encoding="utf-8"))


def facts(home: Any) -> dict[str, Any]:
    return dict(json.loads((home.folder / "reports/go-live.json").read_text(encoding="utf-8")))


def test_what_came_out_as_it_should_is_proved(home: Any) -> None:
    result = make(home)
    assert result.exit_code == 0, result.output
    assert facts(home)["proved"] is True
    assert "Proved: ready to go live" in page(home)


def test_who_judges_without_customers_shows_by_what(home: Any) -> None:
    """A gate that counts 18 of 40 beside "customers' requests: 0" needs its synthetic requests told."""
    make(home)
    told = page(home).split('id="errors"')[1].split('id="slow"')[0]
    assert "synthetic requests" in told and "合成请求" in told and "50" in told


def test_the_numbers_are_those_of_the_inputs(home: Any) -> None:
    make(home)
    document = facts(home)
    assert [each["name"] for each in document["rollouts"]] == NAMES
    for each in document["rollouts"]:
        source = home.documents[home.rollout(each["name"])]
        for key in (
            "outcome",
            "blamed_gate",
            "seconds_from_start",
            "seconds_from_first_bad_request",
            "exposed_customers",
            "requests_canary",
            "requests_synthetic",
        ):
            assert each[key] == source[key], (each["name"], key)
    load = home.documents[home.load]
    for key in ("verdict", "p95_ms", "p99_ms", "planned", "ok", "failed"):
        assert document["load"][key] == load[key]


def test_json_on_standard_output_is_the_file(home: Any) -> None:
    result = make(home, "--json")
    assert json.loads(result.stdout) == facts(home)


SPOILED = [
    (
        "promoted, and should not have been",
        "errors",
        {"outcome": "promoted", "blamed_gate": None},
        "should have been",
    ),
    ("held", "good", {"outcome": "held"}, "should have been promoted and was held"),
    ("blamed another gate", "late", {"blamed_gate": "errors"}, "the one blamed is “errors”"),
    ("blamed nobody", "slow", {"blamed_gate": None}, "the one blamed is “None”"),
    ("promoted with blame", "good", {"blamed_gate": "latency"}, "is blamed"),
    ("a customer met it", "down", {"exposed_customers": 1}, "at most 0 customers may meet it, and 1 did"),
    ("nobody knows who met it", "down", {"exposed_customers": None}, "unknown number"),
    ("one arm blamed alone", "locks", {"outcome": "rolled-back"}, "should have been held"),
    ("no time line", "errors", {"timeline": []}, "time line is empty"),
    ("a number that is text", "errors", {"requests_canary": "many"}, "requests_canary"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "change", "told"), [c[1:] for c in SPOILED], ids=[c[0] for c in SPOILED])
def test_a_rollout_that_came_out_otherwise_is_not_proved(
    home: Any, name: str, change: dict[str, Any], told: str
) -> None:
    home.change(home.rollout(name), **change)
    result = make(home)
    assert result.exit_code == 1
    assert told in result.output
    assert [check["subject"] for check in facts(home)["checks"] if not check["ok"]] == [name]
    assert "Not proved" in page(home)
    assert "Proved: ready" not in page(home)


def test_rolled_back_with_customers_still_on_it_is_a_contradiction(home: Any) -> None:
    timeline = home.documents[home.rollout("slow")]["timeline"]
    timeline[-1]["share"] = 0.05
    home.change(home.rollout("slow"), timeline=timeline)
    result = make(home)
    assert result.exit_code == 1
    assert "its share at the end is 5.0%" in result.output


def test_promoted_without_ever_serving_everybody_is_a_contradiction(home: Any) -> None:
    timeline = [poll for poll in home.documents[home.rollout("good")]["timeline"] if poll["share"] < 1]
    home.change(home.rollout("good"), timeline=timeline)
    assert make(home).exit_code == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_rollout_is_not_proved_and_is_named(home: Any, name: str) -> None:
    (home.folder / home.rollout(name)).unlink()
    result = make(home)
    assert result.exit_code == 1
    assert f"{name}-{home.run}/report.json" in result.output
    assert name not in [each["name"] for each in facts(home)["rollouts"]]


def test_rollouts_of_another_run_do_not_count(home: Any) -> None:
    result = CliRunner().invoke(report, ["go-live", "--run", "20250101-000000"])
    assert result.exit_code == 1
    assert facts(home)["rollouts"] == []
    assert facts(home)["load"] is None


LOADS: list[tuple[str, dict[str, Any], str]] = [
    ("failed", {"verdict": "FAIL", "reasons": ["p95 is 2,310 ms"]}, "p95 is 2,310 ms"),
    ("invalid", {"verdict": "INVALID", "reasons": ["the generator was busy"]}, "the generator was busy"),
    ("passed too slow", {"p95_ms": 2310.0}, "2310.0 ms with a limit of 2000 ms"),
    ("passed without a number", {"p95_ms": None}, "None ms with a limit"),
    ("more answers than requests", {"ok": 10**6}, "contradicts itself"),
]


@pytest.mark.parametrize(("change", "told"), [c[1:] for c in LOADS], ids=[c[0] for c in LOADS])
def test_a_load_run_that_is_no_proof_is_not_proved(home: Any, change: dict[str, Any], told: str) -> None:
    home.change(home.load, **change)
    result = make(home)
    assert result.exit_code == 1
    assert told in result.output


def test_a_stack_that_serves_another_version_contradicts_the_promotion(home: Any) -> None:
    home.change("stack.json", releases={"stable": "v1", "candidate": None})
    result = make(home)
    assert result.exit_code == 1
    assert "v2 was to serve everybody, and the stack's stable release is v1" in result.output


def test_with_nothing_at_all_there_is_still_a_page_that_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path))
    result = CliRunner().invoke(report, ["go-live", "--run", "20260131-142502"])
    assert result.exit_code == 1
    assert "Not proved" in (tmp_path / "reports/go-live.html").read_text()


class _Outline(HTMLParser):
    """What a page would load, what has an id, what points to one, and which languages each text has."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.inside: list[str] = []
        self.languages = {"en": 0, "zh": 0}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
                (self.inside if (value or "").startswith("#") else self.loads).append(value or "")
            if key == "id":
                self.ids.append(value or "")
            if key == "lang" and tag != "html" and value in self.languages:
                self.languages[value] += 1


def test_the_page_needs_nothing_but_itself(home: Any) -> None:
    make(home)
    text = page(home)
    outline = _Outline()
    outline.feed(text)
    assert outline.loads == ["data:,"]
    assert not re.search(r"https?://(?!127\.0\.0\.1)", text)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert len(text) < 300_000


def test_every_place_a_link_goes_to_is_there_once(home: Any) -> None:
    make(home)
    outline = _Outline()
    outline.feed(page(home))
    assert len(outline.ids) == len(set(outline.ids))
    assert {target[1:] for target in outline.inside} <= set(outline.ids)


def test_every_text_stands_in_both_languages(home: Any) -> None:
    make(home)
    outline = _Outline()
    outline.feed(page(home))
    assert outline.languages["en"] == outline.languages["zh"] > 80


def test_what_others_wrote_is_text_and_never_markup(home: Any) -> None:
    home.change(home.rollout("errors"), sentence="</p><script>alert(1)</script>")
    make(home)
    assert "<script>alert(1)" not in page(home)
    assert "&lt;script&gt;alert(1)" in page(home)


def test_no_path_of_a_secret_comes_into_the_report(home: Any) -> None:
    make(home)
    for text in (page(home), json.dumps(facts(home))):
        assert "token.key" not in text
        assert "/x/testers" not in text


@pytest.mark.parametrize("narrow", [False, True])
def test_the_drawing_shows_every_component_apart_from_the_others(home: Any, narrow: bool) -> None:
    from huidu.model.stack import Stack

    stack = Stack.read(home.folder / "stack.json")
    drawing = draw(stack, narrow=narrow)
    names = {"-".join(box.lines) for box in drawing.boxes}
    assert names == {each.name for each in stack.components} | {"touchpoints-candidate", "sync-candidate"}
    for box in drawing.boxes:
        assert box.x >= 0 and box.x + box.w <= drawing.w
        assert box.y >= 0 and box.y + box.h <= drawing.h
        area = [
            a
            for a in drawing.areas
            if a.x <= box.x and box.x + box.w <= a.x + a.w and a.y <= box.y <= a.y + a.h
        ]
        assert len(area) == 1, box.lines
        for other in drawing.boxes:
            apart = abs(box.x - other.x) >= box.w or abs(box.y - other.y) >= box.h
            assert other is box or apart, (box.lines, other.lines)
    if narrow:
        assert drawing.w <= 400


def test_the_drawing_follows_the_way_of_a_request(home: Any) -> None:
    from huidu.model.stack import Stack

    rank = ranks(*with_candidates(Stack.read(home.folder / "stack.json")))
    way = [
        "edge",
        "touchpoints-stable",
        "touchpoints-db",
        "sync-stable",
        "link",
        "core-proxy",
        "core",
        "core-db",
    ]
    assert [rank[name] for name in way] == list(range(8))
    assert rank["sync-candidate"] == rank["sync-stable"]


def test_turning_points_are_the_polls_where_something_changed(home: Any) -> None:
    rollout = Rollout.model_validate(home.documents[home.rollout("good")])
    turning = turning_points(rollout.timeline)
    assert [poll.t for poll in turning if poll.decision == "widen"] == [10, 20, 30, 40, 50, 60]
    assert turning[0] is rollout.timeline[0]
    assert turning[-1] is rollout.timeline[-1]


def test_one_loud_customer_emergencies_and_the_schema_stand_on_the_rollouts_card(home: Any) -> None:
    name = home.rollout("errors")
    make(home)
    assert "Emergency call" not in page(home) and "Schema, " not in page(home)
    home.change(
        name,
        customers_warning="one customer made 41 % of the failures among high in the candidate",
        letters=[
            {"event": "started", "emergency": False, "sent": 1, "addresses": 1, "acknowledged": False},
            {"event": "rolled-back", "emergency": True, "sent": 1, "addresses": 2, "acknowledged": True},
        ],
        schema=[
            {"name": "expand", "standing": "done", "at": "2026-01-31T14:25:30.000Z", "problem": ""},
            {"name": "contract", "standing": "failed", "at": None, "problem": "exit code 3"},
        ],
    )
    make(home)
    text = page(home)
    for words in (
        "one customer made 41 % of the failures",
        "Emergency call (rolled back): told at 1 of 2 addresses, acknowledged",
        "紧急通知（已自动回滚）：已通知 1/2 个地址，已确认知悉",
        "Schema, expand: done",
        "数据库结构，收缩：失败",
        "(exit code 3)",
    ):
        assert words in text, words
    (errors,) = [each for each in facts(home)["rollouts"] if each["name"] == "errors"]
    assert errors["customers_warning"].startswith("one customer") and len(errors["emergencies"]) == 1
    assert [each["standing"] for each in errors["schema"]] == ["done", "failed"]


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
@pytest.mark.parametrize(
    ("link", "browser", "shown"),
    [("", "en-US", "en"), ("#zh", "en-US", "zh"), ("?lang=en", "zh-CN", "en"), ("", "zh-CN", "zh")],
)
def test_the_page_opens_in_the_language_of_its_link_or_of_the_browser(
    home: Any, tmp_path: Path, link: str, browser: str, shown: str
) -> None:
    make(home)
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
        *(
            "--no-first-run",
            f"--accept-lang={browser}",
            f"--user-data-dir={tmp_path / 'browser'}",
            "--dump-dom",
        ),
        f"file://{home.folder / 'reports/go-live.html'}{link}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert f'data-lang="{shown}"' in done.stdout.split("<head>")[0]
