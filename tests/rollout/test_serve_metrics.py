"""Metrics of controllers, told from journals, and the alerts on them: promtool says when each one fires."""

from __future__ import annotations

import json
import subprocess

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from huidu.foundation.clock import VirtualClock
from rollout.around import plan_of
from rollout.commands import rollout
from rollout.paper_commands import ALERTS
from rollout.serve.metrics import exposition
from rollout.serve.readings import Readings


@pytest.fixture
def scraped(tmp_path, staged):
    """Samples by (name, labels) as Prometheus would parse them, `later` seconds after the last event."""

    def make(errors=0.0, until=None, silent=None, later=0.0):
        stage = staged("name: virtual", "name: virtual")
        stage.world.candidate_errors = errors
        if silent is not None:
            stage.world.silent = lambda now: now > 1_700_000_000 + silent
        stop = (lambda: stage.clock.now() > 1_700_000_000 + until) if until else (lambda: False)
        stage.controller(stop=stop).drive()
        stage.journal.close()
        clock = VirtualClock(stage.clock.now() + later)
        readings = Readings(stage.folder.parent, clock).all()
        state = readings[0].story.state
        plans = {state.started["plan_hash"]: plan_of(state)}
        found = {}
        for family in text_string_to_metric_families(exposition(readings, plans, clock.now())):
            assert family.documentation
            for sample in family.samples:
                found[sample.name, sample.labels.get("kind") or sample.labels.get("gate")] = sample
        return found

    return make


def test_a_rollback_is_counted_and_its_gate_is_at_its_bound(scraped):
    found = scraped(errors=0.3)
    assert found["huidu_rollout_events_total", "rollback"].value == 1
    assert found["huidu_rollout_gate_level", "errors"].value >= 1
    assert found["huidu_rollout_info", None].labels["outcome"] == "rolled-back"
    assert found["huidu_rollouts", None].labels == {"outcome": "rolled-back"}
    assert ("huidu_rollout_lag_seconds", None) not in found  # nobody is late after the end


def test_a_rest_and_its_age(scraped):
    found = scraped(until=12, later=100)
    assert found["huidu_rollout_info", None].labels["outcome"] == "paused"
    assert found["huidu_rollout_look_age_seconds", None].value >= 100
    assert found["huidu_rollout_poll_seconds", None].value == 1
    assert found["huidu_rollout_lag_seconds", None].value == pytest.approx(0, abs=0.3)
    assert found["huidu_rollout_share", None].value > 0


def test_blindness_is_measured_while_customers_are_on_the_candidate(scraped):
    found = scraped(until=40, silent=12)
    assert found["huidu_rollout_blind_seconds", None].value > 20
    assert found["huidu_rollout_blind_limit_seconds", None].value == 60
    assert found["huidu_rollout_events_total", "blind"].value == 1


def test_a_hostile_name_stays_a_label(staged, tmp_path):
    stage = staged("name: virtual", 'name: "a\\"b\\\\c"')
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_003).drive()
    stage.journal.close()
    text = exposition(Readings(stage.folder.parent, stage.clock).all(), {}, stage.clock.now())
    list(text_string_to_metric_families(text))


# Alerts

GOING = 'rollout="v2"'


def series(name, values, labels=GOING):
    return {"series": f"{name}{{{labels}}}", "values": values}


RUNNING = series("huidu_rollout_info", "1x60", f'{GOING},release="v2",outcome="running"')
SEEN = series("huidu_rollout_journal_readable", "1x60")
CASES = {
    "RolloutUnattended": (
        [RUNNING, series("huidu_rollout_attended", "1 1 0x60"), series("huidu_rollout_share", "0.05x60")],
        "1m",
        "5m",
    ),
    "RolloutNotLooking": (
        [
            series("huidu_rollout_attended", "1x60"),
            series("huidu_rollout_poll_seconds", "5x60"),
            series("huidu_rollout_look_age_seconds", "1 1 60x60"),
        ],
        "1m",
        "5m",
    ),
    "RolloutBlind": (
        [
            series("huidu_rollout_blind_limit_seconds", "300x60"),
            series("huidu_rollout_blind_seconds", "0 60 120 180 240"),
        ],
        "2m",
        "4m",
    ),
    "RolloutLate": (
        [series("huidu_rollout_poll_seconds", "5x60"), series("huidu_rollout_lag_seconds", "0 9x60")],
        "2m",
        "10m",
    ),
    "RolloutHeld": (
        [series("huidu_rollout_info", "1x60", f'{GOING},release="v2",outcome="held"')],
        "5m",
        "20m",
    ),
    "RolloutWriteRefused": (
        [series("huidu_rollout_events_total", "0 0 1x60", f'{GOING},kind="failed"')],
        "1m",
        "4m",
    ),
    "RolloutRolledBack": (
        [
            series("huidu_rollout_info", "1x10 _x60", f'{GOING},release="v2",outcome="running"'),
            series("huidu_rollout_info", "_x11 1x60", f'{GOING},release="v2",outcome="rolled-back"'),
        ],
        "8m",
        "14m",
    ),
    "RolloutJournalUnreadable": ([series("huidu_rollout_journal_readable", "1 0x60")], "1m", "4m"),
    "RolloutPageGone": ([series("up", "1 1 0x60", 'job="huidu"'), SEEN], "1m", "9m"),
}


@pytest.mark.server
def test_each_alert_fires_when_it_should_and_not_before(program, tmp_path):
    promtool = program("prometheus").with_name("promtool")
    rules = tmp_path / "alerts.yaml"
    rules.write_text(CliRunner().invoke(rollout, ["alerts"]).stdout)
    assert rules.read_text() == ALERTS.read_text()
    checked = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tests = []
    for name, (given, before, after) in CASES.items():
        counts = [
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                "eval_time": before,
                "exp_samples": [],
            },
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                "eval_time": after,
                "exp_samples": [{"labels": "{}", "value": 1}],
            },
        ]
        tests.append({"name": name, "interval": "1m", "input_series": given, "promql_expr_test": counts})
    file = tmp_path / "tests.json"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "30s", "tests": tests}))
    told = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_has_a_case():
    names = [
        line.split()[-1] for line in ALERTS.read_text().splitlines() if line.strip().startswith("- alert:")
    ]
    assert names == list(CASES)


# Papers


@pytest.fixture
def rolled_back(staged, tmp_path, monkeypatch):
    """A workspace with a rollout v2 that was rolled back."""
    stage = staged("name: virtual", "name: virtual")
    stage.world.candidate_errors = 0.3
    stage.controller().drive()
    stage.journal.close()
    home = tmp_path / "home"
    (home / "rollouts").mkdir(parents=True)
    stage.folder.rename(home / "rollouts" / "v2")
    monkeypatch.setenv("HUIDU_HOME", str(home))


def test_a_rollout_as_one_file_needs_nothing_else(rolled_back, tmp_path):
    for language, word in (("en", "rolled back"), ("zh", "已回滚")):
        out = tmp_path / f"{language}.html"
        result = CliRunner().invoke(rollout, ["page", "v2", "--out", str(out), "--lang", language])
        assert result.exit_code == 0, result.exception
        text = out.read_text()
        assert word in text and "<script" not in text and "<style>" in text
        assert "href=" not in text and 'src="' not in text and "url(" not in text and "/abort" not in text


def test_watching_tells_each_turn_once_and_ends_with_the_rollout(rolled_back):
    told = CliRunner().invoke(rollout, ["status", "v2", "--watch"])
    assert told.exit_code == 0, told.exception
    assert told.stderr.count("rolled back: ") == 1 and told.stderr.count("started") == 1
