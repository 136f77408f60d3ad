"""What the channels and the core accept, and how they refuse, without any server."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.core.client import describe
from crm.core.tryton_module.arriving import values_of
from crm.touchpoints.answers import Form, Refused
from crm.touchpoints.arrival import Arrival
from crm.touchpoints.tickets import priority_of


@pytest.mark.parametrize(
    ("touchpoints", "priority"),
    [
        ([], "normal"),
        (["web", "web", "web"], "normal"),
        (["web", "call"], "normal"),
        (["web", "call", "shop"], "priority"),
        (["web", "call", "shop", "wechat"], "priority"),
    ],
)
def test_three_different_touchpoints_make_a_priority(touchpoints: list[str], priority: str) -> None:
    assert priority_of(touchpoints) == priority


@pytest.mark.parametrize(
    ("headers", "customer", "tier", "visitor"),
    [
        ([(b"x-customer-id", b"c-000001"), (b"x-customer-tier", b"high")], "c-000001", "high", None),
        ([(b"x-customer-id", b"c-000001")], "c-000001", "standard", None),
        ([(b"x-customer-tier", b"high")], None, "anonymous", None),
        ([(b"cookie", b"a=b; visitor=abc")], None, "anonymous", "abc"),
        ([(b"cookie", b"\xff;=;;visitor")], None, "anonymous", None),
    ],
)
def test_a_customer_is_who_the_edge_says(headers: Any, customer: Any, tier: str, visitor: Any) -> None:
    assert Arrival.read("/web/leads", headers) == Arrival("web", customer, tier, visitor)


@pytest.mark.parametrize(("path", "channel"), [("/shop/orders", "shop"), ("/", "none"), ("/admin/x", "none")])
def test_the_channel_is_the_first_part_of_the_path(path: str, channel: str) -> None:
    assert Arrival.read(path, []).channel == channel


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.floats() | st.integers() | st.text()))
def test_a_form_gives_clean_input_or_names_the_field(fields: dict[str, Any]) -> None:
    form = Form({"subject": None, **fields})
    for read in (
        lambda: form.text("subject"),
        lambda: form.whole("quantity", least=1, most=9),
        lambda: form.number("minutes", least=0, most=60),
        lambda: form.email("email"),
    ):
        try:
            read()
        except Refused as refused:
            assert refused.status == 422
            assert refused.field in {"subject", "quantity", "minutes", "email"}


@pytest.mark.parametrize("value", ["", "  ", "a\x00b", "\ud800", "x" * 201, 5, None, ["a"]])
def test_a_text_that_could_not_be_kept_is_refused(value: Any) -> None:
    with pytest.raises(Refused) as refused:
        Form({"subject": value}).text("subject")
    assert (refused.value.status, refused.value.field) == (422, "subject")


@pytest.mark.parametrize("value", [0, 10, 1.5, True, "1", None, float("nan"), float("inf")])
def test_a_quantity_is_a_whole_number_in_its_range(value: Any) -> None:
    with pytest.raises(Refused):
        Form({"quantity": value}).whole("quantity", least=1, most=9)


def event(**changes: Any) -> dict[str, Any]:
    return {
        "uuid": str(uuid4()),
        "at": "2026-05-01T12:00:00.25+08:00",
        "touchpoint": "web",
        "kind": "lead.registered",
        "customer_code": "c-000001",
        "payload": {"a": 1},
        **changes,
    }


def test_the_core_keeps_times_in_utc() -> None:
    assert values_of(event())["at"] == dt.datetime(2026, 5, 1, 4, 0, 0, 250000)


def test_a_priority_ticket_is_a_priority_in_the_core() -> None:
    assert values_of(event(payload={"priority": "priority"}))["priority"]
    assert not values_of(event(payload={"priority": "normal"}))["priority"]


def test_one_uuid_has_one_form() -> None:
    known = "A1B2C3D4-0000-4000-8000-00000000ABCD"
    assert values_of(event(uuid=known))["uuid"] == known.lower()


@pytest.mark.parametrize(
    "changes",
    [
        {"uuid": "no"},
        {"uuid": None},
        {"at": "2026-05-01T12:00:00"},
        {"at": "soon"},
        {"at": 5},
        {"touchpoint": "fax"},
        {"kind": ""},
        {"kind": "x" * 201},
        {"customer_code": 7},
        {"customer_code": "a\x00"},
        {"payload": "text"},
    ],
)
def test_the_core_refuses_an_event_it_could_not_use(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        values_of(event(**changes))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (["UserError", ["stored once", "", None]], "UserError: ['stored once', '', None]"),
        (["relation missing", "Traceback\n  File\nUndefinedTable: x"], "relation missing: UndefinedTable: x"),
        ("odd", "odd"),
    ],
)
def test_an_error_of_the_core_is_told_in_one_line(error: Any, text: str) -> None:
    assert describe(error) == text
