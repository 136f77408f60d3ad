"""The commands by which people act: who may, what is written down, what they are told."""

from __future__ import annotations

import json
import signal

import pytest
from click.testing import CliRunner

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import HuiduError
from huidu.foundation.journal import Journal
from rollout import acts
from rollout.commands import rollout
from tests.rollout.worlds import PLAN, make_stage

ROLES = """
people: {{roles: {{manager: [anna, ben]}}, may: {{promote-now: [manager]}}, tokens: "{tokens}"}}
"""
FOUR_EYES = "{name: half, weights: {all: 50%}, approval: {needed: 2, roles: [manager]}}"
ROUTE = {
    "proxies": [{"file": "/nowhere/arms.json", "admin": "127.0.0.1:1"}],
    "route_config": "arms",
    "arms": {name: {"route": name, "stable": "s", "candidate": "c"} for name in ("high", "standard")},
    "prometheus": "http://127.0.0.1:1",
    "confirm_within": 1.0,
    "entry": None,
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A rollout v2 that no process drives just now; its first stage is open, the second needs four eyes."""
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path))
    folder = tmp_path / "rollouts" / "v2"
    folder.mkdir(parents=True)
    text = PLAN.replace("{name: half, weights: {all: 50%}}", FOUR_EYES)
    stage = make_stage(folder, text + ROLES.format(tokens=tmp_path / "tokens"), **ROUTE)
    stage.journal.append("paused", sentence="stopped")
    stage.journal.close()
    return tmp_path


@pytest.fixture(autouse=True)
def stoppable():
    """`guard` takes these signals for its process, which here is that of all tests: it gives them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def call(*arguments):
    """(exit code, what was said); a mistake is told as the command line does it."""
    result = CliRunner().invoke(rollout, [str(each) for each in arguments])
    if isinstance(result.exception, HuiduError):
        return result.exception.outcome.code, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_token_proves_who_approves_and_the_next_stage_is_meant(home):
    token, tokens = home / "anna.token", home / "tokens"
    assert call("token", "anna", "--tokens", tokens, "--out", token)[0] == 0
    code, said = call("approve", "v2", "--by", "anna", "--token-file", token, "--why", "looks well")
    assert code == 0 and "written down" in said
    (read,) = acts.read(home / "rollouts" / "v2")
    assert read.act is not None
    assert (read.act.by, read.act.proof, read.act.stage) == ("anna", "token", "half")


def test_a_token_that_others_can_read_proves_nothing(home):
    token, tokens = home / "anna.token", home / "tokens"
    assert call("token", "anna", "--tokens", tokens, "--out", token)[0] == 0
    for file, what in ((token, "a token"), (tokens, "tokens")):
        file.chmod(0o644)
        code, said = call("approve", "v2", "--by", "anna", "--token-file", token, "--why", "looks well")
        assert code == 2 and f"others can read this file of {what}" in said and f"chmod 600 {file}" in said
        file.chmod(0o600)


def test_a_directory_is_no_file_of_tokens_and_is_left_as_open_as_it_is(home, tmp_path):
    code, said = call("token", "anna", "--tokens", tmp_path, "--out", home / "anna.token")
    assert code == 2 and "this is a directory, not a file of tokens" in said and "chmod" not in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["approve", "v2", "--by", "anna", "--why", "x"], "not to 'anna'"),
        (["promote-now", "v2", "--why", "x"], "the plan gives that to: manager"),
        (["pause", "v2", "--why", " "], "a reason is missing"),
        (["pause", "none", "--why", "x"], "does not exist"),
        (["approve", "v2", "--token-file", "/nowhere", "--why", "x"], "cannot be read"),
        (["skip", "v2"], "no gate is ever skipped"),
        (["guard", "none"], "does not exist"),
    ],
)
def test_what_is_refused_changes_nothing(home, arguments, told):
    code, said = call(*arguments)
    assert code == 2 and told in said
    assert acts.read(home / "rollouts" / "v2") == []


def test_a_reason_must_be_given(home):
    code, said = call("pause", "v2")
    assert code == 2 and "--why" in said


def test_status_says_who_watches(home):
    code, said = call("status", "v2")
    assert code == 0 and "controller: none" in said and "guard: none" in said


def test_the_schema_of_plans_knows_people_and_guards(home):
    code, said = call("check", "--schema")
    schema = json.loads(said)
    assert code == 0 and {"guard", "people", "freeze", "notify", "link"} <= set(schema["properties"])


def test_without_an_emergency_there_is_nothing_to_acknowledge(home):
    code, said = call("acknowledge", "v2", "--why", "I look at it")
    assert code == 2 and "no emergency to acknowledge" in said


def test_an_emergency_of_a_rollout_that_is_over_is_acknowledged(home):
    folder = home / "rollouts" / "v2"
    with Journal.open(folder / "journal.sqlite", SystemClock()) as journal:
        journal.append("ended", outcome="rolled-back", sentence="errors", blamed="errors")
    assert call("acknowledge", "v2", "--why", "I look at it")[0] == 0
    assert [each.act.kind for each in acts.read(folder)] == ["acknowledge"]


def test_a_guard_of_a_rollout_that_is_over_says_so(home):
    with Journal.open(home / "rollouts" / "v2" / "journal.sqlite", SystemClock()) as journal:
        journal.append("ended", outcome="promoted", sentence="promoted", blamed=None)
    code, said = call("guard", "v2")
    assert code == 0 and "it is over (promoted)" in said and "watching" not in said
