"""Every verdict explains itself: from a rollout's folder, or from an evidence file and its plan."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from huidu.foundation.errors import ConfigError, HuiduError, UsageError
from huidu.model.evidence import Counts, Histogram
from rollout.commands import rollout
from rollout.evidence_file import Header
from rollout.evidence_log import FileEvidence
from rollout.explain import words
from rollout.explain.account import counted
from rollout.failing import Failing, Failure, Part
from rollout.judge import GateSpec

PLAN = """gates:
  errors: {kind: error-ratio, tolerated_ratio: 1.5, floor: 0.1 %, dispersion: 1, late_onset: false}
"""


def evidence(path, *, bad=5, odd=""):
    rows = []
    for k in range(1, 7):
        rows.append(
            {
                "v": 1,
                "t": f"2026-11-21T10:00:{5 * k:02d}Z",
                "gate": "errors",
                "stratum": "high",
                "canary": {"total": 500, "bad": bad},
                "baseline": {"total": 9500, "bad": 10},
                "queries": ['requests_total{cluster="candidate"}'],
                **({"excluded": odd} if k == 2 and odd else {}),
            }
        )
    rows.append({**rows[0], "stratum": "<b>rest", "canary": {"total": 0, "bad": 0}})
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def recorded(tmp_path):
    """An evidence file with its plan."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    return [
        str(evidence(tmp_path / "e.jsonl", odd="the counters went back")),
        "--plan",
        str(tmp_path / "plan.yaml"),
    ]


def explained(*arguments):
    result = CliRunner().invoke(rollout, ["explain", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


@pytest.fixture
def finished(stage, tmp_path, monkeypatch):
    """A rollout that ended, as it lies in a workspace."""

    def run(errors, header=None):
        monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
        folder = tmp_path / "home" / "rollouts" / "v2"
        folder.mkdir(parents=True)
        stage.world.candidate_errors = errors
        log = FileEvidence(folder / "evidence.jsonl", header or Header())
        outcome = stage.controller(evidence=log).drive()
        log.close()
        for each in (tmp_path).glob("journal.sqlite*"):
            each.rename(folder / each.name)
        return outcome, folder

    return run


def test_the_account_has_every_number_that_decided(recorded):
    told = json.loads(explained(*recorded, "--json"))
    gate = told["gates"][0]
    assert told["verdict"] == "rollback" and told["blamed"] == "errors"
    # Three intervals until then, one of them left out.
    assert gate["canary"]["counts"] == {"total": 1000, "bad": 10}
    assert gate["baseline"]["counts"] == {"total": 19000, "bad": 20}
    assert gate["excluded"] == {"the counters went back": 1}
    assert gate["crossed"] == 15.0 and gate["log_e"] >= gate["bound"] == pytest.approx(math.log(100))
    assert gate["canary"]["estimate"]["low"] < 0.01 < gate["canary"]["estimate"]["high"]
    assert (gate["dispersion"], gate["dispersion_from"]) == (1.0, "plan")
    assert gate["queries"] == ['requests_total{cluster="candidate"}']
    assert len(gate["series"]) == 6
    assert told["sentence"].startswith("rolled back: errors")


def test_a_first_interval_that_does_not_say_when_it_began_is_as_long_as_the_others(recorded):
    told = json.loads(explained(*recorded, "--json"))
    assert told["began"] == "2026-11-21T10:00:00Z" and told["gates"][0]["series"][0][0] == 5.0
    assert told["remarks"] == [
        "the first interval does not say when it began: 5 s are assumed, as the others are"
    ]


def test_one_interval_without_its_length_is_taken_for_a_poll_and_it_is_said(recorded, tmp_path):
    path = tmp_path / "one.jsonl"
    row = json.loads((tmp_path / "e.jsonl").read_text().splitlines()[0])
    row["canary"]["bad"] = 100
    path.write_text(json.dumps(row))
    text = explained(str(path), *recorded[1:], "--html", str(tmp_path / "page.html"))
    assert "reached its bound after 5 s" in text
    assert "one interval: 5 s are assumed, its length is not stated" in text
    page = (tmp_path / "page.html").read_text()
    assert "1 interval up to the decision" in page and "1 intervals" not in page and ">5 s<" in page
    path.write_text(json.dumps(row | {"from": "2026-11-21T09:59:45Z"}))
    text = explained(str(path), *recorded[1:])
    assert "reached its bound after 20 s" in text and "assumed, its" not in text


def test_what_one_arm_counted_alone_is_told_and_said_to_be_unused(recorded, tmp_path):
    rows = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()[:2]]
    path = tmp_path / "alone.jsonl"
    path.write_text("\n".join(json.dumps({k: v for k, v in r.items() if k != "baseline"}) for r in rows))
    text = explained(str(path), *recorded[1:], "--html", str(tmp_path / "page.html"))
    # One of the two intervals was left out.
    assert "candidate  5 of 500, not used: the other arm has none" in text
    assert "stable     nothing seen" in text
    page = (tmp_path / "page.html").read_text()
    assert "5 of 500, not used" in page and "500 中有 5，未使用" in page


def test_groups_add_up_to_what_was_judged(recorded):
    gate = json.loads(explained(*recorded, "--json"))["gates"][0]
    for arm in ("canary", "baseline"):
        assert sum(group[arm]["total"] for group in gate["groups"]) == gate[arm]["counts"]["total"]


def test_a_person_reads_counts_interval_reason_and_question(recorded):
    text = explained(*recorded)
    for part in (
        "1 % (10 of 1,000)",
        "between",
        "1 the counters went back",
        "dispersion 1 (plan)",
        'requests_total{cluster="candidate"}',
        "reached its bound after 15 s",
        "fewer than 1 rollout in",
    ):
        assert part in text


def test_the_page_stands_alone_and_names_from_outside_stay_text(recorded, tmp_path):
    explained(*recorded, "--html", str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert "<svg" in text and "prefers-color-scheme:dark" in text
    assert "<script" not in text and "http" not in text and "<b>rest" not in text
    assert "the counters went back" in text and "reached its bound" in text


@pytest.mark.parametrize(("errors", "outcome"), [(0.2, "rolled-back"), (0.0, "promoted")])
def test_a_finished_rollout_is_explained_by_its_name(finished, errors, outcome):
    finished(errors)
    told = json.loads(explained("v2", "--json"))
    assert told["outcome"] == outcome and told["remarks"] == []
    assert told["blamed"] == ("errors" if errors else None)


def test_its_evidence_file_needs_no_plan(finished):
    _, folder = finished(0.2)
    by_name, by_file = explained("v2"), explained(str(folder / "evidence.jsonl"))
    assert by_name == by_file


def test_evidence_that_was_altered_afterwards_is_noticed(finished):
    _, folder = finished(0.0)
    path = folder / "evidence.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    judged = next(row for row in rows if "canary" in row and row["canary"]["total"] and "excluded" not in row)
    judged["canary"]["bad"] = 1
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "the journal says" in explained("v2")


def test_what_was_gathered_but_never_judged_explains_nothing(finished):
    _, folder = finished(0.2)
    before = explained("v2")
    last = (folder / "evidence.jsonl").read_text().splitlines()[-2]
    row = json.loads(last)
    if "gate" in row:
        row |= {"from": row["t"], "t": "2099-01-01T00:00:00Z"}
        with (folder / "evidence.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
    assert explained("v2") == before


@pytest.mark.parametrize(
    ("arguments", "what", "kind"),
    [
        (["nobody"], "no rollout is named", ConfigError),
        (["missing.jsonl"], "no such file", ConfigError),
        (["../x"], "no such file", ConfigError),
        (["we?rd"], "cannot be the name", UsageError),
    ],
)
def test_what_is_not_there_is_said(tmp_path, monkeypatch, arguments, what, kind):
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    with pytest.raises(kind, match=what):
        explained(*arguments)


def test_an_evidence_file_alone_asks_for_its_plan(tmp_path):
    with pytest.raises(HuiduError, match="by which plan"):
        explained(str(evidence(tmp_path / "e.jsonl")))


def test_a_rollout_that_has_judged_nothing_says_where_it_stands(stage, tmp_path, monkeypatch):
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "rollouts" / "v2"
    folder.mkdir(parents=True)
    stage.journal.close()
    for each in tmp_path.glob("journal.sqlite*"):
        each.rename(folder / each.name)
    assert "under way" in explained("v2")


def test_of_a_histogram_those_beyond_the_limit_are_bad():
    slow = GateSpec("latency", kind="latency", limit=0.5)
    assert counted(slow, Histogram({0.1: 5, 0.5: 8, 1.0: 9}, 10)) == Counts(10, 2)
    assert counted(slow, Histogram({0.1: 5, 0.75: 8}, 10)) == Counts(10, 2)
    assert counted(slow, Counts(3, 1)) == Counts(3, 1)
    busy = GateSpec("cpu", kind="gauge", limit=0.8)
    assert counted(busy, Histogram({0.5: 1, 0.9: 2}, 2)) == Counts(2, 1)


def failing_beside(folder, **more):
    """What a rollout left of its customers and failed requests."""
    part = Part(
        arm="candidate",
        tier="high",
        requests=300,
        failures=29,
        largest_requests=30,
        largest_failures=12,
    )
    failure = Failure(
        t=1795255205.0,
        id="<i>7f3a",
        method="POST",
        path="/<script>alert(1)</script>",
        status=503,
        flags="UT",
    )
    kept = Failing(since=0, until=9, parts=(part,), count=41, requests=(failure,), **more)
    (folder / "failing.json").write_text(kept.model_dump_json())


def test_one_customers_part_and_failed_requests_are_told_later(finished):
    _, folder = finished(0.2)
    failing_beside(folder)
    text = explained("v2")
    assert "note: one customer made 41.4 % of the failures among high in the candidate" in text
    assert "one customer made 41.4 % of the failures in the candidate among high (12 of 29)" in text
    assert "failed requests of the candidate: 41 in the proxy's log" in text
    assert "2026-11-21T10:00:05Z <i>7f3a POST /<script>alert(1)</script> 503 UT" in text
    told = json.loads(explained("v2", "--json"))
    assert told["failing"]["parts"][0]["largest_failures"] == 12
    assert told["warning"].startswith("one customer made 41.4 %")


def test_paths_and_ids_of_customers_stay_text_on_the_page(finished, tmp_path):
    _, folder = finished(0.2)
    failing_beside(folder)
    explained("v2", "--html", str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert "/&lt;script&gt;alert(1)&lt;/script&gt;" in text and "&lt;i&gt;7f3a" in text
    assert "<script" not in text and "<i>7f3a" not in text
    assert "41.4 %" in text


def test_what_is_not_known_of_customers_says_why(finished):
    _, folder = finished(0.2)
    failing_beside(folder, requests_unknown="the log is gone", parts_unknown="Prometheus did not answer")
    text = explained("v2")
    assert "are not known: the log is gone" in text and "is not known: Prometheus did not answer" in text


def test_what_no_rollout_kept_is_asked_for_or_says_why_it_cannot_be(finished, recorded):
    finished(0.2)
    text = explained("v2")
    assert "the largest customer's part is not known: " in text
    assert "are not known: the proxy keeps no log" in text
    assert "not kept beside this evidence" in explained(*recorded)  # a file alone belongs to no rollout


def test_the_page_speaks_both_languages_and_opens_in_the_one_asked_for(recorded, tmp_path):
    pages = {}
    for language in ("en", "zh"):
        explained(*recorded, "--html", str(tmp_path / "page.html"), "--language", language)
        pages[language] = (tmp_path / "page.html").read_text()
    for text in pages.values():
        assert "错误率：错误，候选版本 1 %（1,000 中有 10），稳定版本 0.105 %（19,000 中有 20）" in text
        assert "次发布中出现如此强的证据不到 1 次" in text
        assert "rolled back: errors: 1 % (10 of 1,000)" in text
    assert 'id="en" checked' in pages["en"] and 'id="zh" checked' in pages["zh"]
    assert '<html lang="zh">' in pages["zh"] and "已回滚</title>" in pages["zh"]


@pytest.mark.parametrize(
    "kind", ["error-ratio", "absolute-margin", "slo", "latency", "delay", "conversion", "service", "gauge"]
)
def test_every_kind_of_gate_has_its_chinese_words(kind):
    spec = GateSpec("g", kind=kind, limit=0.5)
    for text in (words.hypothesis(spec), words.subject(spec), words.worth(spec, 5.0)):
        assert text and any("\u4e00" <= each <= "\u9fff" for each in text)
    assert "148" in words.worth(spec, 5.0)


def test_reasons_and_dispersion_are_told_in_chinese_and_kept_where_unknown():
    assert words.left_out("spans a change of weights") == "区间内流量权重有变化"
    assert words.left_out("the clock was set back by 5 s") == "时钟被回拨（the clock was set back by 5 s）"
    assert words.left_out("a reason of somebody's own") == "a reason of somebody's own"
    assert words.dispersion_from("plan") == "计划给定"
    assert words.dispersion_from("measured from 27 min of 24 clusters") == "实测：from 27 min of 24 clusters"
    assert words.dispersion_from("assumed: no history") == "假定：no history"
    assert words.dispersion_from("assumed") == "假定"


def test_what_was_left_out_is_drawn_where_it_was(recorded):
    gate = json.loads(explained(*recorded, "--json"))["gates"][0]
    assert gate["gaps"] == [{"start": 5.0, "end": 10.0, "why": "the counters went back"}]


def test_the_part_that_was_excluded_stands_beside_its_limit(recorded):
    assert "25 % of those since the last step (above 50 % it is not evidence)" in explained(*recorded)
    told = json.loads(explained(*recorded, "--json"))
    assert (told["gates"][0]["excluded_share"], told["max_excluded"]) == (0.25, 0.5)
