"""The largest single customer's part, from counters of the service. Pure.

Asked of a service that exports, by `release` and `tier`, the gauges `crm_largest_customer_requests` and
`crm_largest_customer_failures` beside its counter `crm_requests_total{code}`. None of them names anybody.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from huidu.foundation.prometheus import Series
from rollout.failing.facts import Part

REQUESTS = "crm_requests_total"
LARGEST_REQUESTS = "crm_largest_customer_requests"
LARGEST_FAILURES = "crm_largest_customer_failures"
Arm = Literal["candidate", "stable"]


def selector(metric: str, releases: Iterable[str]) -> str:
    """The series of these releases, as PromQL."""
    pattern = "|".join(re.escape(each).replace("\\", "\\\\").replace('"', '\\"') for each in releases)
    return f'{metric}{{release=~"{pattern}"}}'


def parts(
    requests: Iterable[Series], asked: Iterable[Series], failed: Iterable[Series], releases: Mapping[Arm, str]
) -> tuple[Part, ...]:
    """Each arm and tier that the service counts customers of; the candidate's first."""
    requests = tuple(requests)
    totals, failures = _by_tier(requests, ""), _by_tier(requests, "5")
    most_asked, most_failed = _by_tier(asked, ""), _by_tier(failed, "")
    found = []
    for arm, release in releases.items():
        for key in sorted(key for key in most_asked if key[0] == release):
            found.append(
                Part(
                    arm=arm,
                    tier=key[1],
                    requests=sum(totals.get(key, [])),
                    failures=sum(failures.get(key, [])),
                    largest_requests=max(most_asked[key]),
                    largest_failures=max(most_failed.get(key, [0.0])),
                    processes=len(most_asked[key]),
                )
            )
    return tuple(found)


def _by_tier(several: Iterable[Series], code: str) -> dict[tuple[str, str], list[float]]:
    """Last values by release and tier; with `code`, only those whose status begins so."""
    found: dict[tuple[str, str], list[float]] = {}
    for series in several:
        labels, value = series.labels, series.samples[-1][1]
        if math.isfinite(value) and labels.get("code", "").startswith(code):
            found.setdefault((labels.get("release", ""), labels.get("tier", "")), []).append(value)
    return found
