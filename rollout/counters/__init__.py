"""Samples of raw counters into evidence: disjoint differences, per series, before anything is summed.

Pure. The memory of the last values is an argument and a result, and can be written down.

    before = Pair()                                                    # nothing seen yet
    before, interval, why = difference("errors", "high", before, canary, baseline, share=0.05)

A reading names what one arm's series count: `total`, `bad` (both sums of as many series as there are),
`bucket` (a histogram: classic, with the label `le`, or native) and `lost` (requests that never enter it:
timeouts, resets). Without `total`, a histogram's total is its +Inf bucket plus `lost`. `started`, where there
is one, is when the process of each target began (process_start_time_seconds).

What happens to:
- a reset (process restarted): a value below the last one is itself the difference; also within the window.
  A histogram is reset as a whole when one of its buckets falls;
- a reset that some counters of a target show and others do not (they have caught up already): excluded;
- a missed scrape: it folds into the next interval, except across a change of weights;
- a series that appears on a target already known (the first error of all): it began at 0;
- a target never seen before: its first values are where counting starts, unless it has started since;
- a series or target that vanishes: adds nothing, and is continued when it comes back; where its target was
  restarted meanwhile it begins at 0;
- requests and errors: taken from the same scrape, the last one that shows all series that are still alive;
- NaN, stale markers, Inf, negative values, a timestamp that comes twice: the sample does not count;
- a clock that was set back: the interval is excluded, and counting starts again from there;
- a change of weights inside an interval: excluded; both shares would be mixed in it;
- native histograms: read at fixed edges, four to a doubling; finer buckets are merged, coarser ones excluded;
- histograms whose bucket edges differ, between the arms or between the instances of one: excluded.
"""

from rollout.counters.growth import Growth, grow
from rollout.counters.interval import difference
from rollout.counters.memory import Memory, Pair, Target
from rollout.counters.samples import Cleaned, Quantity, Reading

__all__ = ["Cleaned", "Growth", "Memory", "Pair", "Quantity", "Reading", "Target", "difference", "grow"]
