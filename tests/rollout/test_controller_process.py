"""The real thing, small: `huidu rollout run` as a process, a real Envoy, a real Prometheus, real requests."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.rollout.sites import SECRET

pytestmark = pytest.mark.server


def test_killed_in_every_stage_a_release_goes_on_and_is_promoted(site):
    killed: list[dict[str, int]] = []
    while True:
        process = site.start("run", str(site.plan()), "--release", "v2", "--json")

        def new_stage(process=process) -> bool:
            share = site.share()
            return process.poll() is not None or (share["cohort-high"] > 0 and share not in killed)

        site.until(new_stage)
        if process.poll() is not None:
            break
        killed.append(site.share())
        process.kill()
        process.communicate(timeout=10)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    facts = json.loads(out)
    shares = [each["share"] for each in facts["stages"]]
    assert len(killed) >= 3 and killed[-1] == {"cohort-high": 10_000, "cohort-rest": 10_000}
    assert facts["outcome"] == "promoted" and shares == sorted(shares) and len(set(shares)) == len(shares)
    assert "the evidence up to line" not in err, "replayed evidence must give the same log E"
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}, "stable serves everybody again"
    assert (site.folder / "promoted").exists()
    code, _, err = site.run("run", str(site.plan()), "--release", "v2")
    assert code == 2 and "--name" in err


def test_a_failing_release_is_rolled_back(site):
    site.edge.arms["candidate"].failing = 0.5
    code, out, err = site.run("run", str(site.plan()), "--release", "v2", "--json")
    assert code == 1, err
    facts = json.loads(out)
    assert facts["outcome"] == "rolled-back" and facts["blamed_gate"] == "errors"
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}
    assert facts["seconds_from_first_bad_request"] < 30
    code, out, _ = site.run("explain", "v2")
    assert code == 0 and "in the candidate against" in out


def test_a_release_that_fails_everything_never_meets_a_customer(site):
    site.edge.arms["candidate"].failing = 1.0
    code, out, err = site.run("run", str(site.plan(stage_zero=True)), "--release", "v2", "--json")
    assert code == 1, err
    facts = json.loads(out)
    assert facts["blamed_gate"] == "errors" and facts["exposed_customers"] == 0 and facts["stages"] == []
    assert facts["requests_canary"] == 0 < facts["requests_synthetic"]
    assert site.edge.arms["candidate"].customers == 0, "nobody but testers was sent to the candidate"
    time.sleep(0.5)  # one may still be on its way
    answered = site.edge.arms["candidate"].answered
    time.sleep(1)
    assert site.edge.arms["candidate"].answered == answered, "the synthetic requests end with the controller"


def test_a_good_release_earns_its_first_share_by_synthetic_requests(site):
    code, out, err = site.run("run", str(site.plan(stage_zero=True)), "--release", "v2", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["requests_synthetic"] > 15 and facts["requests_canary"] > 0
    assert site.edge.arms["stable"].testers > 15, "stable is tested beside it"
    for written in (site.folder / "home").rglob("*"):
        assert not written.is_file() or SECRET.encode() not in written.read_bytes(), "the secret stays secret"


def test_a_release_that_lacks_a_page_is_found_by_its_status(site):
    site.edge.arms["candidate"].lacking = "/web/leads"
    code, out, err = site.run("run", str(site.plan(stage_zero=True)), "--release", "v2", "--json")
    assert code == 1, err
    facts = json.loads(out)
    assert facts["blamed_gate"] == "synthetic" and "404 to POST /web/leads" in facts["sentence"]
    assert facts["exposed_customers"] == 0


def test_prometheus_stopped_and_back_again_holds_and_goes_on(site):
    process = site.start("run", str(site.plan("60s")), "--release", "v2")
    site.until(lambda: site.share()["cohort-high"] > 0)
    site.prometheus.stop()
    time.sleep(3)
    held = site.share()
    time.sleep(4)
    assert site.share() == held, "nothing moves without evidence"
    site.prometheus.start()
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err


def test_blind_for_too_long_gives_customers_back_and_blames_nobody(site):
    process = site.start("run", str(site.plan("8s")), "--release", "v2", "--json")
    site.until(lambda: site.share()["cohort-high"] > 0)
    site.prometheus.stop()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert json.loads(out)["outcome"] == "retreated" and json.loads(out)["blamed_gate"] is None
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}


def test_ctrl_c_pauses_and_abort_takes_back(site):
    process = site.start("run", str(site.plan()), "--release", "v2")
    site.until(lambda: site.share()["cohort-high"] > 0)
    code, _, err = site.run("run", str(site.plan()), "--release", "v2", "--name", "second")
    assert code == 2 and "another rollout controls this route" in err
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3 and "PAUSED" in err and "goes on" in err
    assert site.share()["cohort-high"] > 0
    code, out, _ = site.run("status", "--json")
    assert code == 0 and json.loads(out)[0]["outcome"] == "paused"
    code, _, err = site.run("abort", "--why", "changed our mind")
    assert code == 0, err
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}
    code, out, _ = site.run("history", "--json")
    assert "changed our mind" in json.loads(out)[0]["sentence"]


def test_nothing_is_changed_when_the_start_is_refused(site):
    before = site.edge.route_file.read_bytes()
    plan = site.plan()
    for old, new, told in (
        ("candidate-rest", "candidate-nobody", "candidate-nobody"),
        ("high: 20%", "high: 120%", "0 % to 100 %"),
        (site.edge.admin, "http://127.0.0.1:1", "does not answer"),
        ("cohort-rest", "cohort-none", "no route 'cohort-none'"),
    ):
        broken = site.folder / "broken.yaml"
        broken.write_text(plan.read_text().replace(old, new))
        for command in (["check", str(broken)], ["run", str(broken), "--release", "v2"]):
            code, _, err = site.run(*command)
            assert code == 2 and told in err, err
    assert site.edge.route_file.read_bytes() == before
    code, _, err = site.run("check", str(plan))
    assert code == 0, err


def test_chosen_customers_like_the_others_are_compared_and_the_release_follows(site):
    code, out, err = site.run("run", str(site.plan(comparison="4s")), "--release", "v2", "--json")
    assert code == 0, err
    facts = json.loads(out)
    compared = [each for each in facts["timeline"] if each["decision"] == "compared"]
    assert len(compared) > 3 and all(each["share"] == 0 for each in compared)
    assert facts["outcome"] == "promoted" and facts["seconds_from_start"] > 4


def test_chosen_customers_who_fail_without_any_release_are_not_evidence(site):
    site.edge.arms["stable"].broken = True
    code, out, err = site.run("run", str(site.plan(comparison="60s")), "--release", "v2", "--json")
    assert code == 4, err
    facts = json.loads(out)
    assert "cohort not comparable" in facts["sentence"] and "already worse" in facts["sentence"]
    assert facts["outcome"] == "retreated" and facts["blamed_gate"] is None and facts["stages"] == []
    assert site.edge.arms["candidate"].customers == 0, "the release was never asked"
    assert site.share() == {"cohort-high": 0, "cohort-rest": 0}
    assert facts["seconds_from_start"] < 60, "it is found, not waited for"
