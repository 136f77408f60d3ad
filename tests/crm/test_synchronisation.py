"""From the outbox into a real Tryton: exactly once, whoever is killed and whatever is cut."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import requests

from crm.core.client import Core, CoreFailed, CoreUnreachable
from crm.synchronisation.delays import read_delays

pytestmark = pytest.mark.server

TICKET = {"subject": "late parcel", "text": "where is it?"}


TROUBLE = """
    CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN IF NEW.kind = 'trouble' THEN RAISE 'trouble'; END IF; RETURN NEW; END$$;
    CREATE TRIGGER trouble BEFORE INSERT ON huidu_touchpoint_event FOR EACH ROW EXECUTE FUNCTION trouble()
"""


def write(
    connection: psycopg.Connection[Any], count: int, release: str = "v1", channel: str = "web"
) -> list[str]:
    """Events of `count` customers; their UUIDs."""
    query = (
        "INSERT INTO outbox (event_id, release, tier, channel, customer_id, kind, payload)"
        " SELECT gen_random_uuid(), %(release)s, 'high', %(channel)s, 'c-' || lpad((n %% 50)::text, 6, '0'),"
        "        'order.placed', '{}' FROM generate_series(1, %(count)s) AS n RETURNING event_id"
    )
    values = {"release": release, "count": count, "channel": channel}
    return [str(row[0]) for row in connection.execute(query, values)]


def waiting(connection: psycopg.Connection[Any]) -> int:
    return sum(delay.waiting for delay in read_delays(connection))


def stored(core: Any, uuids: list[str]) -> list[str]:
    """Those of the UUIDs that are in Tryton, as often as they are there."""
    query = "SELECT uuid FROM huidu_touchpoint_event WHERE uuid = ANY(%s)"
    return sorted(row[0] for row in core.rows(query, uuids))


def test_what_customers_do_is_written_back_with_who_when_and_where(
    touchpoints: Any, worker: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    url = touchpoints("v1").url
    customer = f"c-{random.randrange(10**6):06d}"
    headers = {"x-customer-id": customer, "x-customer-tier": "high"}
    before = time.time()
    for path in ("/web/tickets", "/wechat/tickets", "/call/tickets"):
        assert requests.post(url + path, json=TICKET, headers=headers, timeout=5).status_code == 201
    requests.post(url + "/web/leads", json={"name": "A", "email": "a@b.cn"}, timeout=5)
    worker("v1")
    eventually(lambda: waiting(connection) == 0)
    (lead,) = connection.execute("SELECT event_id FROM outbox WHERE kind = 'lead.registered'").fetchone()
    rows = core.rows(
        "SELECT e.touchpoint, e.kind, e.priority, p.code, extract(epoch FROM e.at)"
        " FROM huidu_touchpoint_event e JOIN party_party p ON p.id = e.party"
        " WHERE e.customer_code = %s ORDER BY e.at",
        customer,
    )
    assert [row[:4] for row in rows] == [
        ("web", "ticket.opened", False, customer),
        ("wechat", "ticket.opened", False, customer),
        ("call", "ticket.opened", True, customer),
        ("call", "ticket.priority", True, customer),
    ]
    assert all(before - 1 < float(row[4]) < time.time() + 1 for row in rows)
    assert core.rows(
        "SELECT party, customer_code FROM huidu_touchpoint_event WHERE uuid = %s", str(lead)
    ) == [(None, "")]


def test_a_worker_killed_at_any_instant_neither_loses_nor_doubles_an_event(
    worker: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    uuids: list[str] = []
    chance = random.Random(3)
    for _ in range(6):
        uuids += write(connection, 150)
        process = worker("v1")
        before = len(uuids)
        eventually(lambda before=before: waiting(connection) < before, every=0.002)
        uuids += write(connection, 150)
        time.sleep(chance.uniform(0.0, 0.5))  # idle, in the core, between the core and the mark
        process.kill()
    worker("v1")
    eventually(lambda: waiting(connection) == 0)
    assert stored(core, uuids) == sorted(uuids)
    delivered = connection.execute("SELECT count(*) FROM outbox WHERE delivered_at IS NOT NULL").fetchone()
    assert delivered == (len(uuids),)
    (delay,) = read_delays(connection)
    assert delay.delivered == len(uuids)


def test_an_answer_lost_on_the_link_does_not_double_the_events(
    worker: Any, link: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    worker("v1")
    write(connection, 1)
    eventually(lambda: waiting(connection) == 0)
    link.lose_answers()
    uuids = write(connection, 20)
    eventually(lambda: len(stored(core, uuids)) == 20)
    assert waiting(connection) == 20  # the worker never heard of it
    link.mend()
    eventually(lambda: waiting(connection) == 0)
    assert stored(core, uuids) == sorted(uuids)


def test_when_the_link_is_cut_events_wait_count_as_late_and_go_on_by_themselves(
    worker: Any, link: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    process = worker("v1")
    write(connection, 1)
    eventually(lambda: waiting(connection) == 0)
    (before,) = read_delays(connection)
    link.cut()
    uuids = write(connection, 10)
    eventually(lambda: 'crm_sync_link_up{release="v1"} 0.0' in requests.get(process.url, timeout=5).text)
    time.sleep(1.2)
    (delay,) = read_delays(connection)
    assert (delay.waiting, delay.overdue[1.0] - before.overdue[1.0]) == (10, 10)
    assert stored(core, uuids) == []
    link.mend()
    eventually(lambda: waiting(connection) == 0)
    assert stored(core, uuids) == sorted(uuids)
    (delay,) = read_delays(connection)
    assert delay.overdue[1.0] - before.overdue[1.0] == 10  # once late, late for good
    assert process.popen.poll() is None


def test_with_a_dead_worker_events_become_late_all_the_same(
    worker: Any, monitor: Any, connection: Any
) -> None:
    worker("v1").kill()
    url = monitor().url
    write(connection, 7)
    time.sleep(1.1)
    text = requests.get(url + "/metrics", timeout=5).text
    assert 'crm_sync_overdue_total{le="1.0",release="v1",tier="high"} 7.0' in text
    assert 'crm_sync_delay_seconds_count{release="v1",tier="high"} 0.0' in text
    assert 'crm_sync_waiting{release="v1",tier="high"} 7.0' in text


def test_after_a_rollback_the_stable_worker_drains_what_the_candidate_left(
    worker: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    candidate = worker("v2", "--defect", "sync=+60s")
    worker("v1", "--drain-abandoned")
    held = write(connection, 5, release="v2")
    own = write(connection, 5, release="v1")
    eventually(lambda: stored(core, own) == sorted(own))
    time.sleep(1.0)
    assert stored(core, held) == []  # its worker lives: it is its matter
    assert candidate.stop() == 0
    eventually(lambda: stored(core, held) == sorted(held))


def test_a_killed_candidates_events_are_drained_once_it_is_missed(
    worker: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    worker("v2").kill()
    worker("v1", "--drain-abandoned")
    left = write(connection, 5, release="v2")
    connection.execute("UPDATE sync_workers SET beat_at = beat_at - interval '9 s' WHERE release = 'v2'")
    eventually(lambda: stored(core, left) == sorted(left))


def test_the_defect_sync_delays_its_own_events_while_every_answer_is_good(
    touchpoints: Any, worker: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    worker("v2", "--defect", "sync=+2s")
    url = touchpoints("v2").url
    placed = requests.post(
        url + "/shop/orders",
        json={"sku": "TEA-001", "quantity": 1},
        headers={"x-customer-id": "c-000003", "x-customer-tier": "high"},
        timeout=5,
    )
    assert placed.status_code == 201
    eventually(lambda: waiting(connection) == 0)
    (delay,) = read_delays(connection)
    assert (delay.within[1.0], delay.overdue[1.0], delay.overdue[10.0]) == (0, 1, 0)


def test_one_event_the_core_refuses_waits_alone_and_the_others_pass(
    worker: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    good = write(connection, 5)
    bad = write(connection, 1, channel="fax")
    more = write(connection, 5)
    worker("v1")
    eventually(lambda: stored(core, good + more) == sorted(good + more))
    assert stored(core, bad) == []
    row = connection.execute(
        "SELECT attempts, not_before > created_at FROM outbox WHERE channel = 'fax'"
    ).fetchone()
    assert row[0] >= 1
    assert row[1]
    assert waiting(connection) == 1  # and will count as late
    connection.execute("UPDATE outbox SET channel = 'web', not_before = NULL WHERE channel = 'fax'")
    eventually(lambda: stored(core, bad) == bad)


def test_an_event_on_which_the_core_fails_is_found_and_set_aside(
    worker: Any, connection: Any, core: Any, eventually: Callable[..., Any]
) -> None:
    """Not refused, but an error that takes the whole batch with it: here, of the core's own database."""
    good = write(connection, 6)
    core.does(TROUBLE)
    try:
        bad = write(connection, 1)
        connection.execute("UPDATE outbox SET kind = 'trouble' WHERE event_id = %s", (bad[0],))
        good += write(connection, 6)
        worker("v1")
        eventually(lambda: stored(core, good) == sorted(good), seconds=40)
        assert stored(core, bad) == []
    finally:
        core.does("DROP TRIGGER trouble ON huidu_touchpoint_event; DROP FUNCTION trouble()")


@pytest.fixture
def client(core: Any) -> Core:
    return Core(core.url, core.database, core.user, core.password_file)


def event(**changes: Any) -> dict[str, Any]:
    base = {
        "uuid": str(uuid4()),
        "at": "2026-05-01T12:00:00+08:00",
        "touchpoint": "web",
        "kind": "chat.message",
    }
    return {**base, "customer_code": "c-000009", "payload": {}, **changes}


def test_a_batch_brought_twice_is_stored_once_and_answered_twice(client: Core, core: Any) -> None:
    batch = [event() for _ in range(3)]
    first = client.store([*batch, batch[0]])
    again = client.store([*batch, event()])
    assert first.stored == {each["uuid"] for each in batch}
    assert first.stored < again.stored
    assert len(stored(core, [each["uuid"] for each in batch])) == 3
    parties = core.rows("SELECT count(*) FROM party_party WHERE code = 'c-000009'")
    assert parties == [(1,)]


def test_a_session_that_is_over_is_begun_again(client: Core, core: Any) -> None:
    client.store([event()])
    core.does("DELETE FROM ir_session")
    assert client.store([event()]).stored


def test_what_stands_in_the_core_can_be_read_by_its_user_but_not_changed(client: Core, core: Any) -> None:
    known = event(payload={"note": "你好"})
    client.store([known])
    ask = client._ask
    ids = ask("model.huidu.touchpoint.event.search", [[["uuid", "=", known["uuid"]]], 0, 1, None, {}])
    (read,) = ask("model.huidu.touchpoint.event.read", [ids, ["payload", "party"], {}])
    assert json.loads(read["payload"]) == {"note": "你好"}
    for method, params in (("write", [ids, {"kind": "x"}, {}]), ("delete", [ids, {}])):
        with pytest.raises(CoreFailed):
            ask(f"model.huidu.touchpoint.event.{method}", params)
    with pytest.raises(CoreFailed):
        ask("model.res.user.create", [[{"login": "mallory", "name": "Mallory"}], {}])


def test_a_prepared_database_gets_new_passwords(core: Any, tmp_path: Any, client: Core) -> None:
    client.store([event()])
    other = tmp_path / "other"
    other.write_text("another-good-password\n")
    try:
        done = core.prepare(other)
        assert done.returncode == 0, done.stderr
        with pytest.raises(CoreFailed, match="sync"):
            Core(core.url, core.database, core.user, core.password_file).store([event()])
        assert Core(core.url, core.database, core.user, other).store([event()]).stored
    finally:
        assert core.prepare().returncode == 0
    assert "another-good" not in done.stdout + done.stderr


def test_a_core_that_is_away_is_told_from_one_that_fails(core: Any, tmp_path: Any) -> None:
    with pytest.raises(CoreUnreachable):
        Core("http://127.0.0.1:9", core.database, core.user, core.password_file).store([event()])
