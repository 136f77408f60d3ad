"""What must not be overlooked is told by the journal alone: whether or not the plan tells anybody of it."""

from __future__ import annotations

import re
import shutil

import pytest

from huidu.foundation.clock import SystemClock, VirtualClock
from huidu.foundation.journal import Journal
from rollout.serve.readings import Readings
from rollout.serve.told import Told

NOBODY = {"high": 0, "standard": 0}


def back(purpose, sentence):
    """The beginning of a way back."""
    move = {"position": 0.0, "share": 0.0, "stage": "stable", "sentence": sentence, "blamed": None}
    return "intended", {"purpose": purpose, "weights": NOBODY, "version": "virtual-1-stable", **move}


@pytest.fixture
def home(stage, tmp_path):
    """A rollout that was stopped with customers on the candidate, and what was journaled since."""

    class Home:
        folder = tmp_path / "home" / "rollouts" / "v2"
        clock = stage.clock

        def append(self, *events):
            with Journal.open(self.folder / "journal.sqlite", stage.clock) as journal:
                for kind, data in events:
                    journal.append(kind, **data)

        def told(self, later=0.0):
            clock = VirtualClock(stage.clock.now() + later)
            return Told(Readings(self.folder.parent, clock), clock)

        def first_page(self, later=0.0):
            return self.told(later).home()

        def glance(self, later=0.0):
            (found,) = self.first_page(later)["needing"]
            return found

        def view(self, later=0.0):
            return self.told(later).rollout("v2")["view"]

        def html(self, language="en", later=0.0):
            told = self.told(later)
            return told.html("home.html.j2", language, "/", told.home())

    stage.controller(stop=lambda: stage.clock.now() > 1_700_000_030).drive()
    stage.journal.close()
    Home.folder.mkdir(parents=True)
    for each in stage.folder.glob("journal.sqlite*"):
        each.rename(Home.folder / each.name)
    return Home()


@pytest.mark.slow
def test_a_way_back_that_the_proxies_do_not_take_is_an_emergency_though_the_plan_tells_nobody(home):
    home.append(("resumed", {}), back("rollback", "rolled back: errors"), ("failed", {"problem": "refused"}))
    with Journal.open(home.folder / "journal.sqlite", home.clock):  # its controller lives, and tries again
        seen, caution = home.glance(later=40), home.view(later=40).cautions[0]
        assert seen.urgent and seen.needs.en == "Cannot go back: refused. It is tried again."
        assert caution.loud and caution.text == seen.needs and "无法退回" in caution.text.zh
    # Its controller died as well: nobody tries again.
    seen = home.glance(later=40)
    assert (
        seen.urgent and seen.needs.en == "Cannot go back: refused. Nobody tries again: no process drives it."
    )
    for language, word in (("en", "Cannot go back: refused"), ("zh", "无法退回")):
        assert re.search(f'<span class="wrong">{word}', home.html(language, later=40))


def test_a_way_back_that_nobody_confirmed_is_an_emergency(home):
    home.append(("resumed", {}), back("rollback", "rolled back: errors"))
    with Journal.open(home.folder / "journal.sqlite", home.clock):
        assert not home.first_page(later=1)["needing"]  # it is being written
        assert home.glance(later=20).needs.en == "The way back is not confirmed since 20 s."
    seen = home.glance(later=1)  # the controller died between writing and reading back
    assert seen.urgent and "not confirmed since 1 s, and no process drives it" in seen.needs.en


def test_customers_on_a_candidate_that_nobody_watches_are_an_emergency(home):
    home.append(("resumed", {}))
    seen = home.glance(later=100)
    assert seen.urgent and "No process drives it" in seen.needs.en and "of all requests" in seen.needs.en
    assert home.view(later=100).cautions[0].text == seen.needs


@pytest.mark.slow
def test_what_a_guard_took_back_is_not_over_and_waits_for_a_person(home):
    sentence = "nobody watched: the guard gave everybody back to stable"
    home.append(back("unattended", sentence), ("confirmed", {"version": "virtual-1-stable", "seconds": 1.0}))
    page = home.first_page()
    assert [each.name for each in page["going"]] == ["v2"] and not page["past"]
    assert home.glance().urgent and home.glance().needs.en.startswith(
        "The guard gave everybody back to stable"
    )
    home.append(("resumed", {}))
    with Journal.open(home.folder / "journal.sqlite", home.clock):  # a person did: it waits for evidence
        assert not home.first_page()["needing"]
    home.append(("ended", {"outcome": "retreated", "sentence": "aborted", "blamed": None}))
    page = home.first_page()
    assert not page["going"] and [each.name for each in page["past"]] == ["v2"] and not page["needing"]


@pytest.mark.parametrize(
    ("purpose", "sentence", "chinese"),
    [
        ("retreat", "no usable evidence for 60 s: back to stable", "长时间没有证据"),
        ("abort", "aborted by a person: changed our mind", "有人中止"),
    ],
)
def test_the_list_says_why_it_is_over(home, purpose, sentence, chinese):
    home.append(back(purpose, sentence), ("confirmed", {"version": "virtual-1-stable", "seconds": 1.0}))
    home.append(("ended", {"outcome": "retreated", "sentence": sentence, "blamed": None}))
    for language, words in (("en", sentence), ("zh", chinese)):
        (cell,) = re.findall(r'<td class="why" data-is="(?:Why|原因)">.*?</td>', home.html(language))
        assert words in cell and ">over<" not in cell


def test_a_rollout_that_a_person_stopped_is_listed_but_is_no_emergency(home):
    seen = home.glance()
    assert seen.needs.en == "Its process was stopped: nobody looks at the evidence." and not seen.urgent
    assert "进程已停止" in seen.needs.zh


def test_pausing_is_not_offered_where_nothing_widens_anyway(home):
    kinds = [each.kind for each in home.view().offers]
    assert kinds == ["abort"]
    home.append(("resumed", {}))
    with Journal.open(home.folder / "journal.sqlite", home.clock):
        assert [each.kind for each in home.view().offers] == ["pause", "promote-now", "abort"]
    assert [each.kind for each in home.view().offers] == ["abort"]


def forward():
    move = {"position": 3.0, "share": 0.5, "stage": "half", "sentence": "wider", "blamed": None}
    weights = {"high": 5000, "standard": 5000}
    return "intended", {"purpose": "widen", "weights": weights, "version": "virtual-1-9", **move}


@pytest.mark.slow
def test_weights_that_the_proxies_refuse_on_the_way_forward_need_a_person_as_well(home):
    home.append(("resumed", {}), forward())
    with Journal.open(home.folder / "journal.sqlite", home.clock) as journal:
        assert not home.first_page()["needing"]
        journal.append("failed", problem="the weights must sum to 10000")
        seen = home.glance()
        assert seen.needs.en.startswith("The proxies do not take new weights: the weights must sum to 10000")
        assert "代理未接受新的权重" in seen.needs.zh and not seen.urgent
        assert home.view().cautions[0].text == seen.needs
        journal.append("confirmed", version="virtual-1-9")
        assert not home.first_page()["needing"]


def test_on_the_way_back_nothing_is_offered_that_would_not_be_heard(home):
    home.append(("resumed", {}), back("abort", "aborted by a person"))
    with Journal.open(home.folder / "journal.sqlite", home.clock) as journal:
        assert [each.kind for each in home.view().offers] == ["abort"]
        journal.append("confirmed", version="virtual-1-stable")
        assert [each.kind for each in home.view().offers] == ["abort"], "its requests are waited for"


def test_what_a_guard_took_back_is_marked_in_the_curve(home):
    home.append(back("unattended", "nobody watched"), ("confirmed", {"version": "virtual-1-stable"}))
    assert home.view().share.marks[-1].style == "unattended"


def test_who_has_customers_on_a_candidate_stands_before_what_is_over(home):
    over = home.folder.with_name("yesterday")
    shutil.copytree(home.folder, over)
    home.append(("resumed", {}))  # and its controller dies
    told = 'notify: ["json://127.0.0.1:1"]\n'
    with Journal.open(over / "journal.sqlite", home.clock) as journal:
        events = list(journal.events())
    (over / "journal.sqlite").unlink()
    with Journal.open(over / "journal.sqlite", VirtualClock(home.clock.now() + 5)) as journal:
        for event in events:
            data = event.data | (
                {"plan_text": event.data["plan_text"] + told} if event.kind == "started" else {}
            )
            journal.append(event.kind, **data)
        journal.append(*back("rollback", "bad")[:1], **back("rollback", "bad")[1])
        journal.append("confirmed", version="virtual-1-stable")
        journal.append("ended", outcome="rolled-back", sentence="bad", blamed=None)
    needing = home.first_page(later=60)["needing"]
    assert [(each.name, each.urgent) for each in needing] == [("v2", True), ("yesterday", True)]


def test_a_damaged_journal_is_called_damaged_and_has_no_age(tmp_path):
    folder = tmp_path / "rollouts" / "broken"
    folder.mkdir(parents=True)
    (folder / "journal.sqlite").write_bytes(b"not a database" * 100)
    told = Told(Readings(folder.parent, SystemClock()), SystemClock())
    page = told.home()
    assert not page["going"] and not page["past"]
    (seen,) = page["needing"]
    assert seen.chip == "damaged" and seen.seconds == 0 and seen.urgent
    assert seen.needs.en == "Its journal cannot be read: whether it is over is not known."
    for language in ("en", "zh"):
        for template, context in (("home", page), ("history", told.history())):
            text = told.html(f"{template}.html.j2", language, "/", context)
            assert "broken" in text and seen.problem.split("\n")[0] in text.replace("&#39;", "'")
            assert (
                " d " not in re.sub("<[^>]*>", "", text).split("broken", 1)[1][:40] and "running" not in text
            )
    assert "damaged" in told.html("rollout.html.j2", "en", "/", told.rollout("broken"))
