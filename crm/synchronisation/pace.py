"""How much the worker tries at once, and how long it waits: pure, the worker only keeps the current one."""

from dataclasses import dataclass, replace

LARGEST_BATCH = 200  # events; the core stores so many in about half a second
IDLE_SECONDS = 0.3  # an event waits at most so long for a worker that has nothing to do
LONGEST_WAIT = 3.0  # the link is back at most so long before the worker notices


@dataclass(frozen=True, slots=True)
class Pace:
    """`batch`: events asked for next; `wait`: seconds until then; `failures`: in a row."""

    batch: int = LARGEST_BATCH
    wait: float = 0.0
    failures: int = 0

    def delivered(self, events: int) -> "Pace":
        """After a batch that went well: more at once if it was full, and larger if it had been made small."""
        more = events >= self.batch
        return Pace(min(LARGEST_BATCH, self.batch * 2), wait=0.0 if more else IDLE_SECONDS)

    def unreachable(self) -> "Pace":
        """The link is cut, or the core away: the same again, more and more rarely."""
        failures = self.failures + 1
        return replace(self, failures=failures, wait=min(LONGEST_WAIT, 0.25 * 2.0 ** min(failures, 10)))

    def failed(self, events: int) -> "Pace":
        """The core failed on this batch: half of it next time, until an event it cannot take stands alone."""
        return replace(self.unreachable(), batch=max(1, events // 2))


def retry_after(attempts: int) -> float:
    """Seconds until an event that the core refused `attempts` times is tried again: 2, 4, 8, ... 300."""
    return float(min(300.0, 2.0 ** min(attempts, 10)))
