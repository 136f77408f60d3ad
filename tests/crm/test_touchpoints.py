"""The four channels on a real PostgreSQL: what they answer, what they write, and how they fail honestly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.server

CUSTOMER = {"x-customer-id": "c-000001", "x-customer-tier": "high"}
TICKET = {"subject": "late parcel", "text": "where is it?"}


def call(url: str, method: str, path: str, body: Any = None, headers: Any = None) -> requests.Response:
    return requests.request(method, url + path, json=body, headers=headers or {}, timeout=15)


def order(url: str, headers: Any = None, **body: Any) -> requests.Response:
    return call(url, "POST", "/shop/orders", {"sku": "TEA-001", "quantity": 2, **body}, headers or CUSTOMER)


def metric(url: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    families = text_string_to_metric_families(requests.get(url + "/metrics", timeout=5).text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def kinds(connection: psycopg.Connection[Any]) -> list[str]:
    return [row[0] for row in connection.execute("SELECT kind FROM outbox ORDER BY seq").fetchall()]


def test_an_anonymous_visitor_leaves_a_lead_and_keeps_his_cookie(touchpoints: Any, connection: Any) -> None:
    url = touchpoints().url
    lead = {"name": "Li Lei", "email": "li@example.cn", "interest": "tea"}
    first = call(url, "POST", "/web/leads", lead)
    assert (first.status_code, first.json()["status"]) == (201, "registered")
    assert first.headers["x-release"] == "v1"
    visitor = first.cookies["visitor"]
    again = requests.post(url + "/web/leads", json=lead, cookies={"visitor": visitor}, timeout=5)
    assert "set-cookie" not in again.headers
    rows = connection.execute("SELECT tier, channel, customer_id, kind, payload FROM outbox").fetchall()
    assert [row[:4] for row in rows] == [("anonymous", "web", None, "lead.registered")] * 2
    assert {row[4]["visitor"] for row in rows} == {visitor}


def test_a_chat_belongs_to_whoever_began_it(touchpoints: Any) -> None:
    url = touchpoints().url
    session = call(url, "POST", "/web/chat/sessions", {}, CUSTOMER).json()["session_id"]
    said = call(url, "POST", f"/web/chat/sessions/{session}/messages", {"text": "你好"}, CUSTOMER)
    assert (said.status_code, said.json()["echo"]) == (201, "你好")
    stranger = {"x-customer-id": "c-000002"}
    for headers in (stranger, {}):
        other = call(url, "POST", f"/web/chat/sessions/{session}/messages", {"text": "hi"}, headers)
        assert other.status_code == 404


def test_an_order_is_placed_found_again_and_told_to_the_core(touchpoints: Any, connection: Any) -> None:
    url = touchpoints().url
    products = call(url, "GET", "/shop/products").json()["products"]
    price = next(product["price"] for product in products if product["sku"] == "TEA-001")
    placed = order(url)
    assert (placed.status_code, placed.json()["status"], placed.json()["total"]) == (201, "placed", 2 * price)
    number = placed.json()["order_id"]
    found = call(url, "GET", f"/shop/orders/{number}", headers=CUSTOMER).json()
    assert found == {
        "order_id": number,
        "status": "placed",
        "sku": "TEA-001",
        "quantity": 2,
        "total": 2 * price,
    }
    assert call(url, "GET", f"/shop/orders/{number}", headers={"x-customer-id": "c-2"}).status_code == 404
    row = connection.execute(
        "SELECT release, tier, channel, customer_id, kind, payload->>'order_id' FROM outbox"
    ).fetchall()
    assert row == [("v1", "high", "shop", "c-000001", "order.placed", number)]


def test_the_call_centre_logs_a_call_and_sees_the_caller(touchpoints: Any, connection: Any) -> None:
    url = touchpoints().url
    logged = call(url, "POST", "/call/calls", {"subject": "invoice", "minutes": 3.5}, CUSTOMER)
    assert (logged.status_code, logged.json()["status"]) == (201, "logged")
    call(url, "POST", "/call/tickets", TICKET, CUSTOMER)
    caller = call(url, "GET", "/call/customers/me", headers=CUSTOMER).json()
    assert caller == {"customer_id": "c-000001", "tier": "high", "open_tickets": 1}
    assert kinds(connection) == ["call.logged", "ticket.opened"]


def test_the_mini_program_has_sessions_and_offers(touchpoints: Any) -> None:
    url = touchpoints().url
    session = call(url, "POST", "/wechat/sessions", {}, CUSTOMER).json()
    assert UUID(session["session_id"])
    assert session["customer_id"] == "c-000001"
    offers = call(url, "GET", "/wechat/offers").json()["offers"]
    assert offers
    assert all(set(offer) == {"sku", "title", "price"} for offer in offers)


def test_a_matter_raised_from_three_touchpoints_is_a_priority(touchpoints: Any, connection: Any) -> None:
    """Over both arms of a release: they share the database."""
    stable, candidate = touchpoints("v1").url, touchpoints("v2").url
    first = call(stable, "POST", "/web/tickets", TICKET, CUSTOMER).json()
    again = call(candidate, "POST", "/web/tickets", TICKET, CUSTOMER).json()
    second = call(candidate, "POST", "/wechat/tickets", TICKET, CUSTOMER).json()
    assert [each["priority"] for each in (first, again, second)] == ["normal"] * 3
    third = call(stable, "POST", "/call/tickets", TICKET, CUSTOMER).json()
    assert (third["priority"], third["touchpoints"]) == ("priority", ["call", "web", "wechat"])
    other = call(stable, "POST", "/shop/tickets", TICKET, {"x-customer-id": "c-000002"}).json()
    assert other["priority"] == "normal"
    (raised,) = connection.execute("SELECT payload->'tickets' FROM outbox WHERE kind = 'ticket.priority'")
    assert set(raised[0]) == {each["ticket_id"] for each in (first, again, second, third)}
    assert connection.execute("SELECT count(*) FROM tickets WHERE priority").fetchone() == (4,)


def test_three_tickets_at_the_same_instant_see_each_other(touchpoints: Any) -> None:
    urls = [touchpoints("v1").url, touchpoints("v2").url, touchpoints("v1").url]
    for number in range(5):
        headers = {"x-customer-id": f"c-9{number}", "x-customer-tier": "standard"}
        together = threading.Barrier(3)

        def raise_ticket(url: str, path: str, together: Any = together, headers: Any = headers) -> str:
            together.wait()
            return str(call(url, "POST", path, TICKET, headers).json()["priority"])

        with ThreadPoolExecutor(3) as threads:
            answers = list(
                threads.map(raise_ticket, urls, ["/web/tickets", "/shop/tickets", "/call/tickets"])
            )
        assert sorted(answers) == ["normal", "normal", "priority"]


WRONG = [
    ("POST", "/web/leads", {"name": "A", "email": "nobody"}, 422, "email"),
    ("POST", "/web/leads", {"email": "a@b.cn"}, 422, "name"),
    ("POST", "/web/tickets", {"subject": "", "text": "x"}, 422, "subject"),
    ("POST", "/shop/orders", {"sku": "TEA-001", "quantity": 0}, 422, "quantity"),
    ("POST", "/shop/orders", {"sku": "nothing", "quantity": 1}, 422, "sku"),
    ("POST", "/call/calls", {"subject": "x", "minutes": "long"}, 422, "minutes"),
    ("POST", "/web/leads", ["a list"], 422, "body"),
    ("GET", f"/shop/orders/{uuid4()}", None, 404, None),
    ("GET", "/shop/orders/1", None, 404, None),
    ("POST", f"/web/chat/sessions/{uuid4()}/messages", {"text": "x"}, 404, None),
    ("GET", "/nothing/here", None, 404, None),
    ("DELETE", "/shop/products", None, 404, None),
]


def test_wrong_input_is_refused_by_name_and_leaves_nothing(touchpoints: Any, connection: Any) -> None:
    url = touchpoints().url
    for method, path, body, status, field in WRONG:
        answer = call(url, method, path, body, CUSTOMER)
        said = (method, path, answer.status_code, answer.json().get("field"))
        assert said == (method, path, status, field)
        assert answer.json()["error"]
    nonsense = requests.post(url + "/web/leads", data=b"\xff{", timeout=5)
    deep = requests.post(url + "/web/leads", data=b"[" * 60_000, timeout=5)
    long = requests.post(url + "/web/leads", data=b" " * 70_000, timeout=5)
    assert {(each.status_code, each.json()["field"]) for each in (nonsense, deep, long)} == {(422, "body")}
    assert kinds(connection) == []


def test_what_needs_a_customer_answers_401_to_a_visitor(touchpoints: Any) -> None:
    url = touchpoints().url
    for path in ("/web/tickets", "/wechat/tickets", "/shop/tickets", "/call/tickets", "/shop/orders"):
        assert call(url, "POST", path, TICKET).status_code == 401
    assert call(url, "POST", "/call/calls", {"subject": "x", "minutes": 1}).status_code == 401
    assert call(url, "GET", "/call/customers/me").status_code == 401


def test_metrics_tell_release_channel_tier_and_conversion(touchpoints: Any) -> None:
    url = touchpoints("v7").url
    for customer in ("c-000001", "c-000001", "c-000002"):
        headers = {"x-customer-id": customer, "x-customer-tier": "high"}
        call(url, "GET", "/shop/products", headers=headers)
        order(url, headers)
    call(url, "GET", "/wechat/offers")
    assert metric(url, "crm_requests_total", release="v7", channel="shop", tier="high", code="201") == 3
    assert metric(url, "crm_requests_total", channel="wechat", tier="anonymous", code="200") == 1
    assert metric(url, "crm_request_seconds_count", release="v7", channel="shop", tier="high") == 6
    assert metric(url, "crm_sessions_total", channel="shop", tier="high") == 3
    assert metric(url, "crm_orders_total", channel="shop", tier="high") == 3
    assert metric(url, "crm_customers_seen_total", release="v7", tier="high") == 2


def test_one_customers_part_of_requests_and_failures_is_told_without_his_name(touchpoints: Any) -> None:
    url = touchpoints("v7", "all").url
    for customer in ("c-000001", "c-000001", "c-000002"):
        call(url, "GET", "/wechat/offers", headers={"x-customer-id": customer, "x-customer-tier": "high"})
    for _ in range(3):  # a visitor is whoever his cookie says: no customer
        call(url, "GET", "/wechat/offers", headers={"cookie": "visitor=abc"})
    assert metric(url, "crm_largest_customer_requests", release="v7", tier="high") == 2
    assert metric(url, "crm_largest_customer_failures", release="v7", tier="high") == 2
    assert metric(url, "crm_largest_customer_requests", release="v7", tier="anonymous") == 0
    assert "c-0000" not in requests.get(url + "/metrics", timeout=5).text


def test_without_the_database_lists_are_marked_degraded_and_orders_refused(
    touchpoints: Any, database: str, postgres: Any, eventually: Callable[..., Any]
) -> None:
    url = touchpoints().url
    products = call(url, "GET", "/shop/products").json()["products"]
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with postgres.connect() as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        degraded = call(url, "GET", "/shop/products")
        assert (degraded.status_code, degraded.headers["x-degraded"]) == (200, "products")
        assert degraded.json() == {"products": products, "degraded": True}
        assert call(url, "GET", "/wechat/offers").status_code == 503  # never seen, so nothing to give
        refused = order(url)
        assert refused.status_code == 503
        assert "not done" in refused.json()["error"]
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    eventually(lambda: order(url).status_code == 201)
    healed = call(url, "GET", "/shop/products")
    assert "degraded" not in healed.json()


def test_a_request_in_hand_is_answered_when_the_service_is_stopped(touchpoints: Any) -> None:
    process = touchpoints("v1", "latency=+4s@100%")
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(order, process.url)
        time.sleep(2.0)
        assert process.stop() in (0, -15)
        assert answer.result().status_code == 201


def test_the_defect_errors_fails_its_share_and_does_nothing_then(touchpoints: Any, connection: Any) -> None:
    url = touchpoints("bad", "errors=50%").url
    codes = [order(url).status_code for _ in range(60)]
    assert set(codes) == {201, 500}
    assert 10 <= codes.count(500) <= 50  # beyond this once in 10^7
    assert len(kinds(connection)) == codes.count(201)


def test_the_defect_all_fails_everything(touchpoints: Any, connection: Any) -> None:
    process = touchpoints("bad", "all")
    assert {order(process.url).status_code for _ in range(10)} == {500}
    assert call(process.url, "GET", "/shop/products").status_code == 500
    assert requests.get(process.url + "/healthz", timeout=5).ok  # the process lives: only its answers are bad
    assert kinds(connection) == []


def test_the_defect_latency_delays_its_share(touchpoints: Any) -> None:
    url = touchpoints("slow", "latency=+300ms@50%").url
    seconds = [order(url).elapsed.total_seconds() for _ in range(20)]
    late = sum(each >= 0.3 for each in seconds)
    assert 1 <= late <= 19
    assert min(seconds) < 0.2


def test_the_defect_conversion_loses_orders_that_still_answer_201(touchpoints: Any, connection: Any) -> None:
    url = touchpoints("poor", "conversion=-50%").url
    statuses = [order(url).json()["status"] for _ in range(60)]
    assert set(statuses) == {"placed", "pending"}
    placed = statuses.count("placed")
    assert metric(url, "crm_orders_total") == placed
    assert kinds(connection) == ["order.placed"] * placed
    assert metric(url, "crm_requests_total", code="201") == 60


def test_the_defect_locks_makes_the_stable_arm_wait_and_ends_with_its_traffic(
    touchpoints: Any, connection: Any, eventually: Callable[..., Any]
) -> None:
    stable, candidate = touchpoints("v1").url, touchpoints("bad", "locks").url
    held = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND granted"

    def locks() -> int:
        return int(connection.execute(held).fetchone()[0])

    assert order(stable).status_code == 201
    call(candidate, "GET", "/shop/products")
    eventually(lambda: locks() > 0, every=0.01)
    assert order(stable).elapsed.total_seconds() > 0.5
    eventually(lambda: locks() == 0)
    time.sleep(1.0)
    assert locks() == 0
    assert call(candidate, "GET", "/shop/products").ok  # reading is not locked
