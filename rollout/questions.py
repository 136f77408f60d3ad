"""What is asked of Prometheus: as few questions as possible, all answered for the same moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from huidu.foundation.prometheus import NoData, Prometheus, Series
from rollout.counters import Cleaned
from rollout.selectors import Selector, Sorted, joined
from rollout.sources import ARMS, Source

_Part = TypeVar("_Part", bound=str)
_Shape = tuple[object, ...]
"""What selectors have in common that one question can ask for: labels and operators, or else the metric."""


@dataclass
class Answers:
    """What Prometheus said to the joined questions of one look; `newest`: time of the newest sample. `seen`:
    what was cleaned of it already."""

    series: dict[Selector, tuple[Series, ...]] = field(default_factory=dict)
    newest: float = 0.0
    seen: Cleaned = field(default_factory=Cleaned)

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


class Questions:
    """What is asked for `selectors`, as often as one likes: one question for all with the same labels.

    None is asked for series that another one brings anyway: a bucket is one of its histogram's.
    """

    def __init__(self, selectors: Iterable[Selector]) -> None:
        groups: dict[_Shape, list[Selector]] = {}
        for selector in dict.fromkeys(selectors):
            shape: _Shape = tuple((m.label, m.op) for m in selector.matchers) or (selector.metric,)
            groups.setdefault(shape, []).append(selector)
        told: dict[_Shape, list[Selector]] = {}
        for shape, alike in sorted(groups.items(), key=lambda group: len(group[1][0].matchers)):
            wider = [_wider(selector, told) for selector in alike]
            if not all(wider):
                told[shape] = list(alike)
                continue
            for selector, several in zip(alike, wider, strict=True):
                several.append(selector)
        self._asked = [(joined(groups[shape]), Sorted(told[shape])) for shape in groups if shape in told]

    def ask(self, prometheus: Prometheus, seconds: float, at: float | None = None) -> Answers:
        """The samples in the `seconds` before `at`. Raises Unreachable, ConfigError (not PromQL)."""
        answers = Answers()
        for question, told in self._asked:
            answer = prometheus.window(question, seconds, at)
            if isinstance(answer, NoData):
                continue
            answers.series |= told(answer)
            answers.newest = max(answers.newest, *(series.samples[-1][0] for series in answer))
        return answers


def _wider(selector: Selector, told: Mapping[_Shape, list[Selector]]) -> list[Selector]:
    """Those told apart of an answer that has all series of `selector`; [] where there is none such."""
    for several in told.values():
        for other in several:
            if other.metric == selector.metric and set(other.matchers) <= set(selector.matchers):
                return several
    return []


def ask(
    prometheus: Prometheus, selectors: Iterable[Selector], seconds: float, at: float | None = None
) -> Answers:
    """`Questions` asked once."""
    return Questions(selectors).ask(prometheus, seconds, at)
