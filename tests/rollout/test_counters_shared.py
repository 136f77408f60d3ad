"""What gates share is cleaned and told apart once a look, and is the same evidence as if each had its own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huidu.foundation.prometheus import NoData, Series
from rollout.counters import Cleaned, Pair, difference
from rollout.counters.samples import cleaned
from rollout.questions import Questions
from rollout.selectors import Matcher, Selector, Sorted, pick

ODD = (math.nan, math.inf, -1.0, -0.0)
TIMES = tuple(float(t) for t in range(12))
EDGES = ("100", "500", "+Inf")
ONE, OTHER = {"job": "crm", "instance": "a:1"}, {"job": "crm", "instance": "b:1"}

values = st.one_of(st.integers(0, 40).map(float), st.sampled_from(ODD), st.floats(0, 5))
moments = st.one_of(st.sampled_from(TIMES), st.sampled_from([math.nan, math.inf]))
samples = st.lists(st.tuples(moments, values), max_size=12)


@st.composite
def scraped(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Mostly what a counter looks like (restarts, missed scrapes), sometimes anything."""
    if draw(st.integers(0, 3)) == 0:
        return draw(samples)
    grown, at = [], 0.0
    for t in TIMES:
        at = 0.0 if draw(st.integers(0, 9)) == 0 else at + draw(st.integers(0, 9))
        if draw(st.integers(0, 5)):
            grown.append((t, at))
    return grown


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, list[Series]]:
    """Series by metric, of one process or two of an arm."""
    instances = draw(st.sampled_from([[ONE], [ONE, OTHER]]))
    found: dict[str, list[Series]] = {"total": [], "failed": [], "took": [], "began": []}
    for labels in instances:
        found["total"].append(Series({**labels, "__name__": "total"}, tuple(draw(scraped()))))
        found["failed"].append(Series({**labels, "__name__": "failed"}, tuple(draw(scraped()))))
        for le in EDGES[: draw(st.integers(1, 3))]:
            found["took"].append(Series({**labels, "__name__": "took", "le": le}, tuple(draw(scraped()))))
        if draw(st.booleans()):
            found["began"].append(Series({**labels, "__name__": "began"}, ((3.0, draw(values)),)))
    return found


def upto(world: dict[str, list[Series]], t: float) -> dict[str, list[Series]]:
    """The answer of one look: objects of its own, shared by all gates that ask for them."""
    cut = {
        name: [Series(each.labels, tuple(p for p in each.samples if not p[0] > t)) for each in several]
        for name, several in world.items()
    }
    return {name: [each for each in several if each.samples] for name, several in cut.items()}


def readings(answer: dict[str, list[Series]]) -> dict[str, dict[str, list[Series]]]:
    """What five gates make of the same series."""
    return {
        "errors": {"total": answer["total"], "bad": answer["failed"], "started": answer["began"]},
        "service": {"total": answer["total"], "bad": answer["failed"], "started": answer["began"]},
        "latency": {"bucket": answer["took"], "lost": answer["failed"]},
        "seconds": {"bucket": answer["took"]},
        "speed": {"total": answer["total"], "bad": answer["took"][:1]},
    }


UNITS = {"errors": 1.0, "service": 1.0, "latency": 0.001, "seconds": 1.0, "speed": 0.001}


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(canary=worlds(), baseline=worlds(), looks=st.lists(st.sampled_from(TIMES), min_size=2, max_size=5))
def test_gates_that_share_a_look_get_the_evidence_that_each_would_get_alone(
    canary: dict[str, list[Series]], baseline: dict[str, list[Series]], looks: list[float]
) -> None:
    alone: dict[str, Any] = dict.fromkeys(UNITS, Pair())
    together: dict[str, Any] = dict.fromkeys(UNITS, Pair())
    for t in sorted(looks):
        arms = [readings(upto(world, t)) for world in (canary, baseline)]
        seen = Cleaned()
        for gate, unit in UNITS.items():
            of = [arm[gate] for arm in arms]
            by_itself = difference(gate, "", alone[gate], *of, unit=unit)
            shared = difference(gate, "", together[gate], *of, unit=unit, seen=seen)
            # As text: what is not a number is not equal to itself.
            assert repr(shared) == repr(by_itself)
            alone[gate], together[gate] = by_itself[0], shared[0]


@settings(max_examples=150, deadline=None)
@given(samples)
def test_of_what_was_scraped_stays_what_a_counter_can_have_been(found: list[tuple[float, float]]) -> None:
    possible = [(t, v) for t, v in found if math.isfinite(t) and math.isfinite(v) and v >= 0]
    shown = {t: {v for at, v in possible if at == t} for t, _ in possible}
    assert list(cleaned(found)) == sorted((t, *each) for t, each in shown.items() if len(each) == 1)


LABELS = {"arm": ["a", "b"], "tier": ["a", "b", ""], "le": ["1", "1.0", "2"]}
NO_NUMBERS = ["nan", "x", ""]


def selected(ops: list[str], le: list[str]) -> st.SearchStrategy[Selector]:
    matcher = st.sampled_from(sorted(LABELS)).flatmap(
        lambda label: st.builds(
            Matcher,
            st.just(label),
            st.sampled_from(ops),
            st.sampled_from(LABELS[label] + (le if label == "le" else [])),
        )
    )
    matchers = st.lists(matcher, max_size=3).map(tuple)
    return st.builds(Selector, st.sampled_from(["total", "took"]), matchers)


def labelled(names: list[str], le: list[str]) -> st.SearchStrategy[tuple[str, dict[str, str]]]:
    values = {label: st.sampled_from(several) for label, several in LABELS.items()}
    values["le"] = st.sampled_from(LABELS["le"] + le)
    return st.tuples(st.sampled_from(names), st.fixed_dictionaries({}, optional=values))


def series(known: tuple[str, dict[str, str]], t: float = 1.0) -> Series:
    name, own = known
    return Series({**({"__name__": name} if name else {}), **own}, ((t, 1.0),))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.lists(labelled(["total", "took", ""], NO_NUMBERS), max_size=8),
    st.lists(selected(["=", "=", "=", "!=", "=~", "!~"], ["nan", "x"]), max_size=8),
)
def test_series_are_told_apart_in_one_pass_as_one_by_one(
    known: list[tuple[str, dict[str, str]]], wanted: list[Selector]
) -> None:
    found = [series(each) for each in known]
    assert Sorted(wanted)(found) == {selector: pick(found, selector) for selector in wanted}


class Asked:
    """Prometheus as far as plain selectors go: gives what the question names."""

    def __init__(self, known: list[Series]) -> None:
        self._known = known
        self.questions: list[str] = []

    def window(self, selector: str, seconds: float, at: float | None = None) -> tuple[Series, ...] | NoData:
        self.questions.append(selector)
        text = selector.replace("\\\\", "\\")  # inside PromQL's quotes a backslash is escaped once more
        asked = Selector.parse(f"x{text}" if text.startswith("{") else text)
        names = [each for each in asked.matchers if each.label == "__name__"]
        rest = Selector(asked.metric, tuple(each for each in asked.matchers if each not in names))
        metrics = names[0].value.split("|") if names else [asked.metric]
        found = tuple(
            each
            for each in self._known
            if each.labels["__name__"] in metrics and rest.matches(dict(each.labels))
        )
        return found or NoData(selector)


def test_a_bucket_of_a_histogram_that_is_asked_for_anyway_is_not_asked_for_again() -> None:
    whole = Selector.parse('took_bucket{cluster="c"}')
    part = Selector.parse('took_bucket{cluster="c",le="500"}')
    known = [series(("took_bucket", {"cluster": "c", "le": le})) for le in ("100", "500", "+Inf")]
    prometheus = Asked(known)
    answers = Questions([part, whole]).ask(prometheus, 15.0)  # type: ignore[arg-type]
    assert prometheus.questions == ['took_bucket{cluster="c"}']
    assert answers.series[whole] == tuple(known) and answers.series[part] == (known[1],)
    other = Selector.parse('took_bucket{cluster="d",le="500"}')
    answers = Questions([part, whole, other]).ask(prometheus, 15.0)  # type: ignore[arg-type]
    assert len(prometheus.questions) == 3, "one that nobody else brings has to be asked for"
    assert answers.series[part] == (known[1],)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.lists(labelled(["total", "took"], []), max_size=8),
    st.lists(selected(["="], []), min_size=1, max_size=8),
)
def test_asked_together_each_gets_what_it_would_get_alone(
    known: list[tuple[str, dict[str, str]]], wanted: list[Selector]
) -> None:
    found = [series(each) for each in known]
    answers = Questions(wanted).ask(Asked(found), 15.0)  # type: ignore[arg-type]
    for selector in wanted:
        assert answers.series.get(selector, ()) == pick(found, selector)
