"""What is asked of Prometheus: as few questions as possible, all answered for the same moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from huidu.foundation.prometheus import NoData, Prometheus, Series
from rollout.selectors import Selector, joined, pick
from rollout.sources import ARMS, Source

_Part = TypeVar("_Part", bound=str)


@dataclass
class Answers:
    """What Prometheus said to the joined questions of one look; `newest`: time of the newest sample."""

    series: dict[Selector, tuple[Series, ...]] = field(default_factory=dict)
    newest: float = 0.0

    def reading(self, selectors: Mapping[_Part, tuple[Selector, ...]]) -> dict[_Part, list[Series]]:
        """The series of every quantity."""
        return {
            quantity: [series for each in several for series in self.series.get(each, ())]
            for quantity, several in selectors.items()
        }


def selectors_of(sources: Iterable[Source], arms: Iterable[str] = ARMS) -> list[Selector]:
    """Everything that `sources` count."""
    arms = tuple(arms)
    return [selector for source in sources for arm in arms for selector in source.all_of(arm)]


def ask(
    prometheus: Prometheus, selectors: Iterable[Selector], seconds: float, at: float | None = None
) -> Answers:
    """The samples of `selectors` in the `seconds` before `at`: one question for all with the same labels.

    Raises Unreachable, ConfigError (not PromQL).
    """
    groups: dict[tuple[object, ...], list[Selector]] = {}
    for selector in selectors:
        shape = tuple((m.label, m.op) for m in selector.matchers) or (selector.metric,)
        groups.setdefault(shape, []).append(selector)
    answers = Answers()
    for alike in groups.values():
        answer = prometheus.window(joined(alike), seconds, at)
        if isinstance(answer, NoData):
            continue
        for selector in set(alike):
            answers.series[selector] = pick(answer, selector)
        answers.newest = max(answers.newest, *(series.samples[-1][0] for series in answer))
    return answers
