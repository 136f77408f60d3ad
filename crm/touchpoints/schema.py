"""Make the tables, fill in customers and products: `python -m crm.touchpoints.schema`, any number of times.

Migrations are the numbered files in `migrations/`, each applied once, in order, in one transaction;
two that run at the same time wait for each other.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from crm.arguments import database

MIGRATIONS = Path(__file__).parent / "migrations"
PRODUCTS = Path(__file__).parent / "products.csv"
LOCK = 0x6875_6964  # any number that nobody else uses for an advisory lock in this database


def migrations() -> Iterator[tuple[int, str]]:
    """(number, SQL) of each migration, in the order they are applied."""
    for file in sorted(MIGRATIONS.glob("[0-9]*.sql")):
        yield int(file.name.split("_")[0]), file.read_text(encoding="utf-8")


def customer_id(number: int) -> str:
    """The id of the customer with this number, counted from 1: `c-000001`."""
    return f"c-{number:06d}"


def migrate(connection: psycopg.Connection) -> list[int]:
    """Bring the database to the newest form; the numbers of the migrations that were still missing."""
    applied: list[int] = []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (number integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        known = {row[0] for row in connection.execute("SELECT number FROM schema_migrations")}
        for number, sql in migrations():
            if number not in known:
                connection.execute(sql.encode())
                connection.execute("INSERT INTO schema_migrations (number) VALUES (%s)", (number,))
                applied.append(number)
    return applied


def seed(connection: psycopg.Connection, customers: int, high: int) -> None:
    """Customers 1..`customers`, the first `high` of them of tier high, and the products on sale."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO customers (customer_id, tier, name)"
            " SELECT 'c-' || lpad(n::text, 6, '0'), CASE WHEN n <= %(high)s THEN 'high' ELSE 'standard' END,"
            "        'Customer ' || n"
            " FROM generate_series(1, %(customers)s) AS n"
            " ON CONFLICT (customer_id) DO NOTHING",
            {"customers": customers, "high": high},
        )
        with PRODUCTS.open(encoding="utf-8", newline="") as file, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO products (sku, name, price, offer_title, offer_price) VALUES"
                " (%(sku)s, %(name)s, %(price)s::numeric,"
                "  nullif(%(offer_title)s, ''), nullif(%(offer_price)s, '')::numeric)"
                " ON CONFLICT (sku) DO NOTHING",
                list(csv.DictReader(file)),
            )


def connect(database: str, patience: float) -> psycopg.Connection:
    """A connection; a server that is still starting gets `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return psycopg.connect(database, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m crm.touchpoints.schema", description=__doc__)
    parser.add_argument("--database", type=database, required=True, help="libpq connection string")
    parser.add_argument("--customers", type=int, default=5000, help="how many customers there are (5000)")
    parser.add_argument("--high", type=int, help="how many of them are of tier high (a fifth)")
    parser.add_argument("--wait", type=float, default=10, help="seconds for a server that is starting (10)")
    options = parser.parse_args(arguments)
    high = options.customers // 5 if options.high is None else options.high
    try:
        with connect(options.database, patience=options.wait) as connection:
            applied = migrate(connection)
            seed(connection, options.customers, high)
    except psycopg.Error as error:
        print(f"crm.touchpoints.schema: the database did not do it: {error}", file=sys.stderr)
        return 1
    print(f"schema: {len(applied)} migrations applied, {options.customers} customers, {high} of tier high")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
