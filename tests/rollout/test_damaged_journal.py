"""One rollout's journal is damaged: it is said, and nobody is kept from the others."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import StateError
from huidu.foundation.journal import Journal
from huidu.foundation.terminal import Terminal
from huidu.foundation.workspace import Workspace
from rollout import abort
from rollout.abort import abort_rollout
from rollout.commands import rollout
from tests.rollout.worlds import PLAN, make_stage


def garbled(folder):
    (folder / "journal.sqlite").write_text("garbage")


def foreign(folder):
    """A sound journal with an event that this huidu does not know how to read."""
    with Journal.open(folder / "journal.sqlite", SystemClock()) as journal:
        journal.append("started", of="another tool")


@pytest.fixture(params=[garbled, foreign])
def home(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path))
    workspace = Workspace.from_env()
    broken, sound = workspace.rollouts / "broken", workspace.rollouts / "v2"
    broken.mkdir(parents=True)
    request.param(broken)
    sound.mkdir()
    stage = make_stage(sound, PLAN)
    stage.journal.close()
    return workspace


def huidu(*words):
    return CliRunner().invoke(rollout, words)


@pytest.mark.parametrize("words", [("status",), ("history",), ("status", "--json"), ("history", "--json")])
def test_listings_show_the_others_then_what_is_damaged_and_end_with_2(home, words):
    done = huidu(*words)
    assert done.exit_code == 2 and "v2" in done.output
    if "--json" in words:
        assert [each["name"] for each in json.loads(done.stdout)] == ["v2"]
    assert "broken:" in done.stderr and "journal" in done.stderr


def test_the_status_of_another_is_no_matter_of_the_damaged_one(home):
    done = huidu("status", "v2")
    assert (done.exit_code, "broken" in done.output) == (0, False)


def test_the_damaged_one_itself_is_refused_in_words(home):
    with pytest.raises(StateError, match="journal"):
        CliRunner().invoke(rollout, ["status", "broken"], catch_exceptions=False)


def test_abort_without_a_name_gives_up_the_one_that_is_under_way(home, monkeypatch):
    given_up = []
    monkeypatch.setattr(abort, "_alone", lambda folder, name, *rest: given_up.append(name))
    abort_rollout(home, None, "why", SystemClock(), Terminal())
    assert given_up == ["v2"]


def test_watching_says_it_once_and_does_not_wait_for_it(home, monkeypatch):
    home_of_v2 = home.rollouts / "v2"
    for file in home_of_v2.iterdir():
        file.unlink()
    done = huidu("status", "--watch")
    assert done.exit_code == 0 and done.output.count("broken:") == 1
