"""The way from nobody to everybody: stages as corners of a path through the cohorts' weights. Pure.

A rollout moves along the path, never off it: `fixed` from corner to corner, `ramp` to any point between.
Where on the path a share of *all* requests lies depends on how much traffic each cohort brings, so shares
are computed from what was observed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.routers.router import WHOLE

ALL = "all"
"""In a stage's weights: every cohort that is not named."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage as the plan says it: parts of one per cohort, or `all`."""

    name: str
    weights: Mapping[str, float]
    bake: float = 0.0


@dataclass(frozen=True, slots=True)
class Corner:
    """A stage: the candidate's basis points of every cohort, and the least time (seconds) it is kept."""

    name: str
    weights: Mapping[str, int]
    bake: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """The stages in order. `point(0)` is nobody, `point(n)` the n-th stage, fractions lie between.

    `grain`: weights between the stages are multiples of so many basis points.
    """

    corners: tuple[Corner, ...]
    cohorts: tuple[str, ...]
    grain: int = 1

    @classmethod
    def of(cls, steps: Sequence[Step], cohorts: Sequence[str], grain: int = 1) -> Ladder:
        """The ladder of `steps` over `cohorts`; a cohort that a step does not name keeps its weight."""
        held = dict.fromkeys(cohorts, 0)
        corners = []
        for step in steps:
            if ALL in step.weights:
                held = dict.fromkeys(cohorts, round(step.weights[ALL] * WHOLE))
            held |= {cohort: round(share * WHOLE) for cohort, share in step.weights.items() if cohort in held}
            corners.append(Corner(step.name, dict(held), step.bake))
        return cls(tuple(corners), tuple(cohorts), grain)

    @property
    def nobody(self) -> dict[str, int]:
        """Everybody on stable."""
        return dict.fromkeys(self.cohorts, 0)

    def is_everybody(self, weights: Mapping[str, int]) -> bool:
        """Whether all cohorts are on the candidate with all they have: nothing can be compared any more."""
        return all(weights.get(cohort) == WHOLE for cohort in self.cohorts)

    def point(self, position: float) -> dict[str, int]:
        """The weights at `position` (0 to the number of stages), rounded down: never more than asked."""
        position = min(max(position, 0.0), float(len(self.corners)))
        below = int(position)
        if below == position:
            return dict(self.corners[below - 1].weights) if below else self.nobody
        low = self.corners[below - 1].weights if below else self.nobody
        high = self.corners[below].weights
        part = position - below
        return {c: low[c] + self._whole((high[c] - low[c]) * part) for c in self.cohorts}

    def onward(self, before: float, position: float) -> float:
        """`position`, or where it lets nobody more in than `before`: the next one that does.

        Where weights are coarse the farthest share that may be asked for can round down to the present one;
        asked for again and again it would never be more. (How much may open is judged by the share itself.)
        """
        if position <= before or self.point(position) != self.point(before):
            return position
        number = int(before)
        low = self.corners[number - 1].weights if number else self.nobody
        grown = [
            (self.corners[number].weights[c] - low[c], low[c], self.point(before)[c]) for c in self.cohorts
        ]
        parts = [(weight + self.grain - start) / span for span, start, weight in grown if span > 0]
        return number + min([part for part in parts if part < 1], default=1.0)

    def _whole(self, weight: float) -> int:
        # Not below the very multiple that a position was computed for.
        return int(weight) if self.grain == 1 else int(weight / self.grain + 1e-9) * self.grain

    def position_of_share(self, share: float, traffic: Mapping[str, float]) -> float:
        """The farthest position whose share of all requests is at most `share`; `traffic` per cohort."""
        reached = 0.0
        before = 0.0
        for number, corner in enumerate(self.corners):
            here = share_of(corner.weights, traffic)
            if here > share + 1e-9:
                return number + (share - before) / (here - before)
            reached, before = float(number + 1), here
        return reached

    def stage_name(self, position: float) -> str:
        """The stage at or last passed before `position`."""
        passed = int(position + 1e-9)
        return self.corners[passed - 1].name if passed else "start"


def share_of(weights: Mapping[str, int], traffic: Mapping[str, float]) -> float:
    """The candidate's share of all requests (0 to 1) with `weights`, for cohorts that bring `traffic`.

    Cohorts without any traffic count for nothing; without any traffic at all the widest weight stands in.
    """
    total = sum(traffic.get(cohort, 0.0) for cohort in weights)
    if total <= 0:
        return max(weights.values(), default=0) / WHOLE
    return sum(traffic.get(cohort, 0.0) * weight for cohort, weight in weights.items()) / (total * WHOLE)
