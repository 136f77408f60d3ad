"""A release that somebody else shifts: what huidu would have done, and that nothing is moved."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import requests
import yaml
from starlette.applications import Starlette

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import ConfigError, StateError, UsageError
from huidu.foundation.journal import Journal
from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Counts
from rollout.observe import begin
from rollout.observe.account import account, last_lines, rows
from rollout.observe.begin import Order, place_of
from rollout.observe.fold import observed
from rollout.observe.shares import Flow, Held, shifted
from rollout.observe.watcher import Outside, Watcher, stated_share
from rollout.plan.file import parse_plan
from rollout.routers.router import Split
from rollout.serve.readings import Readings
from rollout.serve.server import beside, listening
from rollout.serve.verdicts import Verdicts
from rollout.target import Target

ARGO_WEB = "/v1/verdict?name=v2"


class Somebody:
    """Argo, Flagger, a person: sets weights at its times, whatever huidu thinks."""

    def __init__(self, stage, steps):
        self.stage, self.steps = stage, dict(steps)

    def __call__(self):
        now = self.stage.clock.now() - 1_700_000_000
        for t in [t for t in self.steps if t <= now]:
            weight = self.steps.pop(t)
            self.stage.router.write(Split(dict.fromkeys(("high", "standard"), weight), "s", f"somebody-{t}"))
        return False


class Wavering:
    """Counts as people make them: a twentieth more or less, and both shares in the look of a change."""

    def __init__(self, stage):
        self.stage, self.before, self.sign = stage, 0.0, 1

    def look(self, state, now):
        look = self.stage.world.look(state, now)
        served = self.stage.router.served.weights["high"] / 10_000
        part = (self.before + served) / 2
        self.before, self.sign = served, -self.sign
        canary = part if part in (0, 1) else part * (1 + 0.05 * self.sign)
        return dataclasses.replace(
            look, intervals=tuple(self._drawn(each, canary) for each in look.intervals)
        )

    def _drawn(self, interval, part):
        n = interval.canary.total + interval.baseline.total
        canary = float(round(n * part))
        return dataclasses.replace(interval, canary=Counts(canary, 0.0), baseline=Counts(n - canary, 0.0))


@pytest.fixture
def observing(stage, tmp_path):
    """An observation of the virtual world, in which somebody takes `steps`: second -> basis points."""

    def make(steps, share=None, name="v2", stop=None, weights=lambda: None, eyes=None):
        folder = tmp_path / "observations" / name
        journal = Journal.open(folder / "journal.sqlite", stage.clock)
        started = next(iter(stage.journal.events())).data
        journal.append("started", mode="observed", **started)
        somebody = Somebody(stage, steps)
        outside = Outside(
            journal,
            eyes or stage.world,
            stage.evidence,
            stage.clock,
            stage.lines,
            stop or somebody,
            share,
            weights,
        )
        return Watcher(name, stage.plan, stage.ladder, outside), journal

    return make


def watched(observing, steps, until=300, **options):
    watcher, journal = observing(steps, **options)
    outcome = watcher.watch(1_700_000_000 + until)
    facts = account(watcher.name, journal.events())
    return outcome, facts, journal


def test_a_bad_release_would_have_been_rolled_back_and_nothing_was_moved(stage, observing):
    stage.world.candidate_errors = 0.3
    outcome, facts, journal = watched(observing, {5: 1000, 60: 0}, until=90)
    assert outcome is Outcome.BAD and facts["outcome"] == "rollback"
    back = next(w for w in facts["would"] if w["act"] == "rollback")
    assert back["blamed"] == "errors" and 5 < back["t"] < 60
    after = facts["after_back"]
    assert after["requests"] > 0 and after["bad"] > 0
    assert after["seconds_until_taken_back"] == pytest.approx(61 - back["t"], abs=3)
    assert stage.router.served.version == "somebody-60"  # the last who wrote was somebody else
    assert {e.kind for e in journal.events()} <= {"started", "judging", "judged", "shifted", "would", "ended"}
    assert any("bad by errors" in text for text in last_lines(facts))


def test_a_good_release_is_widened_on_paper_once_per_share_and_promoted_at_the_end(observing):
    outcome, facts, _ = watched(observing, {5: 200, 120: 5000, 250: 10000}, until=600)
    assert outcome is Outcome.GOOD
    acts = [each["act"] for each in facts["would"]]
    assert acts == ["widen", "everybody", "promote"]
    assert facts["ended_because"] == "everybody has it"
    assert [round(s["share"], 2) for s in facts["shifts"]] == [0.02, 0.5, 1.0]


def test_opening_more_than_the_evidence_bears_is_told(observing):
    _, facts, _ = watched(observing, {5: 200, 8: 5000}, until=30)
    first, second = facts["shifts"]
    assert not first["ahead"] and second["ahead"] and second["borne"] < 0.5
    assert any("more than the evidence bore" in row[2] for row in rows(facts)[1])


def test_what_was_open_before_the_observation_began_is_nobodys_fault(observing):
    _, facts, _ = watched(observing, {0: 5000}, until=30)
    assert [s["ahead"] for s in facts["shifts"]] == [False]


def test_the_share_may_be_told_by_a_selector(stage, observing):
    _, facts, _ = watched(
        observing, {5: 500}, until=30, share=lambda: stage.router.served.weights["high"] / 10000
    )
    assert [s["share"] for s in facts["shifts"]] == [0.05]


def test_a_proxy_is_asked_what_it_serves_and_no_step_is_missed_or_seen_twice(stage, observing):
    stage.world.rate = {"high": 20.0, "standard": 30.0}  # so little that counts alone would waver
    steps = {5: 200, 15: 210, 25: 600, 45: 1800}
    _, facts, _ = watched(observing, steps, until=60, weights=lambda: stage.router.served.weights)
    assert [s["share"] for s in facts["shifts"]] == pytest.approx([0.02, 0.021, 0.06, 0.18])
    assert [s["before"] for s in facts["shifts"]] == pytest.approx([0.0, 0.02, 0.021, 0.06])


def test_a_proxy_that_does_not_say_what_it_serves_leaves_it_to_the_traffic(stage, observing):
    silent = lambda: stage.clock.now() > 1_700_000_000 + 20  # noqa: E731
    _, facts, _ = watched(
        observing,
        {5: 500, 40: 5000},
        until=80,
        weights=lambda: None if silent() else stage.router.served.weights,
    )
    assert [round(s["share"], 2) for s in facts["shifts"]] == [0.05, 0.5]


@pytest.mark.parametrize(
    ("silent_from", "silent_for"),
    [(40, 1.5), (41, 1.5), (40, 3), (39, 3)],
    ids=["at the change", "just after it", "for a few looks", "before and after"],
)
def test_a_change_while_a_proxy_is_silent_for_a_moment_is_told_once_and_exactly(
    stage, observing, silent_from, silent_for
):
    began = 1_700_000_000 + silent_from
    silent = lambda: began < stage.clock.now() < began + silent_for  # noqa: E731
    _, facts, _ = watched(
        observing,
        {5: 500, 40: 5000},
        until=80,
        weights=lambda: None if silent() else stage.router.served.weights,
        eyes=Wavering(stage),
    )
    assert [s["share"] for s in facts["shifts"]] == [0.05, 0.5]


def test_a_change_told_by_the_traffic_is_not_told_again_by_proxies_that_answer_later(stage, observing):
    silent = lambda: 20 < stage.clock.now() - 1_700_000_000 < 60  # noqa: E731
    _, facts, journal = watched(
        observing,
        {5: 500, 40: 5000},
        until=80,
        weights=lambda: None if silent() else stage.router.served.weights,
        eyes=Wavering(stage),
    )
    first, second = facts["shifts"]
    assert first["share"] == 0.05 and second["t"] == pytest.approx(40, abs=3)
    assert observed(journal.events()).weights == {
        "high": 5000,
        "standard": 5000,
    }  # as they say, not as counted


@pytest.mark.parametrize("back", [0, 500])
def test_what_was_taken_back_while_a_proxy_was_silent_is_told(stage, observing, back):
    silent = lambda: 20 < stage.clock.now() - 1_700_000_000 < 45.1  # noqa: E731
    _, facts, _ = watched(
        observing,
        {5: 500, 40: 5000, 45: back},
        until=55,
        weights=lambda: None if silent() else stage.router.served.weights,
        eyes=Wavering(stage),
    )
    assert [s["share"] for s in facts["shifts"]] == [0.05, pytest.approx(0.5, abs=0.3), back / 1e4]


def test_what_is_changed_after_the_proxies_answer_again_is_another_change(stage, observing):
    silent = lambda: 20 < stage.clock.now() - 1_700_000_000 < 60  # noqa: E731
    _, facts, _ = watched(
        observing,
        {5: 500, 40: 5000, 70: 6000},
        until=80,
        weights=lambda: None if silent() else stage.router.served.weights,
        eyes=Wavering(stage),
    )
    assert [s["share"] for s in facts["shifts"]] == [0.05, pytest.approx(0.5, abs=0.05), 0.6]


def test_a_fleet_that_takes_a_change_one_after_the_other_is_told_of_once(stage, observing):
    answers = iter([{"high": 0, "standard": 0}] * 5 + [None] * 3)  # None: they disagree
    said = {"high": 5000, "standard": 5000}
    watcher, journal = observing(
        {4: 2500, 6: 5000}, weights=lambda: next(answers, said), eyes=Wavering(stage)
    )
    watcher.watch(1_700_000_000 + 20)
    assert [s["share"] for s in account("v2", journal.events())["shifts"]] == [0.5]


def test_going_on_with_an_observation_tells_no_change_that_was_told_before(stage, observing):
    watcher, journal = observing({5: 500}, eyes=Wavering(stage))
    watcher.watch(1_700_000_000 + 40)
    told = len(account("v2", journal.events())["shifts"])
    again = Watcher("v2", stage.plan, stage.ladder, watcher._out)
    for _ in range(3):
        stage.clock.sleep(1)
        again.turn()
    assert len(account("v2", journal.events())["shifts"]) == told == 1


def test_only_the_weights_of_one_cohort_count_for_its_part_of_the_traffic(stage, observing):
    weights = {"high": 0, "standard": 0}
    watcher, journal = observing({}, weights=lambda: weights)
    for _ in range(3):
        watcher.turn()
        stage.clock.sleep(1)
    weights["high"] = 1000
    watcher.turn()
    (shifted_,) = account("v2", journal.events())["shifts"]
    assert shifted_["share"] == pytest.approx(0.1 * 200 / 500)


def test_a_selector_that_gives_no_part_of_one_is_refused_with_a_hint():
    assert stated_share([0.25], "w") == 0.25
    for values in ([], [25.0], [0.1, 0.2], [float("nan")]):
        with pytest.raises(StateError, match="/ 100"):
            stated_share(values, "flagger_canary_weight")


def test_a_stopped_observation_goes_on_where_it_was(stage, observing, tmp_path):
    watcher, journal = observing({5: 500})
    watcher.watch(1_700_000_000 + 40)
    before = watcher.state
    events = list(journal.events())
    with Journal.open(tmp_path / "again" / "journal.sqlite", stage.clock) as copy:
        for event in events[:-1]:
            copy.append(event.kind, **event.data)
        again = Watcher("v2", stage.plan, stage.ladder, dataclasses.replace(watcher._out, journal=copy))
        assert again.state.share == before.share and again._judgement is not None
        again.turn()
        stage.clock.sleep(1)
        again.turn()
        verdict = again._verdict
    assert not any("note:" in said for said in stage.lines.said)  # the same log E from the evidence
    assert verdict.gates["errors"].canary.total >= before.last["gates"]["errors"]["canary"]["total"]


def test_blindness_would_have_been_a_retreat_and_is_no_blame(stage, observing):
    stage.world.silent = lambda now: now > 1_700_000_000 + 30
    outcome, facts, _ = watched(observing, {5: 500}, until=200)
    assert outcome is Outcome.NOT_EVIDENCE and facts["outcome"] == "retreat"
    assert facts["would"][-1]["blamed"] is None


@pytest.mark.parametrize(
    ("before", "now", "moved"),
    [
        (Flow(0, 0), Flow(0, 100), False),
        (Flow(0, 0), Flow(5, 95), True),
        (Flow(0, 1000), Flow(1, 99), True),
        (Flow(50, 950), Flow(6, 94), False),  # chance
        (Flow(500, 9500), Flow(200, 800), True),
        (Flow(500, 9500), Flow(58, 942), False),  # more than chance, and less than a quarter
        (Flow(500, 500), Flow(0, 100), True),
        (Flow(100, 0), Flow(100, 0), False),
        (Flow(100, 0), Flow(99, 1), True),
    ],
)
def test_a_change_of_share_is_told_from_the_traffic(before, now, moved):
    assert shifted(Held({"all": before}), {"all": now}) is moved


# Which plans need no router

NO_ROUTE = """
gates:
  errors:
    kind: error-ratio
    floor: 1%
    metrics: {total: ['rq{v="{release}"}'], bad: ['rq{v="{release}",code="500"}']}
observation: {prometheus: "http://127.0.0.1:1", traffic: {total: ['rq{v="{release}"}']}}
"""


def test_a_plan_without_a_route_is_judged_by_release(tmp_path):
    plan = parse_plan(NO_ROUTE, "p.yaml")
    order = Order(tmp_path / "p.yaml", "v2", "v1", "v2")
    place = place_of(plan, order, tmp_path / "stack.json")
    assert list(place.cohorts) == ["all"] and place.stable == "v1"


@pytest.mark.parametrize(
    ("text", "stable", "error", "match"),
    [
        (NO_ROUTE, None, UsageError, "--stable"),
        (NO_ROUTE.replace('prometheus: "http://127.0.0.1:1", ', ""), "v1", ConfigError, "Prometheus"),
        (
            NO_ROUTE.replace("traffic: {total: ['rq{v=\"{release}\"}']}", "poll: 1s"),
            "v1",
            ConfigError,
            "traffic",
        ),
        (
            'gates: {e: {kind: slo, floor: 1%}}\nobservation: {prometheus: "http://x"}',
            "v1",
            ConfigError,
            "clusters",
        ),
    ],
)
def test_what_a_plan_without_a_route_lacks_is_named(tmp_path, text, stable, error, match):
    order = Order(tmp_path / "p.yaml", "v2", stable, "v2")
    with pytest.raises(error, match=match):
        place_of(parse_plan(text, "p.yaml"), order, tmp_path / "stack.json")


STACK = Target((), "arms", {}, "http://p", 1.0, "v1", "v4")


@pytest.mark.parametrize(
    ("release", "stable", "match"),
    [
        ("v99", None, "the candidate arm runs 'v4', not 'v99'"),
        ("v4", "v98", "the stable arm runs 'v1', not 'v98'"),
        ("v1", None, "the candidate arm runs 'v4', not 'v1'"),
        ("v4", None, ""),
        ("v4", "v1", ""),
    ],
)
def test_what_a_stacks_clusters_count_is_said_of_no_other_release(
    tmp_path, monkeypatch, release, stable, match
):
    monkeypatch.setattr(begin.Target, "of", lambda plan, file: STACK)
    (tmp_path / "stack.json").write_text("{}")
    plan = parse_plan("gates: {e: {kind: slo, floor: 1%}}", "p.yaml")
    order = Order(tmp_path / "p.yaml", release, stable, release)
    if not match:
        assert place_of(plan, order, tmp_path / "stack.json").stable == "v1"
        return
    with pytest.raises(UsageError, match=match):
        place_of(plan, order, tmp_path / "stack.json")


def test_releases_that_no_stack_tells_are_taken_as_they_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(begin.Target, "of", lambda plan, file: STACK)
    route = "route: {router: envoy, proxies: [{file: f, admin: '127.0.0.1:1'}], route_config: arms, cohorts: "
    route += "{all: {route: r, stable: s, candidate: c}}}"
    text = f"gates: {{e: {{kind: slo, floor: 1%}}}}\nobservation: {{prometheus: 'http://x'}}\n{route}"
    order = Order(tmp_path / "p.yaml", "v99", "v98", "v99")
    assert place_of(parse_plan(text, "p.yaml"), order, tmp_path / "stack.json").stable == "v98"


# What other controllers are answered. The requests have the documented form of each.


@pytest.fixture
def asked(stage, observing, tmp_path):
    """A client of /v1/verdict on the journal of an observation that has run for `until` seconds."""

    def make(steps, until=40, errors=0.0, later=0.0):
        stage.world.candidate_errors = errors
        watcher, journal = observing(steps)
        while stage.clock.now() < 1_700_000_000 + until:
            watcher.turn()
            stage.clock.sleep(1)
            watcher._out.stop()
        journal.close()
        clock = VirtualClock(stage.clock.now() + later)
        readings = Readings(tmp_path / "observations", clock)
        app = Starlette(routes=Verdicts((readings,), clock).routes())
        listener = running.enter_context(listening(0))
        running.enter_context(beside(listener, lambda stopping: app))
        return Client(f"http://127.0.0.1:{listener.getsockname()[1]}")

    with contextlib.ExitStack() as running:
        yield make


@dataclasses.dataclass
class Client:
    """Asks a running server."""

    address: str

    def get(self, path, **options):
        return requests.get(self.address + path, timeout=10, **options)

    def post(self, path, content, headers=None):
        return requests.post(self.address + path, data=content, headers=headers, timeout=10)


def argo(client, address=ARGO_WEB):
    """As Argo Rollouts' web metric provider asks: GET, a bearer header; the body is `result`."""
    answer = client.get(address, headers={"Authorization": "Bearer x"})
    assert answer.headers["content-type"].startswith("application/json")
    result = answer.json()
    if answer.status_code != 200:
        return "Error"
    if result["decision"] == "advance":  # successCondition
        return "Successful"
    return "Failed" if result["decision"] == "rollback" else "Inconclusive"  # failureCondition, else neither


def flagger(client, hook, name="v2"):
    """As Flagger's CallWebhook posts it."""
    payload = {
        "name": "podinfo",
        "namespace": "test",
        "phase": "Progressing",
        "checksum": "85d557f47b",
        "metadata": {"observation": name},
    }
    answer = client.post(
        f"/v1/verdict?hook={hook}", content=json.dumps(payload), headers={"content-type": "application/json"}
    )
    return answer.status_code, answer.text


def test_before_anybody_met_it_the_first_share_may_be_opened(asked):
    client = asked({}, until=10)
    assert argo(client) == "Successful"
    assert flagger(client, "confirm-rollout")[0] == 200
    assert flagger(client, "confirm-traffic-increase")[0] == 200
    assert flagger(client, "confirm-promotion")[0] == 403
    assert flagger(client, "rollback")[0] == 403


def test_hold_is_inconclusive_and_no_failure(asked, stage):
    stage.world.rate = {"high": 10.0, "standard": 10.0}
    client = asked({5: 500}, until=8)
    assert argo(client) == "Inconclusive"
    assert flagger(client, "rollout")[0] == 200
    assert flagger(client, "confirm-traffic-increase")[0] == 403
    assert flagger(client, "rollback")[0] == 403


def test_a_proved_share_lets_them_go_on(asked):
    client = asked({5: 500}, until=90)
    assert argo(client) == "Successful"
    assert argo(client, f"{ARGO_WEB}&percent=10") == "Successful"
    assert argo(client, f"{ARGO_WEB}&percent=100") == "Inconclusive"
    assert flagger(client, "confirm-traffic-increase")[0] == 200
    assert flagger(client, "confirm-promotion")[0] == 403


@pytest.mark.slow
def test_everybody_needs_its_own_proof(asked):
    client = asked({5: 500, 60: 5000}, until=200)
    assert flagger(client, "confirm-promotion")[0] == 200
    assert argo(client, f"{ARGO_WEB}&percent=100") == "Successful"


def test_a_bad_release_fails_both(asked):
    client = asked({5: 1000}, errors=0.3)
    assert argo(client) == "Failed"
    status, text = flagger(client, "rollout")
    assert status == 403 and "errors" in text
    assert flagger(client, "rollback")[0] == 200
    assert flagger(client, "confirm-promotion")[0] == 403
    assert flagger(client, "post-rollout")[0] == flagger(client, "event")[0] == 200


def test_a_verdict_of_which_nobody_takes_care_any_more_is_none(asked):
    client = asked({5: 500}, until=90, later=120)
    assert argo(client) == "Inconclusive"
    found = client.get(ARGO_WEB).json()
    assert found["decision"] == "not-evidence" and "nobody has looked for" in found["sentence"]
    assert flagger(client, "confirm-traffic-increase")[0] == flagger(client, "confirm-rollout")[0] == 403
    assert flagger(client, "rollout")[0] == 200


def test_of_an_observation_and_a_rollout_of_one_name_the_one_under_way_is_meant(tmp_path):
    clock = VirtualClock(1_700_000_100.0)
    for room, ended, release in (("observations", True, "old"), ("rollouts", False, "new")):
        with Journal.open(tmp_path / room / "v2" / "journal.sqlite", clock) as journal:
            journal.append("started", release=release, stable_release="v1", cohorts=["high"])
            if ended:
                journal.append("ended", outcome="held", sentence="x", blamed=None)
    readings = [Readings(tmp_path / room, clock) for room in ("observations", "rollouts")]
    for order in (readings, readings[::-1]):
        found, problem = Verdicts(order, clock)._find("v2")
        assert found.story.state.release == "new" and not problem


def test_going_back_is_final_even_when_nobody_looks(asked):
    assert argo(asked({5: 1000}, errors=0.3, later=3600)) == "Failed"


def test_what_is_asked_wrongly_is_an_error_not_a_failure(asked, tmp_path):
    client = asked({}, until=3)
    assert argo(client, "/v1/verdict?name=v9") == "Error"
    assert argo(client, "/v1/verdict?name=v2&percent=lots") == "Error"
    assert argo(client, "/v1/verdict") in ("Successful", "Inconclusive")  # the only one under way
    assert client.post("/v1/verdict?hook=nonsense", content="{}").status_code == 400
    assert client.post("/v1/verdict?hook=rollout", content="[").status_code == 400
    assert client.post("/v1/verdict?hook=rollout", content="x" * 70000).status_code == 413
    shutil.copytree(tmp_path / "observations" / "v2", tmp_path / "observations" / "v3")
    assert flagger(client, "rollout", "v9")[0] == 404


# The configurations in the page are what is asked above.


def documented(kind):
    page = (Path(__file__).parents[2] / "docs" / "observe.md").read_text(encoding="utf-8")
    found = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", page, re.S | re.M)]
    return next(each for each in found if each.get("kind") == kind)


@pytest.mark.parametrize(("errors", "holds"), [(0.0, "successCondition"), (0.3, "failureCondition")])
def test_argos_configuration_in_the_page_asks_what_is_answered(asked, errors, holds):
    (metric,) = documented("AnalysisTemplate")["spec"]["metrics"]
    path = metric["provider"]["web"]["url"].split("8765", 1)[1]
    path = path.replace("{{ args.release }}", "v2").replace("{{ args.percent }}", "10")
    result = asked({5: 500}, until=60, errors=errors).get(path).json()
    for condition in ("successCondition", "failureCondition"):
        field, value = re.fullmatch(r'result\.(\w+) == "([\w-]+)"', metric[condition]).groups()
        assert (result[field] == value) is (condition == holds)


def test_flaggers_configuration_in_the_page_asks_what_is_answered(asked):
    client = asked({5: 1000}, errors=0.3)
    webhooks = documented("Canary")["spec"]["analysis"]["webhooks"]
    passed = {}
    for hook in webhooks:
        payload = {
            "name": "podinfo",
            "namespace": "test",
            "phase": "Progressing",
            "metadata": hook["metadata"],
        }
        answer = client.post(hook["url"].split("8765", 1)[1], json.dumps(payload))
        passed[hook["type"]] = answer.status_code == 200
        assert f"hook={hook['type']}" in hook["url"]
    assert [kind for kind, ok in passed.items() if ok] == ["rollback"]
