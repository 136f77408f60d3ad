"""What stands around the evidence: emergencies and who was told, the schema's contract, one loud customer."""

from __future__ import annotations

import pytest

from huidu.foundation.clock import SystemClock, VirtualClock
from huidu.foundation.journal import Journal
from huidu.foundation.workspace import write_atomic
from rollout.acts import Act, submit
from rollout.failing import FILE, Failing, Part
from rollout.record import report
from rollout.serve.readings import Readings
from rollout.serve.told import Told
from rollout.serve.view import view

DAY = 86400.0
PEOPLE = """notify:
  - json://127.0.0.1:1/team
  - {to: 'json://127.0.0.1:1/director', after: 15m, language: zh}
"""
SCHEMA = """schema: {expand: {run: [expand]}, contract: {run: [contract]}, wait: 7d}
"""


@pytest.fixture
def told(staged, tmp_path):
    """A rollout by a plan with `more`, driven to its end, as view, page and report tell it."""

    class Rollout:
        def __init__(self, more, errors=0.0):
            stage = staged("limits:", more + "limits:")
            stage.world.candidate_errors = errors
            self.launched, self.clock, self.folder = [], stage.clock, tmp_path / "home" / "rollouts" / "v2"
            stage.controller(launch=self.launch).drive()
            stage.journal.close()
            self.folder.mkdir(parents=True)
            for each in stage.folder.glob("journal.sqlite*"):
                each.rename(self.folder / each.name)

        def launch(self, command, *_):
            self.launched.append(command.run[0])
            return Done()

        def view(self, later=0.0):
            (reading,) = Readings(self.folder.parent, SystemClock()).all()
            return view(reading, self.clock.now() + later)

        def html(self, language):
            clock = VirtualClock(self.clock.now())
            return Told(Readings(self.folder.parent, clock), clock).alone("v2", language)

        def report(self):
            with Journal.open(self.folder / "journal.sqlite", self.clock, writer=False) as journal:
                return report("v2", journal.events())

        def append(self, kind, **data):
            with Journal.open(self.folder / "journal.sqlite", self.clock) as journal:
                journal.append(kind, **data)

    return Rollout


class Done:
    """A command that came out well at once."""

    def problem(self):
        return ""

    def end(self):
        return None


def test_an_emergency_that_nobody_acknowledged_stands_first_and_can_be_acknowledged_when_it_is_over(told):
    rolled = told(PEOPLE, errors=0.3)
    seen = rolled.view()
    (caution,) = seen.cautions
    assert caution.loud and "已回滚" in caution.text.zh
    text = "Emergency that nobody has acknowledged: rolled back; told at 0 of 2 addresses."
    assert caution.text.en == text
    assert [each.kind for each in seen.offers] == ["acknowledge"]
    (emergency,) = [each for each in seen.calls if each.unanswered]
    assert "the next address is called at" in emergency.became.en and "通知下一个地址" in emergency.became.zh
    assert not any(each.loud for each in rolled.view(later=2 * DAY).cautions)  # no news any more
    # As the page or `huidu rollout acknowledge` does, where no controller runs that would journal it.
    submit(rolled.folder, Act("acknowledge", "mei", "I look at it", "os", rolled.clock.now() + 1))
    seen = rolled.view(later=2)
    assert not seen.cautions and not seen.offers
    assert "acknowledged" in next(each for each in seen.calls if each.word.en == "rolled back").became.en


def test_what_was_sent_and_what_was_not_is_counted(told):
    rolled = told(PEOPLE, errors=0.3)
    with Journal.open(rolled.folder / "journal.sqlite", rolled.clock, writer=False) as journal:
        ended = next(event.seq for event in journal.events() if event.kind == "ended")
    rolled.append("told", letter=ended, address=1, sent=False)
    assert "1 could not be reached, tried again" in rolled.view().calls[0].became.en
    rolled.append("told", letter=ended, address=0, sent=True)
    assert "told at 1 of 2 addresses" in rolled.view().calls[0].became.en
    (letter,) = [each for each in rolled.report()["letters"] if each["emergency"]]
    assert (letter["event"], letter["sent"], letter["addresses"]) == ("rolled-back", 1, 2)
    assert letter["sentence"].startswith("rolled back: errors") and not letter["acknowledged"]


def test_a_plan_that_tells_nobody_calls_nobody_an_hour_later(told):
    rolled = told("", errors=0.3)
    seen = rolled.view()
    assert not seen.cautions and not seen.offers
    assert [each.became.en for each in seen.calls] == ["the plan names nobody who hears of it"]


def test_the_contract_of_the_schema_is_due_some_days_after_the_promotion(told):
    promoted = told(SCHEMA)
    assert promoted.launched == ["expand"]
    told_of = [each["decision"] for each in promoted.report()["timeline"] if each["sentence"] == "expand"]
    assert told_of == ["job-begun", "job-done"]
    expand, contract = promoted.view().schema
    assert expand.stands.en.startswith("done ") and not expand.wrong
    assert contract.stands.en.startswith("due in 7 d 0 h (") and "7 天 0 小时后到期" in contract.stands.zh
    late = promoted.view(later=8 * DAY).schema[1]
    assert late.wrong and late.stands.en == "due since 1 d 0 h"
    steps = {each["name"]: each for each in promoted.report()["schema"]}
    assert steps["expand"]["standing"] == "done" and steps["contract"]["standing"] == "due"
    assert "Schema of the data" in promoted.html("en") and "收缩数据库结构" in promoted.html("zh")
    promoted.append("job-begun", name="contract", facts={})
    promoted.append("job-failed", name="contract", problem="exit code 3: the table is in use")
    failed = promoted.view().schema[1]
    assert failed.wrong and "the table is in use" in failed.stands.en
    promoted.append("job-done", name="contract")
    assert promoted.report()["schema"][1]["standing"] == "done" and not promoted.view().schema[1].wrong


def test_after_a_way_back_the_contract_is_never_done(told):
    rolled = told(SCHEMA, errors=0.3)
    assert [each["standing"] for each in rolled.report()["schema"]] == ["done", "never"]
    assert "not promoted" in rolled.view().schema[1].stands.en


def test_one_customer_who_made_most_failures_is_named_before_anybody_believes_the_verdict(told):
    rolled = told("", errors=0.3)
    counts = {"requests": 300, "failures": 29, "largest_requests": 30, "largest_failures": 12}
    part = Part(arm="candidate", tier="high", **counts)
    write_atomic(rolled.folder / FILE, Failing(since=0, until=1, parts=(part,)).model_dump_json())
    (caution,) = rolled.view().cautions
    assert "One customer made 41.4 % of the failures among high" in caution.text.en
    for language, words in (("en", "look at that customer"), ("zh", "先看这位客户")):
        assert words in rolled.html(language)
