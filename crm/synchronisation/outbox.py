"""The outbox as the worker sees it: take, mark delivered, put back.

`take` locks rows for the length of its transaction (`FOR UPDATE SKIP LOCKED`): several workers never have the
same event in hand, and a killed worker's events are free as soon as its connection is gone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from crm.synchronisation.pace import retry_after

# Whoever marks events delivered holds this lock shared while it computes and commits their delay; who counts
# holds it alone. So no event is counted late (it waits beyond a limit) and then delivered in time.
COUNTING_LOCK = 0x7379_6E63

# A worker that was not seen for so long is gone. Written every BEAT_SECONDS.
LIVE_SECONDS = 10.0
BEAT_SECONDS = 2.0

_TAKE = """
    SELECT seq, event_id, release, channel, customer_id, kind, payload, created_at FROM outbox
    WHERE delivered_at IS NULL
      AND (not_before IS NULL OR not_before <= clock_timestamp())
      AND ((release = %(release)s AND created_at <= clock_timestamp() - make_interval(secs => %(hold)s))
        OR (%(drain)s AND release NOT IN (
              SELECT release FROM sync_workers
              WHERE beat_at > clock_timestamp() - make_interval(secs => %(live)s)
              UNION ALL SELECT %(release)s)))
    ORDER BY seq LIMIT %(limit)s FOR UPDATE OF outbox SKIP LOCKED
"""

_DELIVERED = """
    WITH done AS (
        UPDATE outbox SET delivered_at = clock_timestamp() WHERE seq = ANY(%(seqs)s) AND delivered_at IS NULL
        RETURNING release, tier, settled, extract(epoch FROM delivered_at - created_at)::float8 AS delay
    )
    INSERT INTO sync_delay AS known (release, tier, edge, within, beyond, parked, seconds)
    SELECT release, tier, edge,
           count(*) FILTER (WHERE delay <= edge),
           count(*) FILTER (WHERE delay > edge AND NOT settled),
           CASE WHEN edge = 'Infinity' THEN - count(*) FILTER (WHERE settled) ELSE 0 END,
           CASE WHEN edge = 'Infinity' THEN sum(delay) ELSE 0 END
    FROM done CROSS JOIN sync_edges GROUP BY release, tier, edge ORDER BY release, tier, edge
    ON CONFLICT (release, tier, edge) DO UPDATE SET
        within = known.within + excluded.within, beyond = known.beyond + excluded.beyond,
        parked = known.parked + excluded.parked, seconds = known.seconds + excluded.seconds
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that was taken: `seq` is its place in the outbox."""

    seq: int
    event_id: str
    release: str
    touchpoint: str
    customer: str | None
    kind: str
    payload: dict[str, Any]
    at: datetime

    def for_core(self) -> dict[str, Any]:
        return {
            "uuid": self.event_id,
            "release": self.release,
            "touchpoint": self.touchpoint,
            "customer_code": self.customer or "",
            "kind": self.kind,
            "payload": self.payload,
            "at": self.at.isoformat(),
        }


def take(connection: Connection, release: str, limit: int, *, drain: bool, hold: float) -> list[Waiting]:
    """Up to `limit` events, the oldest first, locked until the end of the transaction one is in.

    `drain`: also those of releases without a live worker. `hold`: seconds for which the release's own are
    left waiting (the defect `sync`).
    """
    about = {"release": release, "limit": limit, "drain": drain, "hold": hold, "live": LIVE_SECONDS}
    rows = connection.execute(_TAKE, about).fetchall()
    return [Waiting(row[0], str(row[1]), *row[2:]) for row in rows]


def mark_delivered(connection: Connection, seqs: list[int]) -> None:
    """Count them and their delay, once and for all; last in the transaction, which ends right after it."""
    # Should this process be stopped right here, others shall not wait for its lock for long. (Not in a
    # pipeline: after one, PostgreSQL was seen not to start this timer.)
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = '3s'")
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (COUNTING_LOCK,))
    connection.execute(_DELIVERED, {"seqs": seqs})


def put_back(connection: Connection, seqs: list[int]) -> None:
    """The core will not have these as they are: they keep waiting (and become late), and are tried again."""
    rows = connection.execute("SELECT seq, attempts FROM outbox WHERE seq = ANY(%s)", (seqs,)).fetchall()
    for seq, attempts in rows:
        connection.execute(
            "UPDATE outbox SET attempts = attempts + 1,"
            " not_before = clock_timestamp() + make_interval(secs => %s) WHERE seq = %s",
            (retry_after(attempts + 1), seq),
        )
