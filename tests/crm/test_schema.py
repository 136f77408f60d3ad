"""Laying the tables: any number of times, by any number at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.server


@pytest.fixture
def empty(postgres: Any) -> Iterator[str]:
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE empty OWNER touchpoints TEMPLATE template0")
    yield postgres.conninfo("empty", "touchpoints")
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE empty WITH (FORCE)")


def test_two_who_lay_the_tables_at_once_do_not_meet_and_customers_have_tiers(empty: str, schema: Any) -> None:
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: schema(empty, "--customers", "50", "--high", "10"), range(2)))
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    with psycopg.connect(empty, autocommit=True) as connection:
        count = "SELECT tier, count(*), min(customer_id), max(customer_id) FROM customers GROUP BY 1"
        assert connection.execute(count).fetchall() == [
            ("high", 10, "c-000001", "c-000010"),
            ("standard", 40, "c-000011", "c-000050"),
        ]
        connection.execute("UPDATE customers SET name = 'Han Meimei' WHERE customer_id = 'c-000001'")
        connection.execute("UPDATE products SET price = 1 WHERE sku = 'TEA-001'")
        assert schema(empty, "--customers", "60").returncode == 0
        kept = "SELECT (SELECT name FROM customers WHERE customer_id = 'c-000001'), count(*) FROM customers"
        assert connection.execute(kept).fetchone() == ("Han Meimei", 60)
        assert connection.execute("SELECT price FROM products WHERE sku = 'TEA-001'").fetchone() == (1,)


def test_a_database_that_is_not_there_is_told_in_one_line(postgres: Any, schema: Any) -> None:
    done = schema(postgres.conninfo("nowhere", "touchpoints"), "--wait", "0")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
