"""How much of the traffic, and of the failures, is one customer's: in bounded memory, and without names.

One customer who retries a broken form for an hour looks like a bad release. Which customer it is stays in
this process: a metric tells only how many of the events were the largest single one's.
"""

CAPACITY = 10_000


class Largest:
    """The largest count of any key. Exact while there are at most `capacity` keys; then a count that is never
    too large, and too small by at most the events divided by `capacity` (Misra & Gries 1982)."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._counts: dict[str, int] = {}

    def add(self, key: str) -> None:
        """One event of `key`."""
        counts = self._counts
        if key in counts:
            counts[key] += 1
        elif len(counts) < self._capacity:
            counts[key] = 1
        else:
            # No place for a newcomer: everybody loses one. Each loss was paid for by an earlier event.
            self._counts = {known: count - 1 for known, count in counts.items() if count > 1}

    def count(self) -> float:
        """Events of the key that has most of them; 0 before the first."""
        return float(max(self._counts.values(), default=0))

    def __len__(self) -> int:
        return len(self._counts)
