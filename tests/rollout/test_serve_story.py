"""What the page tells: from journals alone, whatever state they are in."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sqlite3
import time

import pytest
from filelock import FileLock

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal
from rollout.controller.lease import LeaseFile, read_lease
from rollout.controller.proxies import Proxies
from rollout.controller.signs import CONTROLLER
from rollout.plan import ladder_of
from rollout.plan.file import PLANS, load_plan, parse_plan
from rollout.serve.ahead import Watched, ahead
from rollout.serve.around import attention
from rollout.serve.offers import offers
from rollout.serve.readings import Evidence, Readings, held
from rollout.serve.rows import factor
from rollout.serve.story import KEPT, Point, Story, Turn, outcome, thinned
from rollout.serve.turns import turn_text
from rollout.serve.view import view, watch, without_begun
from rollout.serve.words import gate_name, minutes, moment, percent, stage_name, with_code, without_addresses
from tests.rollout.worlds import PLAN


def told(stage):
    story = Story()
    story.tell(stage.journal.events())
    return story


def kinds(story):
    return [turn.kind for turn in story.turns]


def test_a_promotion_as_turns(stage):
    stage.controller().drive()
    story = told(stage)
    assert outcome(story.state) == "promoted"
    assert kinds(story)[0] == "started" and kinds(story)[-1] == "ended"
    widened = [turn.share for turn in story.turns if turn.kind == "widen"]
    assert widened == sorted(widened) and widened[-1] == pytest.approx(1.0)
    assert "resumed" not in kinds(story)


def test_a_rollback_names_its_gate_with_the_counts_that_decided(stage):
    stage.world.candidate_errors = 0.3
    stage.controller().drive()
    turn = next(turn for turn in told(stage).turns if turn.kind == "rollback")
    assert turn.blamed == "errors" and turn.gate["canary"]["bad"] > 0
    assert (
        "错误率" in turn_text(turn).zh and f"{turn.gate['canary']['bad']:,.0f} 次异常" in turn_text(turn).zh
    )


def test_told_in_pieces_it_is_the_same_story(stage):
    stage.controller().drive()
    events = list(stage.journal.events())
    pieces = Story()
    for start in range(0, len(events), 7):
        pieces.tell(events[start : start + 7])
    assert pieces == told(stage)


def test_blindness_is_told_once_and_its_end(stage):
    def silent(now):
        return 1_700_000_015 < now < 1_700_000_045

    stage.world.silent = silent
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_060).drive()
    assert [kind for kind in kinds(told(stage)) if kind in ("blind", "seeing")] == ["blind", "seeing"]


def test_while_evidence_is_missing_the_page_counts_down_to_the_way_back(stage):
    stage.world.silent = lambda now: now > 1_700_000_015
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_055).drive()
    state = dataclasses.replace(told(stage).state, resting="")
    text = ahead(stage.plan, stage.ladder, state, state.evidence_at + 40).text
    assert "no usable evidence for 40 s" in text.en and "within 20 s" in text.en and "40 秒没有" in text.zh
    needs = attention(stage.plan, stage.ladder, state, (), state.evidence_at + 40)
    assert needs.en == "No usable evidence for 40 s."


@pytest.mark.parametrize(
    ("changes", "english", "chinese"),
    [
        ({}, None, None),
        ({"outcome": "rolled-back"}, None, None),
        ({"resting": "held"}, "Held: a person has to decide.", "等待人工决定。"),
        ({"proxies": Proxies(changed="x")}, "Somebody else moved the weights: nothing widens.", "有人改动"),
    ],
)
def test_what_needs_a_person_is_named_and_nothing_else(stage, changes, english, chinese):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    state = dataclasses.replace(told(stage).state, **{"resting": "", **changes})
    found = attention(stage.plan, stage.ladder, state, (), stage.clock.now())
    assert (found.en if found else None) == english and (found is None or chinese in found.zh)


def test_a_command_that_ended_at_once_is_one_line():
    def turns(*pairs):
        return [Turn(1.0, kind, 0.1, "half", {}, "", facts={"name": name}) for kind, name in pairs]

    def lines(*pairs):
        return [(turn.kind, turn.facts["name"]) for turn in without_begun(turns(*pairs))]

    assert lines(("job-begun", "scale"), ("job-done", "scale")) == [("job-done", "scale")]
    still = [("job-begun", "scale"), ("widen", ""), ("job-begun", "stop")]
    assert lines(*still) == still
    other = [("job-begun", "scale"), ("job-failed", "start")]
    assert lines(*other) == other


def test_someone_else_taking_over_is_told(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_020).drive()
    assert kinds(told(stage)).count("resumed") == 1 and kinds(told(stage)).count("paused") == 2


def test_the_next_step_is_the_one_the_controller_then_takes(stage):
    """Level by level: what the page announced as the next weights is what the journal shows next."""
    announced = []
    stage.controller().drive()
    events = list(stage.journal.events())
    story, checked = Story(), 0
    for event in events:
        if event.kind == "intended" and announced and event.data["purpose"] == "widen":
            words = ", ".join(
                f"{name} {event.data['weights'][name] / 100:g} %" for name in stage.ladder.cohorts
            )
            assert words in announced[-1]
            checked += 1
        story.tell([event])
        if story.state.pending is None and not story.state.outcome and event.kind == "judged":
            announced.append(ahead(stage.plan, stage.ladder, story.state, event.t).text.en)
    assert checked >= 2


def test_a_paused_rollout_says_that_nothing_happens_by_itself(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    text = ahead(stage.plan, stage.ladder, told(stage).state, stage.clock.now()).text
    assert "Nothing, until somebody runs it again" in text.en and "再次运行" in text.zh


@pytest.mark.parametrize(
    ("changes", "english", "chinese"),
    [
        ({"paused_by": "mei"}, "mei paused widening", "mei 已暂停放量"),
        ({"frozen": "the weekend"}, "during a freeze: the weekend", "冻结期内不放量（the weekend）"),
        ({"proxies": Proxies(changed="x")}, "until a person adopts what the proxies serve", "不再放量"),
        ({"proxies": Proxies(changed="x", adopting="mei")}, "as mei asked", "按 mei 的要求"),
    ],
)
def test_what_only_people_or_the_calendar_can_end_is_told_as_such(stage, changes, english, chinese):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    state = dataclasses.replace(told(stage).state, resting="", **changes)
    text = ahead(stage.plan, stage.ladder, state, stage.clock.now()).text
    assert english in text.en and chinese in text.zh
    for later in (0, 3600):  # what people wait, or the calendar, is no part of the longest bake
        others = ahead(stage.plan, stage.ladder, state, stage.clock.now() + later).others
        assert not any("Nothing proved" in each.en or "仍无结论" in each.zh for each in others)


def test_the_longest_bake_counts_from_when_people_stopped_holding_it(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    now = stage.clock.now() + 3600
    state = dataclasses.replace(told(stage).state, resting="", bake_from=now - 60, evidence_at=now)
    assert "Nothing proved within 9 min:" in ahead(stage.plan, stage.ladder, state, now).others[0].en


def test_hours_that_nobody_watched_are_no_part_of_the_final_bake(stage):
    def baking() -> bool:
        return told(stage).state.position == 3

    stage.controller(stop=baking).drive()
    now = stage.clock.now()
    state = dataclasses.replace(told(stage).state, resting="", changed_at=now - 7203, unwatched=7200.0)
    state = dataclasses.replace(state, evidence_at=now)
    assert "Final bake, 7 s left" in ahead(stage.plan, stage.ladder, state, now).text.en


def test_what_may_be_done_follows_the_state(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    state = told(stage).state

    def offered(emergency=False, **changes):
        found = offers(stage.plan, stage.ladder, dataclasses.replace(state, **changes), emergency)
        return [each.kind for each in found]

    assert offered() == ["pause", "promote-now", "abort"]
    assert offered(paused_by="mei")[0] == "resume"
    assert offered(outcome="promoted") == []
    moved = Proxies(changed="memory serves high 20 %, the journal knows high 5 %")
    assert offered(proxies=moved) == ["adopt", "pause", "promote-now", "abort"]
    assert "adopt" not in offered(proxies=dataclasses.replace(moved, adopting="mei"))
    assert offered(emergency=True)[0] == "acknowledge"
    assert offered(emergency=True, outcome="rolled-back") == ["acknowledge"]


def test_a_rollout_of_days_stays_small_and_keeps_its_peaks():
    points = [Point(float(t), 0.1, None, {"errors": 0.9 if t == 5000 else 0.1}) for t in range(10_000)]
    few = thinned(points, 300)
    assert len(few) <= 310 and few[-1] == points[-1]
    assert max(point.levels["errors"] for point in few) == 0.9
    assert KEPT < 10_000


@pytest.fixture
def rollouts(tmp_path, stage):
    """A workspace's folder with the journal of a rollout that was paused."""
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    stage.journal.close()
    folder = tmp_path / "rollouts"
    (folder / "v2").mkdir(parents=True)
    shutil.copy(stage.folder / "journal.sqlite", folder / "v2")
    return folder


class Ticking(SystemClock):
    """Far enough apart that every look is a fresh one."""

    def __init__(self):
        self.t = 0.0

    def monotonic(self):
        self.t += 10
        return self.t


def test_what_is_appended_is_seen_at_the_next_look(rollouts):
    readings = Readings(rollouts, Ticking())
    assert outcome(readings.named("v2").story.state) == "paused"
    before = readings.revision()
    assert readings.revision() == before
    with Journal.open(rollouts / "v2" / "journal.sqlite", SystemClock()) as journal:
        journal.append("resumed")
    assert outcome(readings.named("v2").story.state) == "running"
    assert readings.revision() > before


def test_a_damaged_journal_is_told_and_hides_no_other(rollouts):
    (rollouts / "bad").mkdir()
    (rollouts / "bad" / "journal.sqlite").write_bytes(b"not a database, " * 100)
    readings = Readings(rollouts, Ticking())
    assert {each.name: bool(each.problem) for each in readings.all()} == {"bad": True, "v2": False}


def test_an_event_that_is_not_understood_is_told(rollouts):
    with sqlite3.connect(rollouts / "v2" / "journal.sqlite") as database:
        database.execute("UPDATE event SET data = '{}' WHERE kind = 'judged'")
    readings = Readings(rollouts, Ticking())
    assert "not understood" in readings.named("v2").problem


def test_names_are_looked_up_and_never_paths(rollouts):
    readings = Readings(rollouts, Ticking())
    assert readings.named("../rollouts/v2") is None and readings.named("") is None


def test_a_controller_that_died_is_noticed_by_its_lock(rollouts):
    path = rollouts / "v2" / "journal.sqlite"
    with Journal.open(path, SystemClock()) as journal:
        journal.append("resumed")
        if held(path.with_name("journal.sqlite.lock")) is None:
            pytest.skip("this system has no /proc/locks")
        reading = Readings(rollouts, Ticking()).named("v2")
        assert reading.driven is True and watch(reading, reading.story.last_t) is None
    reading = Readings(rollouts, Ticking()).named("v2")
    assert reading.driven is False
    assert "No process drives this rollout" in watch(reading, reading.story.last_t).en
    seen = view(reading, reading.story.last_t)
    assert seen.glance.chip == "unattended"
    assert "Nothing, until somebody runs it again" in seen.next.text.en
    assert "No guard watches" in seen.next.text.en and "没有守护进程" in seen.next.text.zh


def test_a_guard_that_will_take_an_unattended_rollout_back_is_told_with_the_time_that_is_left(rollouts):
    folder, clock = rollouts / "v2", SystemClock()
    with Journal.open(folder / "journal.sqlite", clock) as journal:
        journal.append("resumed")
        if held(folder / "journal.sqlite.lock") is None:
            pytest.skip("this system has no /proc/locks")
    sign = LeaseFile(folder / CONTROLLER, "controller", clock)
    sign.renew()
    now = read_lease(folder / CONTROLLER).wall + 120  # of unattended: 15 min
    with FileLock(folder / "guard.lock"):
        reading = Readings(rollouts, Ticking()).named("v2")
        seen = view(reading, now)
        assert "unless somebody runs it again within 13 min" in seen.next.text.en
        assert "若 13 分钟内无人再次运行，将全部退回稳定版本" in seen.next.text.zh
        assert "A guard watches." in watch(reading, now).en and "share stays" not in seen.next.text.en
        stay = Watched(False, True, 120.0)
        plan = parse_plan(PLAN.replace("limits: {", "limits: {safe: stay, "), "p")
        text = ahead(plan, ladder_of(plan, ("high", "standard")), reading.story.state, now, stay).text.en
        assert "the share stays" in text


def test_where_the_plan_requires_a_guard_and_none_watches_the_page_says_what_it_waits_for(stage):
    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_012).drive()
    state = dataclasses.replace(told(stage).state, resting="", evidence_at=stage.clock.now())
    plan = stage.plan.model_copy(update={"guard": "required"})
    for guarded, waits in ((False, True), (True, False), (None, False)):
        text = ahead(plan, stage.ladder, state, stage.clock.now(), Watched(True, guarded)).text
        assert ("Nothing widens while no guard watches" in text.en) is waits
        assert ("守护进程" in text.zh) is waits


def test_evidence_is_counted_with_the_reasons_for_what_was_left_out(tmp_path):
    file = tmp_path / "evidence.jsonl"
    lines = [{"v": 1, "header": {}}, {"gate": "errors"}, {"gate": "errors", "excluded": "settling"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"gate": "errors", "exc')
    evidence = Evidence()
    evidence.follow(file)
    assert (evidence.used, dict(evidence.excluded)) == (1, {"settling": 1})
    with file.open("a") as more:
        more.write('luded": "stale"}\n')
    evidence.follow(file)
    assert (evidence.used, dict(evidence.excluded)) == (1, {"settling": 1, "stale": 1})
    file.write_text('{"gate": "errors"}\n')  # cut off by a controller that resumed
    evidence.follow(file)
    assert (evidence.used, dict(evidence.excluded)) == (1, {})


def test_numbers_as_a_person_reads_them():
    assert percent(3.8e-7) == "< 0.001 %"
    assert [percent(value) for value in (0, 0.0002, 0.0202, 0.5, 1)] == [
        "0 %",
        "0.02 %",
        "2.0 %",
        "50 %",
        "100 %",
    ]
    assert minutes(45).en == "45 s" and minutes(200).zh == "3 分 20 秒" and minutes(7500).en == "2 h 5 min"
    assert [factor(value) for value in (-20, 0, 5.7, 40)] == ["< 0.001", "1", "299", "10^17"]
    assert with_code("a `b` <c>") == "a <code>b</code> &lt;c&gt;"


@pytest.mark.parametrize(
    ("zone", "told"),
    [("UTC", "12:40:00 +00:00"), ("Asia/Kathmandu", "18:25:00 +05:45"), ("Etc/GMT+5", "07:40:00 -05:00")],
)
def test_a_time_says_how_far_from_utc_it_is(monkeypatch, zone, told):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert moment(1_700_052_000.4) == f"2023-11-15 {told}"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("plan", ["fixed", "production", "demo"])
def test_every_gate_and_stage_of_the_plans_that_ship_has_its_chinese_name(plan):
    found = load_plan(PLANS / f"{plan}.yaml")
    for name in (*found.gates, *(stage.name for stage in found.stages)):
        words = gate_name(name) if name in found.gates else stage_name(name)
        assert re.search("[\u4e00-\u9fff]", words.zh), name


def test_passwords_of_a_plan_are_not_shown():
    text = without_addresses("notify: ['mailto://me:secret@mail.example', tgram://token/1]  # people")
    assert text == "notify: ['mailto://…', tgram://…]  # people"
    for kept in ("a,secret", "a]secret", "a}secret", "a'secret", 'a"secret'):
        text = without_addresses(f"notify:\n  - mailtos://me:{kept}@mail.example\nlink: x\n")
        assert text == "notify:\n  - mailtos://…\nlink: x\n"
    assert without_addresses('{to: "json://h/a b\'c", language: zh}') == '{to: "json://…", language: zh}'
    assert without_addresses('run: [sh, "--to=https://u:se,cret@h"]') == 'run: [sh, "--to=https://…"]'


def test_after_a_retreat_the_page_says_that_it_may_start_again(stage):
    limits = stage.plan.limits.model_copy(update={"restart_within": 600.0})
    stage.plan = stage.plan.model_copy(update={"limits": limits})
    begin = stage.clock.now()
    stage.world.silent = lambda now: now > begin + 10
    stage.controller(stop=lambda: stage.clock.now() > begin + 120).drive()
    state = told(stage).state
    assert state.retreated and not state.outcome
    resting = ahead(stage.plan, stage.ladder, state, stage.clock.now()).text.en
    assert "goes on from stage 0" in resting
    driven = dataclasses.replace(state, resting="")
    assert "starts again at stage 0" in ahead(stage.plan, stage.ladder, driven, stage.clock.now()).text.en
