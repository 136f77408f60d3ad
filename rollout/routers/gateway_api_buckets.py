"""Customers in a hundred buckets: which of them an arm has, as a regular expression of a header. Pure.

The edge gives every customer a bucket, "00" to "99", by a hash of his id. An arm has a range of buckets; the
candidate's grows from its beginning, so that nobody who is in falls out. Where that is depends on the
rollout's salt, or the same customers would be the first of every release: the hundred stand in a circle.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping

BUCKETS = 100
NOBODY = "^nobody$"
"""The pattern of an arm without buckets: no bucket is called so."""


def first_bucket(salt: str) -> int:
    """Where the candidate's range begins, 0 to 99. Without a salt it begins with bucket 0."""
    return int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "big") % BUCKETS if salt else 0


def arc(first: int, begin: int, end: int) -> frozenset[int]:
    """The buckets `begin` up to `end` (0 to 100) on the circle that starts at `first`."""
    return frozenset((first + number) % BUCKETS for number in range(begin, end))


def ranges(weights: Mapping[str, int], salt: str) -> dict[str, frozenset[int]]:
    """Each cluster's buckets, one behind the other as they stand in `weights` (basis points of the whole).

    What is no whole bucket goes to the next one in the list: never more than asked for the first.
    """
    first, found, passed = first_bucket(salt), {}, 0
    for cluster, weight in weights.items():
        found[cluster] = arc(first, passed // BUCKETS, (passed + weight) // BUCKETS)
        passed += weight
    return found


def pattern(buckets: Collection[int]) -> str:
    """A regular expression that matches exactly `buckets`, with or without a leading zero.

    Anchored, since some gateways match the whole value and some any part of it; nothing but digits, brackets
    and bars, which mean the same in RE2, PCRE, Go and Rust.
    """
    if not buckets:
        return NOBODY
    parts = []
    for tens in range(10):
        units = [bucket % 10 for bucket in sorted(buckets) if bucket // 10 == tens]
        if units:
            parts.append(f"{tens or '0?'}{_digits(units)}")
    return f"^({'|'.join(parts)})$"


def matched(value: str) -> frozenset[int]:
    """The buckets that `value` matches. Raises ValueError where gateways could differ about it."""
    try:
        compiled = re.compile(value)
    except (re.error, RecursionError, OverflowError):
        raise ValueError(f"{value!r} is no regular expression") from None
    found = set()
    for bucket in range(BUCKETS):
        spellings = {f"{bucket:02}", f"{bucket}"}
        answers = {bool(how(text)) for text in spellings for how in (compiled.fullmatch, compiled.search)}
        if len(answers) > 1:
            raise ValueError(f"{value!r} does not say clearly whether it matches bucket {bucket}: anchor it")
        if answers.pop():
            found.add(bucket)
    return frozenset(found)


def _digits(units: Iterable[int]) -> str:
    runs: list[list[int]] = []
    for unit in units:
        if runs and unit == runs[-1][1] + 1:
            runs[-1][1] = unit
        else:
            runs.append([unit, unit])
    text = "".join(str(a) if a == b else f"{a}{b}" if b == a + 1 else f"{a}-{b}" for a, b in runs)
    return text if len(text) == 1 else f"[{text}]"
