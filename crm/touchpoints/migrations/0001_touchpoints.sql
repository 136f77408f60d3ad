-- What the four channels keep. Both arms of a release share these tables: a database per arm would lose
-- a customer's data on rollback.
CREATE TABLE customers (
    customer_id text PRIMARY KEY,
    tier        text NOT NULL CHECK (tier IN ('high', 'standard')),
    name        text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE products (
    sku         text PRIMARY KEY,
    name        text NOT NULL,
    price       numeric(12, 2) NOT NULL CHECK (price > 0),
    offer_title text,
    offer_price numeric(12, 2) CHECK (offer_price > 0)
);

CREATE TABLE leads (
    lead_id     uuid PRIMARY KEY,
    customer_id text,
    visitor     text,
    name        text NOT NULL,
    email       text NOT NULL,
    interest    text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Web chat and WeChat mini program sessions.
CREATE TABLE sessions (
    session_id  uuid PRIMARY KEY,
    channel     text NOT NULL,
    customer_id text,
    visitor     text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE messages (
    message_id  uuid PRIMARY KEY,
    session_id  uuid NOT NULL REFERENCES sessions,
    text        text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE tickets (
    ticket_id   uuid PRIMARY KEY,
    customer_id text NOT NULL,
    touchpoint  text NOT NULL,
    subject     text NOT NULL,
    text        text NOT NULL,
    status      text NOT NULL DEFAULT 'open',
    priority    boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX tickets_open ON tickets (customer_id, touchpoint) WHERE status = 'open';

CREATE TABLE orders (
    order_id    uuid PRIMARY KEY,
    customer_id text NOT NULL,
    sku         text NOT NULL REFERENCES products,
    quantity    integer NOT NULL CHECK (quantity > 0),
    total       numeric(14, 2) NOT NULL,
    status      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE calls (
    call_id     uuid PRIMARY KEY,
    customer_id text NOT NULL,
    subject     text NOT NULL,
    minutes     double precision NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
