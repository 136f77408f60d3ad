"""`huidu rollout status`, `history` and `--watch`: what a person reads of a rollout on a terminal."""

from __future__ import annotations

import re

import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal
from huidu.foundation.workspace import Workspace
from rollout.overview import detail_lines, explanation, rollout_rows, rollouts
from rollout.record import report
from rollout.serve.readings import Readings
from rollout.serve.told import Told
from rollout.watching import watch
from tests.rollout.worlds import Lines

MADE_STABLE = ("limits:", "deploy: {promote: {run: ['true']}}\nlimits:")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "home", tmp_path / "cache")


@pytest.fixture
def moved(workspace):
    """Puts a driven stage's journal where the commands look for it."""

    def move(stage):
        stage.journal.close()
        folder = workspace.rollouts / "v2"
        folder.mkdir(parents=True)
        for each in stage.folder.glob("journal.sqlite*"):
            each.rename(folder / each.name)
        return folder / "journal.sqlite"

    return move


def table(workspace):
    headers, rows = rollout_rows(rollouts(workspace)[0])
    return [dict(zip(headers, row, strict=True)) for row in rows]


def test_what_became_stable_is_not_told_to_serve_nobody(workspace, moved, staged):
    stage = staged(*MADE_STABLE)
    stage.controller().drive()
    facts = report("v2", stage.journal.events())
    assert facts["outcome"] == "promoted" and facts["timeline"][-1]["share"] == 0.0
    moved(stage)
    assert table(workspace)[0]["share"] == "as stable"
    assert "promoted: it serves everybody as stable" in detail_lines(facts)[1]
    assert not any(" 0.0%" in line for line in detail_lines(facts))
    said = Lines()
    watch(workspace, "v2", SystemClock(), said, lambda: True)
    last = said.said[-1]
    assert "over: " in last and "as stable" in last and not any(" 0.0%" in each for each in said.said[-3:])
    told = Told(Readings(workspace.rollouts, SystemClock()), SystemClock())
    for language, words in (("en", "as stable"), ("zh", "作为稳定版本")):
        page = told.alone("v2", language)
        (end,) = re.findall(r'<li class="ended">.*?</li>', page, re.S)
        assert words in end and "0 %" not in re.sub(r"100 %", "", end)


def test_the_watch_speaks_in_words_and_not_in_kinds_of_events(workspace, moved, staged):
    stage = staged(*MADE_STABLE)
    stage.controller().drive()
    moved(stage)
    said = Lines()
    watch(workspace, "v2", SystemClock(), said, lambda: True)
    assert any("promoting: The promote command runs" in each for each in said.said)
    assert not any("hook-" in each for each in said.said)


def test_a_promotion_without_a_command_keeps_its_share(workspace, moved, stage):
    stage.controller().drive()
    moved(stage)
    assert table(workspace)[0]["share"] == "100.0%"


def test_a_rollout_that_nobody_drives_is_not_just_running(workspace, moved, stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_030).drive()
    journal = moved(stage)
    assert table(workspace)[0]["outcome"] == "paused"
    with Journal.open(journal, stage.clock) as writing:
        writing.append("resumed")
        assert table(workspace)[0]["outcome"] == "running"
    assert table(workspace)[0]["outcome"] == "running, but no process drives it"
    (facts,) = rollouts(workspace)[0].values()
    assert "running, but no process drives it" in detail_lines(facts)[1]


def test_weights_that_somebody_else_moved_are_told(workspace, moved, stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_030).drive()
    with Journal.open(moved(stage), stage.clock) as writing:
        writing.append("changed", sentence="somebody else moved the weights: high 90 %")
    assert table(workspace)[0]["outcome"] == "paused, weights moved by somebody else"
    (facts,) = rollouts(workspace)[0].values()
    assert "  nothing widens: somebody else moved the weights: high 90 %" in detail_lines(facts)


def acts(kind, **data):
    return "act", {"act": kind, "by": "anna", "why": "", "accepted": True, "end": 9} | data


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (acts("pause"), "anna paused it; `huidu rollout resume v2` goes on"),
        (("frozen", {"sentence": "frozen until Monday"}), "frozen until Monday"),
        (
            ("waiting", {"stage": "half", "sentence": ""}),
            "the stage half waits for 1 of 1 approvals; `huidu rollout approve v2`",
        ),
    ],
)
def test_what_people_keep_from_widening_is_told(workspace, moved, staged, event, told):
    stage = staged(
        "{name: half, weights: {all: 50%}", "{name: half, weights: {all: 50%}, approval: {needed: 1}"
    )
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_003).drive()
    journal = moved(stage)
    with Journal.open(journal, stage.clock) as writing:
        writing.append(event[0], **event[1])
    assert table(workspace)[0]["outcome"].endswith(", waits for people")
    (facts,) = rollouts(workspace)[0].values()
    assert f"  nothing widens: {told}" in detail_lines(facts)
    with Journal.open(journal, stage.clock) as writing:
        writing.append("ended", outcome="promoted", sentence="", blamed=None)
    assert table(workspace)[0]["outcome"] == "promoted"


def test_a_listing_opens_each_journal_once(workspace, moved, stage, monkeypatch):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_030).drive()
    journal, opened, really = moved(stage), [], Journal.open

    def counted(path, *arguments, **named):
        opened.append(path)
        return really(path, *arguments, **named)

    monkeypatch.setattr(Journal, "open", counted)
    assert table(workspace)[0]["outcome"] == "paused"
    assert opened == [journal]  # and what is told of it is of one moment


def test_counts_of_failures_are_not_mistaken_for_successes(stage):
    stage.world.candidate_errors = 0.3
    stage.controller().drive()
    lines = detail_lines(report("v2", stage.journal.events()))
    gates = report("v2", stage.journal.events())["timeline"][-1]["gates"]["errors"]
    bad, of = gates["canary"]["bad"], gates["canary"]["total"]
    assert any(f"candidate {bad:g} bad of {of:g}, stable 0 bad of " in line for line in lines)


def test_numbers_say_of_which_look_they_are(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_030).drive()
    facts = report("v2", stage.journal.events())
    assert facts["last_look"].startswith("2023-11-14T22:13:")
    assert any(re.search(r"as of the look at \d\d:\d\d:\d\d:", line) for line in detail_lines(facts))


def test_what_goes_on_has_not_ended(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_030).drive()
    assert report("v2", stage.journal.events())["ended"] is not None  # at rest: since when
    stage.journal.append("resumed")
    assert report("v2", stage.journal.events())["ended"] is None


def test_what_was_not_judged_has_no_look(stage):
    facts = report("v2", stage.journal.events())
    assert facts["last_look"] is None and not any("look" in line for line in detail_lines(facts))
    assert explanation("v2", stage.controller().state)
