-- Events on their way to the core. Written in the transaction of the business step, delivered by
-- `crm.synchronisation`, which also keeps the tables below.
CREATE TABLE outbox (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     uuid NOT NULL UNIQUE,
    release      text NOT NULL,
    tier         text NOT NULL,
    channel      text NOT NULL,
    customer_id  text,
    kind         text NOT NULL,
    payload      jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts     integer NOT NULL DEFAULT 0,    -- times the core refused this very event
    not_before   timestamptz,                   -- and when it is tried again
    settled      boolean NOT NULL DEFAULT false, -- waits longer than the last edge: counted in sync_delay
    delivered_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE INDEX outbox_waiting ON outbox (seq) WHERE delivered_at IS NULL;
CREATE INDEX outbox_ageing ON outbox (created_at) WHERE delivered_at IS NULL AND NOT settled;
CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;

-- The limits by which delay is counted, in seconds. 30 s: implementation guides, data synchronisation.
CREATE TABLE sync_edges (edge double precision PRIMARY KEY);
INSERT INTO sync_edges VALUES (0.5), (1), (2), (3), (5), (10), (30), (60), ('Infinity');

-- What was counted once and for all, so that a scrape costs the same after a year as after a minute.
-- The row with edge Infinity carries what has no edge: `within` is the number delivered.
CREATE TABLE sync_delay (
    release text NOT NULL,
    tier    text NOT NULL,
    edge    double precision NOT NULL,
    within  bigint NOT NULL DEFAULT 0,           -- delivered, and not later than edge
    beyond  bigint NOT NULL DEFAULT 0,           -- passed edge: delivered late, or settled while waiting
    parked  bigint NOT NULL DEFAULT 0,           -- settled and still waiting (edge Infinity only)
    seconds double precision NOT NULL DEFAULT 0, -- sum of delays of what is delivered (edge Infinity only)
    PRIMARY KEY (release, tier, edge)
) WITH (fillfactor = 50);

-- Who synchronises which release, and when he was last seen.
CREATE TABLE sync_workers (
    release text NOT NULL,
    worker  uuid NOT NULL,
    beat_at timestamptz NOT NULL,
    PRIMARY KEY (release, worker)
);
