"""Journeys check what was answered, not only that something was: every wrong answer fails the visit."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest

from loadtests.customers import Customers
from loadtests.journeys.catalogue import CATALOGUE
from loadtests.plan import Tokens
from loadtests.profile import Population
from loadtests.visit import Customer, Reply, StepFailed, Visit

CUSTOMER = Customer("c-000007", "high", "token")


ANSWERS: Mapping[str, tuple[int, dict[str, Any]]] = {
    "POST /web/leads": (201, {"lead_id": "l1", "status": "registered"}),
    "POST /web/chat/sessions": (201, {"session_id": "s1"}),
    "POST /wechat/sessions": (201, {"session_id": "s2", "customer_id": CUSTOMER.id}),
    "GET /wechat/offers": (200, {"offers": [{"sku": "A", "title": "Tea", "price": 3}]}),
    "GET /shop/products": (200, {"products": [{"sku": "A", "name": "Tea", "price": 3}]}),
    "POST /call/calls": (201, {"call_id": "k1", "status": "logged"}),
}


class Crm:
    """The reference CRM's HTTP interface in memory; `spoil` changes its answers."""

    def __init__(
        self, spoil: Mapping[str, Any] | None = None, status: int | None = None, degraded: str = ""
    ) -> None:
        self.spoil, self.status, self.degraded = dict(spoil or {}), status, degraded
        self.tickets: list[str] = []
        self.orders: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, str, Mapping[str, str]]] = []

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        self.seen.append((method, path, headers))
        if self.degraded and path.startswith(self.degraded):
            text = json.dumps({"degraded": True, "channel": "channel-shop"} | self.spoil)
            return Reply(503, {"x-degraded": "true"}, {}, text.encode())
        sent = json.loads(body) if body else {}
        status, answer = self._answer(method, path, sent)
        answer |= {name: value for name, value in self.spoil.items() if name in answer}
        text = json.dumps({name: value for name, value in answer.items() if value != "missing"})
        return Reply(self.status or status, {}, {"visitor": "v1"}, text.encode())

    def _answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if (method, path) == ("POST", "/shop/orders"):
            self.orders["o1"] = {"order_id": "o1", "status": "placed", **sent, "total": 3 * sent["quantity"]}
            return 201, {"order_id": "o1", "status": "placed", "total": 3 * sent["quantity"]}
        if path == "/shop/orders/o1":
            return 200, dict(self.orders["o1"])
        if path.endswith("/messages"):
            return 201, {"message_id": "m1", "echo": sent["text"]}
        if path.endswith("/tickets"):
            self.tickets.append(path.split("/")[1])
            touchpoints = sorted(set(self.tickets))
            priority = "priority" if len(touchpoints) >= 3 else "normal"
            return 201, {"ticket_id": "t1", "priority": priority, "touchpoints": touchpoints}
        if path == "/call/customers/me":
            return 200, {"customer_id": CUSTOMER.id, "tier": "high", "open_tickets": len(self.tickets)}
        status, answer = ANSWERS[f"{method} {path}"]
        return status, dict(answer)


def walk(name: str, crm: Crm, customer: Customer | None = CUSTOMER) -> list[tuple[str, str | None]]:
    """(step, failure) of one visit."""
    steps: list[tuple[str, str | None]] = []
    clock = iter(range(1000))
    visit = Visit(
        exchange=crm,
        stopwatch=lambda step, sent, done, failure: steps.append((step, failure)),
        monotonic=lambda: float(next(clock)),
        pause=lambda: None,
        rng=random.Random(1),
        customer=customer,
    )
    try:
        CATALOGUE[name].run(visit)
    except StepFailed as error:
        visit.finish(str(error))
    else:
        visit.finish()
    return steps


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_visit_where_all_goes_well_has_the_steps_it_is_counted_with(name: str) -> None:
    crm = Crm()
    steps = walk(name, crm)
    assert [failure for _, failure in steps] == [None] * CATALOGUE[name].steps
    assert all(headers["Authorization"] == "Bearer token" for _, _, headers in crm.seen)


@pytest.mark.parametrize("name", [name for name, journey in CATALOGUE.items() if not journey.known])
def test_anybody_may_make_the_open_journeys_and_keeps_the_cookie_he_was_given(name: str) -> None:
    crm = Crm()
    assert all(failure is None for _, failure in walk(name, crm, customer=None))
    assert all("Authorization" not in headers for _, _, headers in crm.seen)
    assert all(headers.get("Cookie") == "visitor=v1" for _, _, headers in crm.seen[1:])


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("web-lead", {"lead_id": "missing"}),
        ("web-lead", {"status": "queued"}),
        ("web-chat", {"session_id": ""}),
        ("web-chat", {"echo": "something else"}),
        ("web-ticket", {"touchpoints": ["shop"]}),
        ("web-ticket", {"priority": "priority"}),
        ("web-ticket", {"touchpoints": ["web", "shop", "call"]}),
        ("wechat-browse", {"customer_id": "c-000008"}),
        ("wechat-browse", {"offers": [{"sku": "A"}]}),
        ("wechat-browse", {"offers": "none"}),
        ("shop-browse", {"products": []}),
        ("shop-browse", {"products": [{"sku": "A"}]}),
        ("shop-order", {"status": "pending"}),
        ("shop-order", {"total": "missing"}),
        ("shop-order", {"quantity": 99}),
        ("shop-order", {"total": 1}),
        ("wechat-browse", {"offers": []}),
        ("priority-ticket", {"priority": "normal"}),
        ("priority-ticket", {"open_tickets": 2}),
        ("priority-ticket", {"touchpoints": ["web", "wechat", "shop"], "priority": "priority"}),
        ("lead-to-order", {"customer_id": "c-000008"}),
        ("lead-to-order", {"echo": "something else"}),
        ("order-or-call", {"status": "pending"}),
        ("order-or-call", {"products": []}),
        ("call-log", {"tier": "standard"}),
        ("call-log", {"customer_id": "c-000001"}),
        ("call-log", {"status": "lost"}),
    ],
)
def test_a_wrong_answer_with_a_good_status_fails_its_step(name: str, spoil: dict[str, Any]) -> None:
    steps = walk(name, Crm(spoil))
    assert [failure is None for _, failure in steps] == [True] * (len(steps) - 1) + [False]


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("status", [204, 302, 401, 404, 422, 500, 503])
def test_a_wrong_status_fails_the_first_step(name: str, status: int) -> None:
    steps = walk(name, Crm(status=status))
    assert len(steps) == 1
    assert f"status {status}" in str(steps[0][1])


@pytest.mark.parametrize(
    ("degraded", "steps"),
    [
        ("/shop/products", ["see products", "log call"]),
        ("/shop/orders", ["see products", "place order", "log call"]),
        ("/shop/orders/", ["see products", "place order", "see order"]),
    ],
)
def test_where_the_shop_is_degraded_the_call_centre_takes_the_order(degraded: str, steps: list[str]) -> None:
    assert walk("order-or-call", Crm(degraded=degraded)) == [(step, None) for step in steps]


@pytest.mark.parametrize("spoil", [{"degraded": False}, {"channel": "web"}, {"channel": ""}])
def test_a_degraded_mode_that_does_not_say_so_fails(spoil: dict[str, Any]) -> None:
    steps = walk("order-or-call", Crm(spoil, degraded="/shop/"))
    assert len(steps) == 1 and "wrong answer" in str(steps[0][1])


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    file = tmp_path / "token.key"
    file.write_text(base64.urlsafe_b64encode(b"k" * 32).decode().rstrip("=") + "\n")
    return Tokens(key_file=file, issuer="huidu-crm", audience="touchpoints", count=50, high=10)


def test_customers_carry_tokens_the_edge_accepts_and_are_drawn_by_tier(tokens: Tokens) -> None:
    customers, rng = Customers(tokens, Population(high=0.44, standard=0.56)), random.Random(1)
    drawn = [customers.draw(rng) for _ in range(5000)]
    assert sum(each.tier == "high" for each in drawn) / 5000 == pytest.approx(0.44, abs=0.03)
    assert {each.id for each in drawn} == {f"c-{number:06d}" for number in range(1, 51)}
    for each in {each.id: each for each in drawn}.values():
        claims = jwt.decode(
            each.token, b"k" * 32, algorithms=["HS256"], audience="touchpoints", issuer="huidu-crm"
        )
        assert claims["sub"] == each.id
        assert claims["tier"] == each.tier == ("high" if int(each.id[2:]) <= 10 else "standard")


def test_a_token_is_signed_once_a_customer(tokens: Tokens) -> None:
    customers, rng = Customers(tokens, Population()), random.Random(1)
    drawn: dict[str, Customer] = {}
    for _ in range(500):
        one = customers.draw(rng)
        assert drawn.setdefault(one.id, one) is one
