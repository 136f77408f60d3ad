"""Counting delay, on a real PostgreSQL: the moment it happens, never backwards, at a cost that stays."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from crm.synchronisation.delays import Delay, read_delays, tidy
from crm.synchronisation.outbox import COUNTING_LOCK, Waiting, mark_delivered, put_back, take

pytestmark = pytest.mark.server

EDGES = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)


def write(
    connection: psycopg.Connection[Any], *ages: float, release: str = "v1", tier: str = "high"
) -> list[int]:
    """Events of these ages in seconds; their places in the outbox."""
    query = (
        "INSERT INTO outbox (event_id, release, tier, channel, customer_id, kind, payload, created_at) VALUES"
        " (gen_random_uuid(), %s, %s, 'web', 'c-000001', 'order.placed', '{}',"
        "  clock_timestamp() - make_interval(secs => %s)) RETURNING seq"
    )
    seqs = []
    for age in ages:
        row = connection.execute(query, (release, tier, age)).fetchone()
        assert row is not None
        seqs.append(row[0])
    return seqs


def deliver(connection: psycopg.Connection[Any], seqs: list[int]) -> None:
    with connection.transaction():
        mark_delivered(connection, seqs)


def one(connection: psycopg.Connection[Any]) -> Delay:
    (delay,) = read_delays(connection)
    return delay


def test_a_waiting_event_is_late_the_moment_it_passes_a_limit(connection: Any) -> None:
    write(connection, 7.0, 12.0, 45.0, 4000.0)
    delay = one(connection)
    assert delay.overdue == {0.5: 4, 1: 4, 2: 4, 3: 4, 5: 4, 10: 3, 30: 2, 60: 1}
    assert (delay.waiting, delay.delivered, delay.events) == (4, 0, 4)
    time.sleep(3.1)
    assert one(connection).overdue[10.0] == 4


def test_a_delivered_event_is_counted_by_its_delay_for_good(connection: Any) -> None:
    seqs = write(connection, 0.0, 7.0, 45.0)
    deliver(connection, seqs)
    deliver(connection, seqs)  # marking twice counts once
    delay = one(connection)
    assert [delay.within[edge] for edge in (5, 10, 30, 60, float("inf"))] == [1, 2, 2, 3, 3]
    assert [delay.overdue[edge] for edge in (5, 10, 30, 60)] == [2, 1, 1, 0]
    assert (delay.waiting, delay.events) == (0, 3)
    assert delay.seconds == pytest.approx(52.0, abs=8)  # three events, each up to 3 s late to be marked
    time.sleep(0.7)
    assert one(connection) == delay


def test_releases_and_tiers_are_counted_apart(connection: Any) -> None:
    write(connection, 1.5, release="v1", tier="high")
    write(connection, 1.5, 1.5, release="v2", tier="anonymous")
    counted = {(each.release, each.tier): each.overdue[1.0] for each in read_delays(connection)}
    assert counted == {("v1", "high"): 1, ("v2", "anonymous"): 2}


def test_whatever_happens_counts_never_fall_and_always_add_up(connection: Any) -> None:
    """Writing, delivering, refusing, tidying in any order, against counting every row by hand."""
    chance = random.Random(20)
    waiting: list[int] = []
    last: Counter[Any] = Counter()
    for _ in range(60):
        step = chance.choice(("write", "write", "deliver", "refuse", "tidy"))
        if step == "write":
            waiting += write(
                connection, *(chance.choice((0.2, 1.4, 8.0, 59.5, 61.0, 500.0)) for _ in range(3))
            )
        elif step == "tidy":
            tidy(connection)
        elif waiting:
            chosen = chance.sample(waiting, min(len(waiting), 2))
            if step == "deliver":
                deliver(connection, chosen)
                waiting = [seq for seq in waiting if seq not in chosen]
            else:
                put_back(connection, chosen)
        for delay in read_delays(connection):
            now = Counter({("within", edge): n for edge, n in delay.within.items()})
            now.update({("overdue", edge): n for edge, n in delay.overdue.items()})
            now["events"] = delay.events
            assert all(now[key] >= count for key, count in last.items())
            last = now
            assert delay.waiting == len(waiting)
            for edge in EDGES:  # each event is either delivered in time, or late, or young and waiting
                young = delay.events - delay.within[edge] - delay.overdue[edge]
                assert 0 <= young <= delay.waiting
    rows = connection.execute(
        "SELECT extract(epoch FROM coalesce(delivered_at, clock_timestamp()) - created_at),"
        " delivered_at IS NULL FROM outbox"
    ).fetchall()
    delay = one(connection)
    for edge in (5.0, 10.0, 30.0):  # limits no event is near to
        assert delay.overdue[edge] == sum(age > edge for age, _ in rows)
        assert delay.within[edge] == sum(age <= edge and not waits for age, waits in rows)


def test_no_event_is_counted_late_and_then_delivered_in_time(connection: Any, database: str) -> None:
    """A delivery that has begun to compute delays is waited for; one that comes after is later."""
    seqs = write(connection, 0.0)
    with psycopg.connect(database) as other:
        mark_delivered(other, seqs)
        connection.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            read_delays(connection)
        other.commit()
    assert one(connection).within[10.0] == 1


def test_who_stops_while_marking_does_not_stop_the_counting_for_long(connection: Any, database: str) -> None:
    seqs = write(connection, 0.0)
    with psycopg.connect(database) as stopped:
        mark_delivered(stopped, seqs)  # and never commits
        started = time.monotonic()
        delay = one(connection)
        assert time.monotonic() - started < 40
        assert (delay.delivered, delay.waiting) == (0, 1)
        with pytest.raises(psycopg.Error):
            stopped.commit()


def test_events_past_every_limit_are_not_looked_at_again(connection: Any) -> None:
    write(connection, *[500.0] * 50)
    before = one(connection)
    tidy(connection)
    assert one(connection) == before
    row = connection.execute(
        "SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND NOT settled"
    ).fetchone()
    assert row == (0,)
    seqs = [row[0] for row in connection.execute("SELECT seq FROM outbox")]
    deliver(connection, seqs)
    after = one(connection)
    assert (after.waiting, after.delivered, after.overdue) == (0, 50, before.overdue)


def test_delivered_rows_go_after_their_time_and_stay_counted(connection: Any) -> None:
    old, new = write(connection, 7300.0, 5.5)
    deliver(connection, [old, new])
    connection.execute("UPDATE outbox SET delivered_at = created_at + interval '1 s' WHERE seq = %s", (old,))
    before = one(connection)
    tidy(connection, keep_seconds=3600)
    assert [row[0] for row in connection.execute("SELECT seq FROM outbox")] == [new]
    assert one(connection) == before


def test_two_workers_never_hold_the_same_event_and_a_lost_connection_frees_it(
    connection: Any, database: str, eventually: Callable[..., Any]
) -> None:
    write(connection, *[1.0] * 5)
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        mine = take(first, "v1", 3, drain=False, hold=0)
        others = take(second, "v1", 10, drain=False, hold=0)
        assert (len(mine), len(others)) == (3, 2)
        assert not {each.event_id for each in mine} & {each.event_id for each in others}
        first.close()  # as when its process is killed
        eventually(lambda: take(second, "v1", 10, drain=False, hold=0) == sorted(mine + others, key=by_seq))


def test_a_worker_takes_its_own_and_drains_only_the_abandoned(connection: Any) -> None:
    write(connection, 1.0, release="v1")
    write(connection, 1.0, release="v2")
    write(connection, 1.0, release="v3")
    connection.execute(
        "INSERT INTO sync_workers VALUES ('v2', gen_random_uuid(), clock_timestamp()),"
        " ('v3', gen_random_uuid(), clock_timestamp() - interval '1 minute')"
    )

    def releases(release: str, drain: bool, hold: float = 0.0) -> list[str]:
        with connection.transaction(force_rollback=True):
            return [each.release for each in take(connection, release, 10, drain=drain, hold=hold)]

    assert releases("v2", drain=False) == ["v2"]
    assert releases("v1", drain=True) == ["v1", "v3"]
    assert releases("v2", drain=False, hold=60) == []
    assert releases("v1", drain=True, hold=60) == ["v3"]  # only its own are held back


def by_seq(event: Waiting) -> int:
    return event.seq


def scrape(url: str) -> dict[str, dict[Any, float]]:
    text = requests.get(url + "/metrics", timeout=10)
    text.raise_for_status()
    return {
        family.name: {(s.name, *sorted(s.labels.items())): s.value for s in family.samples}
        for family in text_string_to_metric_families(text.text)
        if family.name.startswith("crm_")
    }


def test_the_monitor_says_the_same_after_a_restart_and_nothing_without_the_database(
    connection: Any, database: str, postgres: Any, monitor: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    deliver(connection, write(connection, 0.1, 40.0))
    write(connection, 40.0)
    watching = monitor()
    first = scrape(watching.url)
    late = {k: v for k, v in first["crm_sync_overdue"].items() if ("le", "30.0") in k}
    assert list(late.values()) == [2.0]
    in_time = ("crm_sync_delay_seconds_bucket", ("le", "30.0"), ("release", "v1"), ("tier", "high"))
    assert first["crm_sync_delay_seconds"][in_time] == 1.0
    assert list(first["crm_sync_waiting"].values()) == [1.0]
    assert list(first["crm_sync_events"].values()) == [3.0]
    watching.kill()
    again = monitor()
    assert scrape(again.url) == first
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with postgres.connect() as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        assert requests.get(again.url + "/metrics", timeout=10).status_code == 500
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    eventually(lambda: requests.get(again.url + "/metrics", timeout=10).ok)
    assert scrape(again.url) == first
    assert again.stop() == 0


def test_a_scrape_costs_the_same_however_much_was_delivered(connection: Any) -> None:
    bulk = (
        "INSERT INTO outbox (event_id, release, tier, channel, kind, payload, delivered_at, created_at)"
        " SELECT gen_random_uuid(), 'v1', 'high', 'web', 'order.placed', '{}', now(), now()"
        " FROM generate_series(1, 50000)"
    )
    connection.execute(bulk)
    connection.execute("ANALYZE outbox")
    write(connection, 1.0)
    assert one(connection).waiting == 1
    seconds = []
    for _ in range(25):  # the best of them: a busy machine is slow at times
        started = time.perf_counter()
        one(connection)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.02  # reading 50,000 rows takes longer
    assert connection.execute("SELECT pg_try_advisory_lock(%s)", (COUNTING_LOCK,)).fetchone() == (True,)
