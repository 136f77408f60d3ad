"""Delay of every event, counted in the database: what is delivered is added up once, what waits is looked at.

An event that waits counts as late the moment it passes a limit, not when it finally arrives: otherwise a dead
synchronisation would look perfect.
"""

from dataclasses import dataclass

from psycopg import Connection

from crm.synchronisation.outbox import COUNTING_LOCK, LIVE_SECONDS

SETTLE_AT_ONCE = 5000  # rows; bounds what one housekeeping does
KEEP_SECONDS = 3600.0  # delivered rows are kept so long for whoever wants to look

_READ = """
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now),
    ageing AS MATERIALIZED (
        SELECT release, tier, extract(epoch FROM clock.now - created_at)::float8 AS age
        FROM outbox CROSS JOIN clock WHERE delivered_at IS NULL AND NOT settled
    )
    SELECT release, tier, edge, sum(within)::int8, sum(beyond)::int8, sum(waiting)::int8, sum(seconds)
    FROM (
        SELECT release, tier, edge, within, beyond, parked AS waiting, seconds FROM sync_delay
        UNION ALL
        SELECT release, tier, edge, 0, count(*) FILTER (WHERE age > edge), count(*), 0
        FROM ageing CROSS JOIN sync_edges GROUP BY release, tier, edge
    ) AS every
    GROUP BY release, tier, edge ORDER BY release, tier, edge
"""

_SETTLE = """
    WITH old AS (
        SELECT seq FROM outbox
        WHERE delivered_at IS NULL AND NOT settled
          AND created_at < clock_timestamp() - make_interval(
                secs => 1 + (SELECT max(edge) FROM sync_edges WHERE edge < 'Infinity'))
        ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ), done AS (
        UPDATE outbox SET settled = true WHERE seq IN (SELECT seq FROM old) RETURNING release, tier
    )
    INSERT INTO sync_delay AS known (release, tier, edge, beyond, parked)
    SELECT release, tier, edge,
           CASE WHEN edge = 'Infinity' THEN 0 ELSE count(*) END,
           CASE WHEN edge = 'Infinity' THEN count(*) ELSE 0 END
    FROM done CROSS JOIN sync_edges GROUP BY release, tier, edge ORDER BY release, tier, edge
    ON CONFLICT (release, tier, edge) DO UPDATE SET
        beyond = known.beyond + excluded.beyond, parked = known.parked + excluded.parked
"""


@dataclass(frozen=True, slots=True)
class Delay:
    """One release and tier: how its events fared. Every number but `waiting` only grows.

    `within`: {edge in seconds: delivered no later}; the edge infinity holds all that were delivered.
    `overdue`: {edge in seconds: passed it, whether delivered later or still waiting}.
    """

    release: str
    tier: str
    within: dict[float, int]
    overdue: dict[float, int]
    waiting: int
    seconds: float

    @property
    def delivered(self) -> int:
        return self.within.get(float("inf"), 0)

    @property
    def events(self) -> int:
        return self.delivered + self.waiting


def read_delays(connection: Connection) -> list[Delay]:
    """All releases and tiers, as of one instant of the database's clock."""
    found: dict[tuple[str, str], Delay] = {}
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (COUNTING_LOCK,))
        rows = connection.execute(_READ).fetchall()
    for release, tier, edge, within, beyond, waiting, seconds in rows:
        key = (release, tier)
        if edge == float("inf"):
            known = found.get(key, Delay(release, tier, {}, {}, 0, 0.0))
            found[key] = Delay(release, tier, {**known.within, edge: within}, known.overdue, waiting, seconds)
        else:
            delay = found.setdefault(key, Delay(release, tier, {}, {}, 0, 0.0))
            delay.within[edge] = within
            delay.overdue[edge] = beyond
    return list(found.values())


def live_workers(connection: Connection) -> dict[str, int]:
    """{release: workers seen lately}; 0 for a release whose workers are gone."""
    rows = connection.execute(
        "SELECT release, count(*) FILTER (WHERE beat_at > clock_timestamp() - make_interval(secs => %s))"
        " FROM sync_workers GROUP BY release",
        (LIVE_SECONDS,),
    ).fetchall()
    return dict(rows)


def tidy(connection: Connection, keep_seconds: float = KEEP_SECONDS) -> None:
    """Keep a scrape as cheap after a year as after a minute.

    Events that have passed every limit are counted for good and not looked at again; rows delivered longer
    ago than `keep_seconds` are deleted (the core has them); so are workers not seen for a day.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (COUNTING_LOCK,))
        connection.execute(_SETTLE, {"limit": SETTLE_AT_ONCE})
    connection.execute(
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox"
        " WHERE delivered_at < clock_timestamp() - make_interval(secs => %s) ORDER BY delivered_at LIMIT %s)",
        (keep_seconds, SETTLE_AT_ONCE),
    )
    connection.execute("DELETE FROM sync_workers WHERE beat_at < clock_timestamp() - interval '1 day'")
