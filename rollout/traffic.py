"""Requests of every cohort and arm, lately: what shares are computed from, and what is still open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from huidu.foundation.prometheus import Series
from rollout.counters import Memory, grow
from rollout.plan import TESTERS
from rollout.questions import Answers
from rollout.sources import ARMS, Source

LATELY = 60.0
"""Seconds of traffic that shares are computed from."""


class Traffic:
    """Counts `sources` (by cohort) from look to look; `in_flight`: gauges of open requests, if there are."""

    def __init__(self, sources: Mapping[str, Source], in_flight: Mapping[str, Source]) -> None:
        self._sources = sources
        self._in_flight = in_flight
        self._memory: dict[tuple[str, str], Memory] = {}
        self._lately: list[tuple[float, str, str, float]] = []

    @property
    def sources(self) -> list[Source]:
        """Everything that must be asked for."""
        return [*self._sources.values(), *self._in_flight.values()]

    @property
    def begun(self) -> bool:
        """Whether it knows where counting starts."""
        return bool(self._memory)

    def begin(self, answers: Answers) -> None:
        """Count from the newest of `answers` on."""
        for cohort, source in self._sources.items():
            for arm in ARMS:
                reading = answers.reading(source.selectors[arm])
                self._memory[cohort, arm], _ = grow(Memory(), reading, {}, 1.0, Memory(), answers.seen)

    def count(self, answers: Answers, now: float) -> dict[str, float]:
        """Take this look's requests into account; the candidate's number of them per cohort."""
        candidate = dict.fromkeys(self._sources, 0.0)
        for cohort, source in self._sources.items():
            for arm in ARMS:
                before = self._memory.get((cohort, arm), Memory())
                reading = answers.reading(source.selectors[arm])
                self._memory[cohort, arm], grown = grow(before, reading, {}, 1.0, Memory(), answers.seen)
                n = grown.sums.get("total", 0.0) if grown else 0.0
                self._lately.append((now, cohort, arm, n))
                candidate[cohort] += n if arm == "canary" else 0.0
        self._lately = [each for each in self._lately if each[0] > now - LATELY]
        return candidate

    def lately(self) -> dict[str, float]:
        """Requests of customers per cohort, both arms."""
        return {
            cohort: sum(n for _, of, _, n in self._lately if of == cohort)
            for cohort in self._sources
            if cohort != TESTERS
        }

    def open_beyond(self, answers: Answers) -> dict[str, float]:
        """By cohort, requests the candidate has open beyond what stable has, scaled to the candidate's."""
        flows: dict[tuple[str, str], list[float]] = {}
        for _, cohort, arm, n in self._lately:
            flows.setdefault((cohort, arm), []).append(n)
        found = {}
        for cohort, source in self._in_flight.items():
            now = {arm: last_sum(answers.reading(source.selectors[arm])["total"]) for arm in ARMS}
            flow = {arm: sum(flows.get((cohort, arm), ())) for arm in ARMS}
            if flow["baseline"] > 0:
                beyond = now["canary"] - now["baseline"] * flow["canary"] / flow["baseline"]
                found[cohort] = max(0.0, beyond)
        return found


def last_sum(series: Iterable[Series]) -> float:
    """The newest values, added up."""
    return sum(each.samples[-1][1] for each in series)
