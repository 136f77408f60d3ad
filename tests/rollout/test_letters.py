"""Who is told of what, and when: by severity, again until it arrives, louder until somebody answers."""

from __future__ import annotations

import dataclasses

import pytest

from huidu.foundation.journal import Event
from rollout.controller.fold import Move, Purpose, RolloutState, fold
from rollout.letters import (
    EMERGENCIES,
    GIVEN_UP_AFTER,
    SEVERITY,
    Letter,
    Tried,
    due,
    fold_letters,
    unanswered,
    wanted,
)
from rollout.plan.people import Address
from rollout.post import notices

NOBODY = {"high": 0}
STARTED = {"release": "v2", "stable_release": "v1", "cohorts": ["high"]}


def told(*events: tuple[str, dict]) -> list[tuple[str, str]]:
    letters, state = {}, RolloutState()
    for seq, (kind, data) in enumerate([("started", STARTED), *events], start=1):
        event = Event(seq, float(seq), kind, data, "")
        letters = fold_letters(letters, event, state)
        state = fold((event,), state)
    return [(letter.kind, letter.sentence) for letter in letters.values()][1:]


def move(purpose: Purpose, sentence: str = "because") -> tuple[str, dict]:
    weights = {"high": 500} if purpose is Purpose.WIDEN else NOBODY
    return "intended", {**Move(purpose, weights, 0.0, 0.0, "x", sentence).to_data(), "version": "v"}


CONFIRMED = ("confirmed", {"version": "v"})
BACK = move(Purpose.ROLLBACK)


@pytest.mark.parametrize(
    ("events", "letters"),
    [
        ([move(Purpose.WIDEN), CONFIRMED], []),
        ([move(Purpose.WIDEN), ("failed", {"problem": "refused"})], []),
        (
            [move(Purpose.ROLLBACK), CONFIRMED, ("ended", {"outcome": "rolled-back", "sentence": "5 %"})],
            [("rolled-back", "5 %")],
        ),
        ([move(Purpose.RETREAT), CONFIRMED], [("retreated", "because")]),
        (
            [move(Purpose.RETREAT), CONFIRMED, ("ended", {"outcome": "retreated", "sentence": "x"})],
            [("retreated", "because")],
        ),
        ([move(Purpose.UNATTENDED), CONFIRMED], [("guard-acted", "because")]),
        (
            [move(Purpose.ABORT), CONFIRMED, ("ended", {"outcome": "retreated", "sentence": "no"})],
            [("aborted", "no")],
        ),
        ([("ended", {"outcome": "promoted", "sentence": "yes"})], [("promoted", "yes")]),
        (
            [move(Purpose.SERVICE), CONFIRMED, ("ended", {"outcome": "held", "sentence": "both"})],
            [("held", "both")],
        ),
        ([("held", {"sentence": "h"}), ("paused", {"sentence": "p"})], [("held", "h"), ("paused", "p")]),
        ([("waiting", {"stage": "half", "sentence": "w"})], [("waiting", "w")]),
        (
            [("guard-silent", {"sentence": "g"}), ("guard-told", {"sentence": "t"})],
            [("guard-silent", "g"), ("guard-cannot", "t")],
        ),
        # a way back that is refused is an emergency, once, however often it is tried
        (
            [move(Purpose.ROLLBACK), ("failed", {"problem": "dead"}), ("failed", {"problem": "dead"})],
            [("stuck", "because: dead")],
        ),
    ],
)
def test_what_people_want_to_know(events, letters):
    assert told(*events) == letters


def letter(kind="rolled-back", t=0.0, **changed) -> Letter:
    return dataclasses.replace(Letter(7, kind, t, 0.1, "because"), **changed)


@pytest.mark.parametrize(
    ("address", "kind", "hears"),
    [
        ({}, "started", True),
        ({"events": ["promoted"]}, "started", False),
        ({"events": ["promoted"]}, "promoted", True),
        ({"least": "warning"}, "started", False),
        ({"least": "warning"}, "held", True),
        ({"least": "failure"}, "promoted", False),
        ({"least": "failure"}, "guard-acted", True),
        ({"after": "5m"}, "held", False),
        ({"after": "5m"}, "stuck", True),
    ],
)
def test_who_hears_of_it(address, kind, hears):
    assert wanted(Address.model_validate({"to": "x", **address}), letter(kind)) is hears


def sent_at(addresses, times, acknowledge=None, works=lambda place, t: True):
    """(second, address) of everything that is handed over."""
    letters = {7: letter()}
    found = []
    for t in times:
        if acknowledge is not None and t >= acknowledge:
            letters = fold_letters(
                letters, Event(0, float(acknowledge), "act", {"act": "acknowledge"}, ""), RolloutState()
            )
        for each, place in due(letters, addresses, float(t)):
            found.append((t, place))
            data = {"letter": each.number, "address": place, "sent": works(place, t)}
            letters = fold_letters(letters, Event(0, float(t), "told", data, ""), RolloutState())
    return found, letters


def test_it_is_tried_again_with_longer_and_longer_pauses_until_it_arrives():
    found, letters = sent_at([Address(to="x")], range(3000), works=lambda place, t: t > 1000)
    assert [t for t, _ in found] == [0, 30, 90, 210, 450, 930, 1530]
    assert letters[7].tried[0] == Tried(7, 1530.0, True)


def test_yesterday_s_news_is_given_up():
    found, letters = sent_at([Address(to="x")], range(0, 200_000, 500), works=lambda place, t: False)
    assert max(t for t, _ in found) < GIVEN_UP_AFTER
    assert not unanswered(letters, [Address(to="x")], 200_000.0)


CHAIN = [Address(to="first"), Address(to="second", after=300.0), Address(to="third", after=900.0)]


def test_the_next_addresses_are_called_while_nobody_acknowledges():
    found, letters = sent_at(CHAIN, range(0, 2000, 10))
    assert found == [(0, 0), (300, 1), (900, 2)]
    assert not unanswered(letters, CHAIN, 2000.0)


def test_somebody_who_acknowledges_stops_the_calls():
    found, letters = sent_at(CHAIN, range(0, 2000, 10), acknowledge=400)
    assert found == [(0, 0), (300, 1)]
    assert not unanswered(letters, CHAIN, 500.0)
    assert unanswered({7: letter()}, CHAIN, 500.0)


@pytest.mark.parametrize(
    ("kind", "event", "over"),
    [
        ("stuck", "confirmed", True),
        ("stuck", "failed", False),
        ("guard-cannot", "resumed", True),
        ("rolled-back", "confirmed", False),
        ("guard-acted", "resumed", False),
    ],
)
def test_nobody_is_called_any_more_for_what_has_ended_by_itself(kind, event, over):
    going_back = fold(Event(n, 0.0, *each, "") for n, each in ((1, ("started", STARTED)), (2, BACK)))
    letters = {7: letter(kind)}
    letters = fold_letters(letters, Event(8, 9.0, event, {"problem": "x", "version": "v"}, ""), going_back)
    assert letters[7].emergency is not over
    letters = {7: dataclasses.replace(letters[7], tried={0: Tried(1, 0.0, sent=True)})}
    assert [place for _, place in due(letters, CHAIN, 1000.0)] == ([] if over else [1, 2])
    assert unanswered(letters, CHAIN, 10.0) is not over


def test_every_emergency_says_how_to_acknowledge_it():
    for language in ("en", "zh"):
        for kind in EMERGENCIES:
            assert "huidu rollout acknowledge {name} --why" in notices(language)[kind]["body"], (
                language,
                kind,
            )


def test_every_event_has_a_severity_and_words_in_both_languages():
    assert set(EMERGENCIES) <= set(SEVERITY)
    for language in ("en", "zh"):
        words = notices(language)
        assert set(words) == {*SEVERITY, "test"}
        for template in words.values():
            facts = dict.fromkeys(("name", "release", "share", "sentence", "link"), "{<&>}")
            assert template["title"].format_map(facts) and template["body"].format_map(facts)
