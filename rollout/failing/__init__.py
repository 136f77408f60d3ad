"""What stands beside the evidence, for people: whose requests they were, and which of them failed.

It proves nothing and decides nothing; the judge never sees it. It is kept in `failing.json` of a rollout's
folder when the rollout ends or rests, because Prometheus and the proxy's log forget.
"""

from rollout.failing.facts import Failing, Failure, Part, Shape
from rollout.failing.keeping import FILE, capture, keep, kept
from rollout.failing.told import beside

__all__ = ["FILE", "Failing", "Failure", "Part", "Shape", "beside", "capture", "keep", "kept"]
