"""Whatever is journaled is told in plain words, in both languages: no event kind is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

import rollout
from huidu.foundation.journal import Event
from rollout.controller import fold, proxies
from rollout.controller.fold import Purpose
from rollout.observe import would
from rollout.plan.people import ActKind
from rollout.serve.story import UNTOLD, Story, Turn
from rollout.serve.turns import WORDS, job_word, turn_text

ROOM = Path(rollout.__file__).parent
WRITERS = ("note", "_note", "rest", "append")
"""Methods that journal: of the controller's ledger, the observer, a journal."""
OTHER_JOURNALS = ("gate", "bench", "retention.py")
"""What writes journals that no page reads."""


def kinds_journaled():
    """Every kind of event that code of this package writes, found in its source."""
    found = set(fold._APPLY) | set(proxies._APPLY)
    for path in ROOM.rglob("*.py"):
        if path.relative_to(ROOM).parts[0] in OTHER_JOURNALS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            kind = node.args[0]
            written = isinstance(kind, ast.Constant) and isinstance(kind.value, str)
            # A list's append takes no keywords; a journal's event without data is noted, never appended.
            if written and node.func.attr in WRITERS and (node.func.attr != "append" or node.keywords):
                found.add(kind.value)
    return found


@pytest.mark.slow
def test_the_source_is_read_for_what_it_journals():
    assert {"job-begun", "compared", "shifted", "told", "held", "guard-ended", "started"} <= kinds_journaled()


MEANINGS = {
    "confirmed": {each.value for each in Purpose},
    "act": {*get_args(ActKind), "refused"},
    "would": {f"would-{act}" for act in (*would.BACK, "widen", "everybody", "promote")},
    "judged": {"blind", "seeing"},
}
"""Events of which the page makes turns of other names."""
TURNS = sorted(
    {kind for kind in kinds_journaled() - {*UNTOLD, *MEANINGS}}
    | {k for each in MEANINGS.values() for k in each}
)


@pytest.mark.parametrize("kind", TURNS)
def test_every_kind_of_event_has_its_words_in_both_languages(kind):
    assert kind in WORDS, f"what is journaled as {kind!r} has no words: rollout/serve/turns.yaml"
    word = WORDS[kind][0]
    text = turn_text(Turn(1.0, kind, 0.05, "half", {"high": 500}, ""))
    chinese = re.compile("[一-鿿]")
    assert chinese.search(word.zh) and chinese.search(text.zh)
    assert word.en and not chinese.search(word.en) and text.en and not chinese.search(text.en)
    assert "{" not in text.en + text.zh


def test_no_words_are_kept_for_what_is_never_told():
    assert set(WORDS) == set(TURNS)


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("start", "starting the candidate", "启动候选版本"),
        ("contract", "contracting the schema", "收缩数据库结构"),
        ("rollback.old orders.v2.undo", "rollback step old orders.v2: undo", "回退步骤 old orders.v2，撤销"),
        ("a user's own", "command a user's own", "命令 a user's own"),
    ],
)
def test_a_command_is_named_by_what_it_is_for(name, english, chinese):
    assert job_word(name) == (english, chinese)


def told(*events):
    story = Story()
    story.tell(Event(number, float(number), kind, data, "") for number, (kind, data) in enumerate(events, 3))
    return [(turn.kind, turn_text(turn)) for turn in story.turns]


def test_a_command_s_turns_say_what_ran_and_what_went_wrong():
    begun, failed = told(
        ("job-begun", {"name": "rollback.prices.run", "facts": {}}),
        ("job-failed", {"name": "rollback.prices.run", "problem": "exit code 3"}),
    )
    assert begun[1].en == "Rollback step prices: run: the command runs"
    assert failed[1].zh == "回退步骤 prices，执行：失败（exit code 3）"


def test_looks_at_the_first_customers_are_told_when_they_say_something_else():
    same, other = {"sentence": "", "gates": {}}, {"sentence": "errors differ", "gates": {}}
    turns = told(*[("compared", each) for each in (same, same, other, other)])
    assert [text.en for _, text in turns] == [
        "No difference between the first customers and the others",
        "errors differ",
    ]


def test_a_candidate_that_had_nothing_open_is_not_waited_for_in_words():
    nothing = {"before": 0, "after": 0, "silent": [], "sentence": "0 requests"}
    assert told(("draining", {"open": 0, "silent": [], "sentence": "0 requests"}), ("drained", nothing)) == []
    (turn,) = told(("draining", {"open": 2, "silent": [], "sentence": "2 requests of v2 still open"}))
    assert turn[1].en == "2 requests of v2 still open" and "未结束" in turn[1].zh


def test_what_a_proxy_does_not_say_is_open_is_not_shown_as_nothing_open_or_as_over():
    sentence = "what v2 still serves is not known of 1 of 2 proxies: b did not say"
    waits, ended = told(
        ("draining", {"open": 0, "proxies": {"a": 0}, "silent": ["b"], "sentence": sentence}),
        ("drained", {"before": 0, "after": 0, "silent": ["b"], "sentence": sentence + "; it may go on"}),
    )
    assert (waits[1].en, ended[1].en) == (sentence, sentence + "; it may go on")
    for _, text in (waits, ended):
        assert "1 个代理没有回答" in text.zh and "已结束" not in text.zh
    (turn,) = told(("drained", {"before": 3, "after": 2, "silent": [], "sentence": "2 go on"}))
    assert "2 个请求仍未结束" in turn[1].zh and "已结束" not in turn[1].zh


def test_who_takes_over_says_how_long_nobody_watched():
    (turn,) = told(("resumed", {"unwatched": 200.0}))
    assert turn[1].en.endswith("nobody had watched for 3 min 20 s") and "3 分 20 秒无人监看" in turn[1].zh
