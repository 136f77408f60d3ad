"""Selectors of counters with placeholders: one question to Prometheus for all arms and cohorts. Pure.

A plan writes `envoy_cluster_upstream_rq_total{envoy_cluster_name="{cluster}"}` once; a rollout needs it for
every cluster. Asking one by one would be six questions where one will do, and their answers would come from
different scrapes. So the values are joined into one regular expression, and the series that come back are
told apart by their labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from huidu.foundation.errors import ConfigError
from huidu.foundation.prometheus import Series

_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\})?\s*", re.DOTALL)
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
PLACEHOLDERS = ("cluster", "release", "arm", "tier", "cohort", "limit", "limit_ms")


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label of a selector: `op` is one of = != =~ !~, `value` may hold placeholders."""

    label: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric and its matchers."""

    metric: str
    matchers: tuple[Matcher, ...]

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Raises ConfigError for what is not a plain selector, or names an unknown placeholder."""
        found = _SELECTOR.fullmatch(text)
        if found is None:
            raise _wrong(
                text, 'a plain selector such as requests_total{cluster="{cluster}"}, without functions'
            )
        matchers = []
        rest = found.group(2) or ""
        while rest.strip():
            part = _MATCHER.match(rest)
            if part is None:
                raise _wrong(text, 'labels such as code="500"')
            matchers.append(Matcher(part.group(1), part.group(2), part.group(3)))
            rest = rest[part.end() :]
        for matcher in matchers:
            for name in _PLACEHOLDER.findall(matcher.value):
                if name not in PLACEHOLDERS:
                    raise _wrong(text, "one of " + ", ".join(f"{{{each}}}" for each in PLACEHOLDERS))
        return cls(found.group(1), tuple(matchers))

    def filled(self, values: Mapping[str, str]) -> Selector:
        """With every placeholder replaced."""
        return Selector(
            self.metric,
            tuple(
                Matcher(
                    each.label, each.op, _PLACEHOLDER.sub(lambda found: values[found.group(1)], each.value)
                )
                for each in self.matchers
            ),
        )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with `labels` is selected; `le` is compared as the number it is."""
        return all(_matches(each, labels.get(each.label, "")) for each in self.matchers)

    def text(self) -> str:
        """As PromQL."""
        inner = ",".join(f'{each.label}{each.op}"{each.value}"' for each in self.matchers)
        return f"{self.metric}{{{inner}}}" if inner else self.metric


def joined(selectors: Sequence[Selector]) -> str:
    """One PromQL selector for all `selectors`: of one metric or several, with the same labels, filled
    with different values."""
    first = selectors[0]
    metrics = sorted({selector.metric for selector in selectors})
    parts = [] if len(metrics) == 1 else [f'__name__=~"{"|".join(metrics)}"']
    for number, matcher in enumerate(first.matchers):
        values = sorted({selector.matchers[number].value for selector in selectors})
        if matcher.op == "=" and matcher.label == "le":
            values = sorted({spelling for value in values for spelling in _spellings(value)})
        if matcher.op == "=" and len(values) > 1:
            pattern = "|".join(_escaped(value) for value in values)
            parts.append(f'{matcher.label}=~"{pattern}"')
        elif len(values) == 1:
            parts.append(f'{matcher.label}{matcher.op}"{values[0]}"')
        elif matcher.op == "=~":
            parts.append(f'{matcher.label}=~"{"|".join(f"(?:{value})" for value in values)}"')
        # A negative matcher that differs cannot be joined; leaving it out asks for more, never for less.
    metric = first.metric if len(metrics) == 1 else ""
    return f"{metric}{{{','.join(parts)}}}" if parts else metric


def pick(series: Iterable[Series], selector: Selector) -> tuple[Series, ...]:
    """Those of `series` that `selector` names."""
    return tuple(
        each
        for each in series
        if each.labels.get("__name__", selector.metric) == selector.metric and selector.matches(each.labels)
    )


class Sorted:
    """Tells apart the series of one answer as `pick` does, for many selectors in one pass."""

    def __init__(self, selectors: Iterable[Selector]) -> None:
        self._selectors = tuple(dict.fromkeys(selectors))
        self._picked = [each for each in self._selectors if any(m.op != "=" for m in each.matchers)]
        # By the labels that tell: metric and values -> places of the selectors that want just these.
        self._wanted: dict[tuple[str, ...], dict[tuple[object, ...], list[int]]] = {}
        for place, selector in enumerate(self._selectors):
            if selector not in self._picked:
                wanted = self._wanted.setdefault(tuple(each.label for each in selector.matchers), {})
                values = [_told(each.label, each.value) for each in selector.matchers]
                wanted.setdefault((selector.metric, *values), []).append(place)

    def __call__(self, series: Sequence[Series]) -> dict[Selector, tuple[Series, ...]]:
        """The series that each of the selectors names."""
        found: list[list[Series]] = [[] for _ in self._selectors]
        for labels, wanted in self._wanted.items():
            metrics = {metric for metric, *_ in wanted}
            for each in series:
                values = [_told(label, each.labels.get(label, "")) for label in labels]
                name = each.labels.get("__name__")
                for metric in metrics if name is None else (name,):
                    for place in wanted.get((metric, *values), ()):
                        found[place].append(each)
        told = dict(zip(self._selectors, map(tuple, found), strict=True))
        return told | {selector: pick(series, selector) for selector in self._picked}


def _told(label: str, value: str) -> object:
    """What a label's value is compared as."""
    return _number(value) if label == "le" else value


def _matches(matcher: Matcher, value: str) -> bool:
    if matcher.label == "le" and matcher.op == "=":
        return _number(matcher.value) == _number(value)
    if matcher.op == "=":
        return matcher.value == value
    if matcher.op == "!=":
        return matcher.value != value
    return (re.fullmatch(matcher.value, value) is not None) == (matcher.op == "=~")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _spellings(value: str) -> set[str]:
    """Clients write the edge 3 as "3" or "3.0"."""
    number = _number(value)
    if number is None or number in (float("inf"), float("-inf")):
        return {value, "+Inf"}
    return {value, f"{number:g}", repr(number)}


def _escaped(value: str) -> str:
    # Inside PromQL's quotes a backslash is itself escaped.
    return re.escape(value).replace("\\-", "-").replace("\\", "\\\\")


def _wrong(text: str, expected: str) -> ConfigError:
    return ConfigError(f"the selector {text!r} is not understood", expected=expected)
