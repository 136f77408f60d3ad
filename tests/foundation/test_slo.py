"""OpenSLO v1 files as the specification writes them become objectives; what does not fit is named by line."""

from __future__ import annotations

import pytest

from huidu.foundation.errors import ConfigError
from huidu.model.slo import load_objectives

# The specification's own examples, with Prometheus where it has Datadog.
RATIO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: foo-slo, displayName: Foo SLO, labels: {team: [a, b]}}
spec:
  description: optional
  service: foo
  indicator:
    metadata: {name: foo-error, displayName: Foo Error}
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            metricSourceRef: prometheus-datasource
            spec: {query: 'sum(http_requests_total{code=~"2..|3.."})'}
        total:
          metricSource:
            type: Prometheus
            spec:
              query: >-
                sum(http_requests_total)
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives:
    - {displayName: Foo Total Errors, target: 0.98}
    - {displayName: Bar Total Errors, targetPercent: 99.99}
  alertPolicies: [{alertPolicyRef: page}]
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: prometheus-datasource}
spec: {type: Prometheus, connectionDetails: {url: "http://127.0.0.1:9090"}}
"""
THRESHOLD = """
# a comment before
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: queue}
spec:
  thresholdMetric:
    metricSource: {type: Prometheus, spec: {query: max(queue_length)}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: short-queue}
spec:
  service: worker
  indicatorRef: queue
  objectives: [{op: lte, value: 100, target: 0.95}]
"""


def load(tmp_path, *texts):
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.yaml")
        paths[-1].write_text(text)
    return load_objectives(paths)


def test_a_ratio_with_two_objectives(tmp_path):
    first, second = load(tmp_path, RATIO)
    assert (first.name, first.target, second.target) == ("Foo Total Errors", 0.98, pytest.approx(0.9999))
    assert first.counter and first.total == "sum(http_requests_total)" and not first.bad
    assert first.window == 28 * 86400 and first.address == "http://127.0.0.1:9090"


def test_a_threshold_by_reference_over_several_files(tmp_path):
    before, after = THRESHOLD.split("---\napiVersion: openslo/v1\nkind: SLO\n")
    (each,) = load(tmp_path, "apiVersion: openslo/v1\nkind: SLO\n" + after, before)
    assert each.threshold == "max(queue_length)" and (each.op, each.value) == ("lte", 100)
    assert each.satisfied(100) and not each.satisfied(100.5)


def test_time_slices(tmp_path):
    text = RATIO.replace("Occurrences", "Timeslices").replace(
        "target: 0.98}", "target: 0.98, timeSliceTarget: 0.9, timeSliceWindow: 5m}"
    )
    text = text.replace(
        ", targetPercent: 99.99}", ", targetPercent: 99.99, timeSliceTarget: 1, timeSliceWindow: 1}"
    )
    first, second = load(tmp_path, text)
    assert first.slice_seconds == 300 and first.slice_target == 0.9
    assert second.slice_seconds == 60  # a number is in minutes


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("openslo/v1", "openslo/v2", "apiVersion"),
        ("target: 0.98", "target: 98", "less than 1"),
        ("target: 0.98", "target: 0.9, targetPercent: 90", "either `target`"),
        ("target: 0.98", "tarqet: 0.98", "did you mean 'target'"),
        ("duration: 28d", "duration: 28 days", "28d"),
        ("        good:", "        goode:", "goode"),
        ("type: Prometheus\n            spec:", "type: Datadog\n            spec:", "asks Datadog"),
        ("query: >-", "sql: >-", "spec.query"),
        ("counter: true", "counter: true\n        bad: {metricSource: {spec: {query: x}}}", "either `good`"),
        ("  budgetingMethod: Occurrences", "  budgetingMethod: Timeslices", "timeSliceWindow"),
        ("kind: SLO", "kind: Service", "no SLO"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, old, new, match):
    assert old in RATIO
    with pytest.raises(ConfigError, match=match):
        load(tmp_path, RATIO.replace(old, new, 1) if old != "openslo/v1" else RATIO.replace(old, new))


def test_the_line_is_that_of_the_file_also_in_a_later_document(tmp_path):
    broken = THRESHOLD.replace("objectives: [{op: lte, value: 100, target: 0.95}]", "objectives: []")
    with pytest.raises(ConfigError) as told:
        load(tmp_path, broken)
    line = next(n for n, text in enumerate(broken.splitlines(), 1) if "objectives" in text)
    assert f":{line}" in str(told.value) or f"line {line}" in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [("indicatorRef: queue", "indicatorRef: queues", "one of: queue"), ("op: lte, ", "", "`op`")],
)
def test_references_and_thresholds_must_fit(tmp_path, old, new, match):
    with pytest.raises(ConfigError, match=match):
        load(tmp_path, THRESHOLD.replace(old, new))
