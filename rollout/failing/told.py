"""The same as sentences. Pure."""

from __future__ import annotations

from typing import Any

from rollout.failing.facts import WARN_SHARE, Failing, Part
from rollout.judge.explain import percent


def customers_said(failing: Failing) -> list[str]:
    """One line for each arm and tier with failures, or why there is none."""
    if failing.parts_unknown:
        return [f"the largest customer's part is not known: {failing.parts_unknown}"]
    return [said(part) for part in failing.parts if part.failures > 0] or [
        "no customer met a failure, as the service counts them"
    ]


def said(part: Part) -> str:
    """ "one customer made 41 % of the failures in the candidate among high (12 of 29); ..."."""
    least = "at least " if part.processes > 1 else ""
    arm = "the candidate" if part.arm == "candidate" else "stable"
    asked = f"one made {least}{percent(part.asked_share)} of the requests"
    if part.failures <= 0:
        return f"no failure in {arm} among {part.tier}; {asked}"
    return (
        f"one customer made {least}{percent(part.failed_share)} of the failures in {arm} among {part.tier} "
        f"({part.largest_failures:,.0f} of {part.failures:,.0f}); {asked}"
    )


def warning(failing: Failing | None) -> str:
    """What a reader must know before he believes the verdict; "" where nothing speaks against it."""
    if failing is None or not failing.suspects:
        return ""
    part = failing.suspects[0]
    return (
        f"one customer made {percent(part.failed_share)} of the failures among {part.tier} in the candidate, "
        f"more than {percent(WARN_SHARE)}: look at that customer before the release"
    )


def beside(failing: Failing | None) -> dict[str, Any]:
    """For report.json: the parts of the largest customers, and requests of the candidate that failed."""
    if failing is None:
        return {}
    return {
        "largest_customers": [part.model_dump() | {"sentence": said(part)} for part in failing.parts],
        "customers_warning": warning(failing),
        "failed_requests": {
            "count": failing.count,
            "named": [request.model_dump() for request in failing.requests],
            "unknown": failing.requests_unknown,
        },
    }
