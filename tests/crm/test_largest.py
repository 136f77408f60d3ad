"""The largest single customer's part: exact while few, never too large when many, and without a name."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from crm.touchpoints.largest import Largest
from crm.touchpoints.metrics import Metrics


def counted(keys: list[str], capacity: int) -> Largest:
    largest = Largest(capacity)
    for key in keys:
        largest.add(key)
    return largest


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60))
def test_with_room_for_everybody_it_is_exact(keys: list[str]) -> None:
    assert counted(keys, 8).count() == max(Counter(keys).values(), default=0)


@given(st.lists(st.sampled_from("abcdefghijklmnop"), max_size=120), st.integers(1, 6))
def test_without_room_it_is_never_too_large_and_little_too_small(keys: list[str], capacity: int) -> None:
    largest = counted(keys, capacity)
    true = max(Counter(keys).values(), default=0)
    assert true - len(keys) / capacity <= largest.count() <= true
    assert len(largest) <= capacity


def test_one_who_retries_is_seen_in_a_crowd_that_comes_once() -> None:
    keys = [key for k in range(2000) for key in (f"visitor {k}", "stubborn")]
    assert counted(keys, 50).count() > 1900


def test_metrics_tell_the_largest_part_by_tier_and_name_nobody() -> None:
    metrics = Metrics("v2")
    for customer, code in [("c-000001", 200), ("c-000001", 500), ("c-000001", 503), ("c-000002", 500)]:
        metrics.asked(customer, "high", code)
    metrics.asked("c-000003", "standard", 404)  # the customer's own mistake is no failure

    def value(name: str, tier: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"release": "v2", "tier": tier})

    assert value("crm_largest_customer_requests", "high") == 3
    assert value("crm_largest_customer_failures", "high") == 2
    assert value("crm_largest_customer_requests", "standard") == 1
    assert value("crm_largest_customer_failures", "standard") == 0
    assert b"c-0000" not in generate_latest(metrics.registry)
