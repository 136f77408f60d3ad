"""`huidu rollout check` calls no plan good that can never do what it says; `run` refuses the same ones."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import ConfigError
from huidu.foundation.workspace import Workspace
from rollout import begin
from rollout.admission import Order
from rollout.commands import rollout
from rollout.plan import CohortArms
from rollout.plan.file import PLANS, load_plan
from rollout.plan.sound import unsound
from rollout.target import Target
from tests.rollout.worlds import COHORTS, PLAN

ALWAYS = "freeze: {windows: [{name: never, days: [mon, tue, wed]}, {name: ever, days: [thu, fri, sat, sun]}]}"
UNSOUND = {
    "name": (("name: virtual", 'name: " "'), "expected a name"),
    "no gate": (("tolerated_ratio: 1.5", "tolerated_ratio: .inf"), "inf is no bound"),
    "never blind": (("blind: 60s", "blind: 99999999999999d"), "never pass"),
    "never baked": (("{high: 5%}}", "{high: 5%}, bake: 40000000d}"), "stages.0.bake: 4e+07 days never pass"),
    "link": (("name: virtual", 'name: virtual\nlink: "http://x/{nmae}"'), "nothing stands for {nmae}"),
    "always frozen": (("name: virtual", f"name: virtual\n{ALWAYS}"), "nothing could ever widen"),
    "no days": (("name: virtual", "name: virtual\nfreeze: {windows: [{name: all}]}"), "could ever widen"),
}
LACKING = {
    "no program": (
        ("name: virtual", "name: virtual\ndeploy: {promote: {run: [/no/such/bin]}}"),
        "'/no/such/bin': no such program can be run",
    ),
    "not on PATH": (("name: virtual", "name: virtual\ndeploy: {stop: {run: [no-such-bin]}}"), "on PATH"),
    "others read tokens": (("name: virtual", 'name: virtual\npeople: {tokens: "{secret}"}'), "chmod 600"),
    "others read an address": (("name: virtual", 'name: virtual\nnotify: [{file: "{secret}"}]'), "chmod 600"),
    "no address": (("name: virtual", "name: virtual\nnotify: [{file: /no/address}]"), "cannot be read"),
    "strange address": (("name: virtual", 'name: virtual\nnotify: ["nonsense://x"]'), "not understood"),
    "no runbook": (
        ("name: virtual", "name: virtual\nprepared: {within: 1d, runbooks: [nope]}"),
        "no runbook 'nope'",
    ),
}
BOTH = {**UNSOUND, **LACKING}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A plan in which `old` reads `new`, checked in an empty home."""
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    secret = tmp_path / "secret"
    secret.write_text("json://127.0.0.1")
    secret.chmod(0o644)

    def write(old="name", new="name"):
        assert old in PLAN
        path = tmp_path / "plan.yaml"
        path.write_text(PLAN.replace(old, new.replace("{secret}", str(secret))))
        return path

    return write


def check(*words):
    return CliRunner().invoke(rollout, ["check", *map(str, words)])


@pytest.mark.parametrize("which", BOTH)
def test_a_plan_that_can_never_do_what_it_says_is_not_good(written, which):
    change, said = BOTH[which]
    ended = check(written(*change))
    assert isinstance(ended.exception, ConfigError), ended.output
    assert said in str(ended.exception)


@pytest.mark.parametrize("which", LACKING)
def test_what_lies_on_another_machine_is_not_looked_for_offline(written, which):
    assert check(written(*LACKING[which][0]), "--offline").exit_code == 0


@pytest.mark.parametrize("which", [each for each in BOTH if each != "no runbook"])
def test_a_rollout_does_not_start_with_it(written, monkeypatch, tmp_path, which):
    cohorts = {name: CohortArms(route="r", stable="s", candidate="c") for name in COHORTS}
    target = Target((), "arms", cohorts, "http://127.0.0.1:1", 1.0, "v1", "v2")
    monkeypatch.setattr(begin.Target, "of", lambda plan, file: target)
    change, said = BOTH[which]
    order = Order(written(*change), "v2", "v2")
    with pytest.raises(ConfigError) as refused:
        begin.check_start(Workspace(tmp_path / "home", tmp_path / "cache"), order, SystemClock())
    assert said in str(refused.value)


def test_the_line_that_is_wrong_is_named(written):
    ended = check(written(*UNSOUND["no gate"][0]))
    assert "plan.yaml:8: gates.errors.tolerated_ratio" in str(ended.exception)


def test_a_weekend_a_year_of_bake_and_a_runbook_still_to_be_run_are_sound(written, tmp_path, monkeypatch):
    extra = "freeze: {windows: [{name: night, hours: 18:00-08:00}, {name: weekend, days: [sat, sun]}]}"
    extra += '\nlink: "http://x/{name}"\nprepared: {within: 300d, runbooks: [restore]}'
    path = written("name: virtual", f"name: virtual\n{extra}\ndeploy: {{promote: {{run: [huidu, stack]}}}}")
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "restore.md").write_text("# restore\n")
    monkeypatch.chdir(tmp_path)
    ended = check(path)
    assert ended.exit_code == 0 and "`run` would refuse it now" in ended.output
    assert "'restore' was last run well never" in " ".join(ended.output.split())


MEMORY = "memory: {kind: gauge, limit: 8000000000, metrics: {value: ['memory{release=\"{release}\"}']}}"
STEPS = "rollback: {steps: [{name: orders, run: ['true'], verify: ['true']}]}"
SOUND = {
    "all days of a few dates": (
        "name: virtual",
        "name: virtual\nfreeze: {windows: [{name: feast, dates: 2026-12-24..2027-01-02}]}",
    ),
    "half of every day": (
        "name: virtual",
        "name: virtual\nfreeze: {windows: [{name: night, hours: 18:00-08:00}]}",
    ),
    "tokens still to be made": ("name: virtual", "name: virtual\npeople: {tokens: /no/such/folder/tokens}"),
    "a step that cannot be undone": ("name: virtual", f"name: virtual\n{STEPS}"),
    "a program by the release's name": (
        "name: virtual",
        "name: virtual\ndeploy: {promote: {run: ['/opt/{release}/promote']}}",
    ),
    "8 GB, which are no seconds": ("gates:", f"gates:\n  {MEMORY}"),
}


@pytest.mark.parametrize("which", SOUND)
def test_what_can_do_what_it_says_is_not_refused(written, which):
    ended = check(written(*SOUND[which]))
    assert ended.exit_code == 0, ended.exception


@pytest.mark.parametrize("plan", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_plan_that_ships_is_sound(plan):
    assert list(unsound(load_plan(plan))) == []


@pytest.mark.server
def test_queries_that_prometheus_does_not_understand_are_no_good_plan(site):
    plan = site.plan()
    code, out, err = site.run("check", str(plan))
    assert code == 0 and "understands the gates' queries" in " ".join(out.split()), err
    document = yaml.safe_load(plan.read_text())
    capacity = {"peak": "9/s", "per_replica": "1/s", "ready": "sum("}
    document["deploy"] = {"scale": {"run": ["true", "{percent}"]}, "capacity": capacity}
    plan.write_text(yaml.safe_dump(document))
    code, out, err = site.run("check", str(plan))
    assert code == 2 and "does not understand the query 'sum('" in err and ": good" not in out
