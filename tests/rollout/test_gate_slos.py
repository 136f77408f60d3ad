"""What `huidu gate` makes of an objective's numbers, kind by kind: kept, broken, or no evidence."""

from __future__ import annotations

import json
import math
import re

import pytest

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import ConfigError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.prometheus import NoData, Prometheus, Series
from huidu.foundation.workspace import Workspace
from huidu.model.slo import Objective
from rollout.gate.slos import Stretch, counter_of, slo_finding
from rollout.gate.stretches import Asked

GOOD, BAD, NOT = Outcome.GOOD, Outcome.BAD, Outcome.NOT_EVIDENCE
HOUR = Stretch(10_000.0, 13_600.0)
WINDOW = Stretch(10_000.0, 13_600.0, whole=True)


class Answering(Prometheus):
    """Answers from functions of time: what each metric was at a moment, None where there was no sample."""

    def __init__(self, **metrics):
        super().__init__("http://127.0.0.1:1")
        self.metrics = metrics

    def window(self, selector, seconds, at=None):
        return self._between(selector, at - seconds, at, 15)

    def instant(self, expression, at=None):
        query, seconds, step = re.fullmatch(r"\((.*)\)\[(\d+)s:(\d+)s\]", expression).groups()
        return self._between(query, at - int(seconds), at, int(step))

    def _between(self, name, start, end, step):
        times = range(math.floor(start / step + 1) * step, math.floor(end) + 1, step)
        seen = tuple((float(t), self.metrics[name](t)) for t in times if self.metrics[name](t) is not None)
        return (Series({"__name__": name}, seen),) if seen else NoData(name)


def counter(rate, begin=9_000):
    """Grows by `rate` a second (or by that of each moment)."""
    if not callable(rate):
        return lambda t: rate * (t - begin)
    return lambda t: sum(rate(each) * 15 for each in range(begin, t, 15))


def judged(prometheus, over=WINDOW, target=0.99, **more):
    known = {"total": "all_total", "counter": True} if "threshold" not in more and "raw" not in more else {}
    found = slo_finding(Objective("o", "shop", target, **{**known, **more}), prometheus, over, 1.0)
    assert found.subject == "slo shop" and found.seconds == over.seconds
    assert found.sentence.startswith({GOOD: "kept: ", BAD: "broken: ", NOT: "not "}[found.outcome])
    return found.outcome, found.sentence


@pytest.mark.parametrize(
    ("named", "rate", "outcome", "said"),
    [
        ("bad", 0.1, GOOD, "360 bad of 36,000"),  # exactly what is allowed is kept
        ("bad", 0.2, BAD, "720 bad of 36,000"),
        ("bad", 0.0, GOOD, "0 bad of 36,000"),
        ("good", 9.95, GOOD, "180 bad of 36,000"),
        ("good", 9.5, BAD, "1,800 bad of 36,000"),
        ("good", 11.0, GOOD, "0 bad of 36,000"),  # counted twice somewhere: never fewer than none
        ("bad", 11.0, BAD, "36,000 bad of 36,000"),  # nor more than all
    ],
)
def test_over_its_own_window_an_objective_is_a_fact(named, rate, outcome, said):
    prometheus = Answering(all_total=counter(10.0), part_total=counter(rate))
    found, sentence = judged(prometheus, **{named: "part_total"})
    assert found is outcome and said in sentence and "lies between" not in sentence


@pytest.mark.parametrize(
    ("rate", "outcome", "said"),
    [(0.05, GOOD, "kept"), (0.1, NOT, "not proved either way"), (0.2, BAD, "broken")],
)
def test_over_a_part_of_it_the_whole_interval_must_lie_on_one_side(rate, outcome, said):
    prometheus = Answering(all_total=counter(10.0), part_total=counter(rate))
    found, sentence = judged(prometheus, HOUR, bad="part_total")
    assert found is outcome and sentence.startswith(said) and "lies between" in sentence


def test_where_nothing_was_counted_nothing_is_kept():
    silent = Answering(all_total=lambda t: None, part_total=lambda t: None)
    still = Answering(all_total=counter(0.0), part_total=counter(0.0))
    slices = {"slice_seconds": 300.0, "slice_target": 0.9}
    for prometheus in (silent, still):
        for more in ({}, slices):
            found, sentence = judged(prometheus, bad="part_total", **more)
            assert found is NOT and "nothing was counted" in sentence


@pytest.mark.parametrize(("target", "outcome"), [(0.75, GOOD), (0.76, BAD)])
def test_a_time_slice_without_anybody_is_good_and_exactly_its_target_is_enough(target, outcome):
    """Of twelve slices three are bad, one has nobody, and one is exactly as good as promised."""

    def came(t):
        return 0.0 if 10_300 <= t < 10_600 else 10.0

    def failed(t):
        return 5.0 if t >= 12_700 else 1.0 if 11_200 <= t < 11_500 else 0.0

    prometheus = Answering(all_total=counter(came, 8_995), part_total=counter(failed, 8_995))
    over = Stretch(10_000.0 - 5, 13_600.0 - 5)
    slices = {"slice_seconds": 300.0, "slice_target": 0.9, "target": target}
    found, sentence = judged(prometheus, over, bad="part_total", **slices)
    assert "9 of 12 time slices were good" in sentence
    assert found is outcome


def queue(until=math.inf, long=lambda t: t % 60 == 0, odd=math.nan):
    """120 at some moments, else 7; and in between what is no number. Nothing from `until` on."""
    return lambda t: None if t >= until else odd if t % 300 == 15 else 120.0 if long(t) else 7.0


@pytest.mark.parametrize(
    ("metric", "target", "outcome"),
    [
        (queue(), 0.7, GOOD),
        (queue(), 0.8, BAD),
        (queue(long=lambda t: False), 1.0, GOOD),
        (queue(13_400), 0.7, GOOD),
        (queue(12_000), 0.7, NOT),
        (lambda t: None, 0.7, NOT),
        (lambda t: math.inf, 0.7, NOT),
    ],
)
def test_a_threshold_is_judged_by_samples_and_only_where_enough_were_seen(metric, target, outcome):
    found, sentence = judged(Answering(queue=metric), HOUR, target, threshold="queue", op="lt", value=100.0)
    assert found is outcome
    assert ("not evidence" in sentence) == (outcome is NOT)


@pytest.mark.parametrize(
    ("success", "value", "outcome"),
    [(True, 0.995, GOOD), (True, 0.98, BAD), (False, 0.005, GOOD), (False, 0.02, BAD), (True, None, NOT)],
)
def test_a_ratio_that_is_computed_elsewhere_is_taken_as_it_is_meant(success, value, outcome):
    prometheus = Answering(ratio=lambda t: value)
    assert judged(prometheus, HOUR, raw="ratio", raw_success=success)[0] is outcome


@pytest.mark.parametrize(
    ("named", "part", "total", "outcome"),
    [
        ("good", 9.95, 10.0, GOOD),
        ("good", 9.5, 10.0, BAD),
        ("bad", 0.05, 10.0, GOOD),
        ("bad", 0.5, 10.0, BAD),
        ("bad", 0.0, 0.0, NOT),
        ("bad", None, 10.0, NOT),
        ("good", 1.0, None, NOT),
    ],
)
def test_levels_that_are_no_counters_are_compared_on_average(named, part, total, outcome):
    prometheus = Answering(part=lambda t: part, all=lambda t: total)
    more = {named: "part", "total": "all", "counter": False}
    assert judged(prometheus, HOUR, **more)[0] is outcome


def test_exactly_what_is_promised_is_kept_by_every_kind():
    prometheus = Answering(all_total=counter(10.0), part_total=counter(2.5), ratio=lambda t: 0.75)
    assert judged(prometheus, target=0.75, bad="part_total")[0] is GOOD
    assert judged(prometheus, target=0.75, raw="ratio")[0] is GOOD
    assert judged(prometheus, target=0.75, good="ratio", total="ratio", counter=False)[0] is GOOD


def test_an_objective_of_no_service_is_called_by_its_own_name():
    prometheus = Answering(ratio=lambda t: 1.0)
    assert slo_finding(Objective("o", "", 0.9, raw="ratio"), prometheus, HOUR, 1.0).subject == "slo o"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("x_total", "x_total"),
        ('sum(x_total{a="b"})', 'x_total{a="b"}'),
        ('sum by (job) (rate(x_total{a="b"}[5m]))', 'x_total{a="b"}'),
        ("sum(increase(x_total[1h]))", "x_total"),
        ("x_total / y_total", None),
        ("histogram_quantile(0.9, x)", None),
    ],
)
def test_the_counter_in_a_query(query, named):
    if named is None:
        with pytest.raises(ConfigError, match="counter: false"):
            counter_of(query)
    else:
        assert counter_of(query).text() == named


# over which stretch


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "home", tmp_path / "cache")


def stretch(workspace, over="15m", until=None, during=None, window=None):
    clock = VirtualClock(50_000.0)
    return Asked(over, until, during, None).of(workspace, clock, window)


def test_the_stretch_is_the_time_before_now_or_before_what_was_said(workspace):
    assert stretch(workspace) == Stretch(49_100.0, 50_000.0)
    assert stretch(workspace, "1h", until="40000") == Stretch(36_400.0, 40_000.0)
    assert stretch(workspace, until="1970-01-01T01:00:00+00:00") == Stretch(2_700.0, 3_600.0)


def test_only_the_objectives_own_window_is_a_fact(workspace):
    assert stretch(workspace, "window", window=3600.0) == Stretch(46_400.0, 50_000.0, whole=True)
    assert stretch(workspace, "1h", window=3600.0).whole
    assert not stretch(workspace, "59m", window=3600.0).whole
    assert not stretch(workspace, "1h").whole
    with pytest.raises(UsageError, match="nothing here has a window of its own"):
        stretch(workspace, "window")


@pytest.mark.parametrize("wrong", [{"over": "soon"}, {"over": ""}, {"until": "tomorrow"}])
def test_what_is_no_time_is_said(workspace, wrong):
    with pytest.raises(UsageError, match=r"--over|--until"):
        stretch(workspace, **wrong)


def test_a_load_runs_own_stretch_is_never_a_whole_window(workspace):
    folder = workspace.load / "r1"
    folder.mkdir(parents=True)
    file = folder / "verdict.json"
    file.write_text(json.dumps({"started": "1970-01-01T01:00:00+00:00", "duration": 600.0}))
    assert stretch(workspace, during="r1", window=600.0) == Stretch(3_600.0, 4_200.0)
    for damaged in ({}, {"started": "1970-01-01T01:00:00+00:00"}, {"started": "then", "duration": 1}):
        file.write_text(json.dumps(damaged))
        with pytest.raises(UsageError, match="'r1' does not say when it ran"):
            stretch(workspace, during="r1")


def test_an_address_that_is_typed_wins_over_the_files_and_one_of_them_must_be_known(workspace):
    asked = Asked("15m", None, None, "http://typed")
    assert asked.address("http://named", workspace) == "http://typed"
    assert asked.address("", workspace) == "http://typed"
    asked = Asked("15m", None, None, None)
    assert asked.address("http://named", workspace) == "http://named"
    with pytest.raises(UsageError, match="where is Prometheus"):
        asked.address("", workspace)
    workspace.home.mkdir(parents=True)
    workspace.stack_file.write_text("{}")
    with pytest.raises((ConfigError, UsageError)):
        asked.address("", workspace)
