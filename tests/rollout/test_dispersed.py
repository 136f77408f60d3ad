"""Dispersion measured before the release: from stable's clusters, journaled once, told where it is used."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import Unreachable
from huidu.foundation.prometheus import NoData, Series
from huidu.model.evidence import Counts, Interval
from rollout.dispersed import Dispersion, applied, header_of, judged_with, levels_of, of_header
from rollout.evidence_file import Header, read_evidence
from rollout.evidence_log import FileEvidence
from rollout.history import LEAST, History
from rollout.plan import CohortArms, judge_config
from rollout.plan.file import parse_plan
from rollout.record import report
from rollout.replay import config_of, replay
from rollout.selectors import Selector

NOW = 1_700_000_000.0
PARTS = tuple(f"s{number}" for number in range(2, 10))
ARMS = {"high": CohortArms(route="r", stable="s1", candidate="c", stable_parts=PARTS)}
PLAN = """
gates:
  errors: {kind: error-ratio, floor: 1%}
  latency: {kind: latency, limit: 500ms}
  stated: {kind: slo, floor: 1%, dispersion: 2}
"""


class Scripted:
    """Answers windows from series, as a Prometheus that scrapes every five seconds would."""

    def __init__(self) -> None:
        self.series: list[Series] = []
        self.asked: list[str] = []
        self.down = False

    def add(self, name: str, growth: np.ndarray, **labels: str) -> None:
        t = NOW - 5.0 * np.arange(growth.size)[::-1]
        labels = {"__name__": name, "instance": "edge", **labels}
        self.series.append(Series(labels, tuple(zip(t.tolist(), np.cumsum(growth).tolist(), strict=True))))

    def window(self, selector: str, seconds: float, at: float | None = None):
        self.asked.append(selector)
        if self.down:
            raise Unreachable("Prometheus did not answer")
        assert at == NOW and seconds == 1800, "all questions are answered for the same moment"
        named = re.match(r'\{__name__=~"([^"]*)",?', selector)
        metrics = named.group(1).split("|") if named else [Selector.parse(selector).metric]
        wanted = Selector.parse(f"any{{{selector[named.end() :]}" if named else selector)
        found = tuple(
            Series(each.labels, kept)
            for each in self.series
            if each.labels["__name__"] in metrics and wanted.matches(each.labels)
            if (kept := tuple(s for s in each.samples if at - seconds < s[0] <= at))
        )
        return found or NoData(selector)


def site(bins: int, errors: float = 0.5, clump: int = 1, slow: float = 0.5) -> Scripted:
    """Nine clusters of 100 requests in 5 s; `errors` of them in clumps, `slow` above 500 ms in each bin."""
    rng = np.random.default_rng(4)
    prometheus = Scripted()
    shared = rng.poisson(1.0, bins)  # what the queue of all clusters suffers together
    for cluster in ARMS["high"].baseline:
        total, label = np.full(bins, 100.0), {"envoy_cluster_name": cluster}
        prometheus.add("envoy_cluster_upstream_rq_total", total, **label)
        bad = clump * rng.poisson(errors / clump, bins)
        prometheus.add("envoy_cluster_upstream_rq_xx", bad, envoy_response_code_class="5", **label)
        late = rng.poisson(slow * shared)
        for le, above in (("100", late + 5), ("500", late), ("+Inf", 0 * late)):
            prometheus.add("envoy_cluster_upstream_rq_time_bucket", total - above, le=le, **label)
    return prometheus


def measured(
    prometheus: Scripted, plan: str = PLAN, arms: dict[str, CohortArms] = ARMS
) -> dict[str, Dispersion]:
    return History(prometheus, parse_plan(plan, "p"), arms, "v1", VirtualClock()).measure(NOW)


def test_independent_errors_and_clumps_are_told_apart():
    plain, clumped = measured(site(360))["errors"], measured(site(360, clump=4))["errors"]
    assert plain.c == pytest.approx(1.15, abs=0.2) and plain.told == " from 30 min of 9 clusters"
    assert clumped.c == pytest.approx(4.5, abs=0.8)


def test_a_queue_that_all_clusters_share_is_seen_in_time():
    found = measured(site(360))["latency"]
    assert found.c == found.edges[0.5] > 3, "nine clusters suffer the same second together"
    assert set(found.edges) == {0.1, 0.5}


def test_what_the_plan_states_is_not_measured():
    prometheus = site(360)
    assert set(measured(prometheus)) == {"errors", "latency"}
    plan = parse_plan(PLAN, "p")
    config = applied(judge_config(plan, ("high",)), {"stated": Dispersion(9.0)})
    assert (config.gate("stated").c, config.gate("stated").dispersion_from) == (2.0, "plan")


@pytest.mark.parametrize(
    ("site", "arms", "told"),
    [
        (site(30), ARMS, "only 145 s of history"),
        (site(360, errors=0.005), ARMS, "30 are needed"),
        (Scripted(), ARMS, "only 0 s of history"),
        (
            site(360),
            {"high": CohortArms(route="r", stable="s1", candidate="c")},
            "not counted in 4 clusters or more",
        ),
    ],
)
def test_what_cannot_be_measured_is_assumed_and_says_why(site, arms, told):
    found = measured(site, arms=arms)["errors"]
    assert found.c is None and told in found.told
    config = applied(judge_config(parse_plan(PLAN, "p"), ("high",)), {"errors": found})
    assert config.gate("errors").c == 5.0
    assert config.gate("errors").dispersion_from == "assumed" + found.told


def test_a_young_stack_is_measured_over_the_time_there_is():
    found = measured(site(int(LEAST / 5) + 20))["errors"]
    assert found.c is not None and found.told == " from 7 min of 9 clusters"


def test_a_silent_prometheus_is_asked_once_and_delays_nothing():
    prometheus = site(360)
    prometheus.down = True
    found = measured(prometheus)
    assert len(prometheus.asked) == 1
    assert all(each.c is None and "did not answer" in each.told for each in found.values())


def test_the_first_error_of_a_cluster_and_a_restart_are_no_flood():
    prometheus = site(360)
    for number, each in enumerate(prometheus.series):
        if each.labels["__name__"].endswith("_xx"):
            t, values = zip(*each.samples, strict=True)
            restarted = [v + 1e6 if n < 100 else v for n, v in enumerate(values)]  # fell from a million to n
            prometheus.series[number] = Series(each.labels, tuple(zip(t, restarted, strict=True))[50:])
    assert measured(prometheus)["errors"].c < 400


def test_no_history_is_read_where_the_plan_says_so():
    prometheus = site(360)
    assert measured(prometheus, PLAN + "observation: {history: 0s}\n") == {}
    assert prometheus.asked == []


SERVICE = "gates:\n  service: {kind: service, floor: 0.1 %, dispersion: 1}\n"


def test_the_level_before_the_release_is_the_least_limit_of_the_whole_service(tmp_path):
    """A service of which 0.5 % always fails is not failing because of the release."""
    prometheus = site(360)
    found = measured(prometheus, SERVICE)
    assert found["service"].level == pytest.approx(0.005, rel=0.1) and found["service"].c is None
    plan = parse_plan(SERVICE, "p")
    judging = json.loads(json.dumps({"dispersion": {n: d.to_data() for n, d in found.items()}}))
    judged = judged_with(plan, ("high",), (), judging)
    assert (judged.gate("service").level, judged.gate("service").c) == (found["service"].level, 1.0)
    log = FileEvidence(tmp_path / "e.jsonl", Header(strata=("high",)))
    log.head(header_of(found), levels_of(found))
    log.append([Interval("service", "high", NOW, NOW + 5, Counts(500, 2), Counts(9500, 40))])
    log.close()
    again = config_of(plan, read_evidence(tmp_path / "e.jsonl"))
    assert again.gate("service") == judged.gate("service")


def test_an_incident_of_a_few_minutes_is_not_the_usual_level():
    prometheus = site(360, errors=0.0)
    for number, each in enumerate(prometheus.series):
        if each.labels["__name__"].endswith("_xx"):
            samples = tuple((t, max(0.0, 100.0 * min(n - 200, 60))) for n, (t, _) in enumerate(each.samples))
            prometheus.series[number] = Series(each.labels, samples)
    assert measured(prometheus, SERVICE)["service"].level == 0.0


FOUND = {
    "errors": Dispersion(1.8125, {}, " from 27 min of 9 clusters"),
    "latency": Dispersion(None, {0.1: 2.5, 0.25: 1.0000000001}, ": 3 bad events in 27 min, 30 are needed"),
}


def test_journal_and_header_carry_the_very_same_numbers():
    through = {name: Dispersion.from_data(json.loads(json.dumps(d.to_data()))) for name, d in FOUND.items()}
    assert through == FOUND
    plan = parse_plan(PLAN, "p")
    judged = judged_with(plan, ("high",), (), {"dispersion": {n: d.to_data() for n, d in FOUND.items()}})
    bare = judge_config(plan, ("high",))
    again = applied(bare, of_header(bare, json.loads(json.dumps(header_of(FOUND))), {}))
    for name in ("errors", "latency"):
        assert (judged.gate(name).c, judged.gate(name).edge_dispersion) == (
            again.gate(name).c,
            again.gate(name).edge_dispersion,
        )
    assert judged.gate("errors").dispersion_from == "measured from 27 min of 9 clusters"


@pytest.fixture
def unstated(staged):
    """A rollout whose plan does not state the dispersion of its gate."""
    made = staged("dispersion: 1, ", "")
    made.world.candidate_errors = 0.2
    return made


def test_a_rollout_is_judged_with_what_was_measured_and_so_is_its_replay(unstated, tmp_path):
    asked: list[float] = []

    def dispersed(now: float) -> dict[str, Dispersion]:
        asked.append(now)
        return {"errors": FOUND["errors"]}

    path = tmp_path / "evidence.jsonl"
    log = FileEvidence(path, Header(strata=("high", "standard")))
    until = unstated.clock.now() + 6
    stop = lambda: unstated.clock.now() > until  # noqa: E731
    unstated.controller(evidence=log, dispersed=dispersed, stop=stop).drive()
    log.close()
    log = FileEvidence(path, Header(strata=("high", "standard")))
    unstated.controller(evidence=log, dispersed=dispersed).drive()
    log.close()
    assert len(asked) == 1, "measured once, also when another process takes over"
    recording = read_evidence(path)
    assert recording.header is not None and recording.header.dispersion == {"errors": 1.8125}
    replayed = replay(config_of(unstated.plan, recording), recording)
    told = [event.data for event in unstated.journal.events() if event.kind == "judged"][-1]
    last = replayed.looks[-1].verdict.gates["errors"]
    assert last.log_e == pytest.approx(told["gates"]["errors"]["log_e"], abs=1e-9) and last.log_e > 4
    assert (last.dispersion, last.dispersion_from) == (1.8125, "measured")
    assert not any("the evidence up to line" in text for text in unstated.lines.said)
    assert any("errors 1.81 (measured from 27 min of 9 clusters)" in text for text in unstated.lines.said)
    facts = report("v2", unstated.journal.events())
    assert facts["dispersion"] == {"errors": {"c": 1.8125, "from": "measured from 27 min of 9 clusters"}}
