"""Evidence as a file: what is written is read back, what is not understood is refused with its line."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from huidu.foundation.errors import ConfigError, StateError
from huidu.foundation.outcome import Outcome
from huidu.model.evidence import Counts, Histogram, Interval
from rollout.evidence_file import EvidenceWriter, Header, Mark, format_time, parse_time, read_evidence
from rollout.judge import GateSpec, JudgeConfig, judge_intervals, start

SHORT = (
    '{"v":1,"t":"2026-11-21T10:00:05Z","gate":"errors","canary":{"total":500,"bad":5},'
    '"baseline":{"total":9500,"bad":10}}'
)


def file(tmp_path: Path, *lines: str, end: str = "\n") -> Path:
    path = tmp_path / "evidence.jsonl"
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


def interval(k: int, **more) -> Interval:
    fields = {"gate": "errors", "stratum": "", "canary": Counts(500, 5), "baseline": Counts(9500, 10)} | more
    return Interval(start=1.7e9 + 5 * k, end=1.7e9 + 5 * k + 5, **fields)


def test_the_short_form_is_enough(tmp_path: Path) -> None:
    recording = read_evidence(file(tmp_path, SHORT, SHORT.replace("00:05Z", "00:10Z")))
    first, second = recording.intervals
    assert (first.gate, first.stratum, first.share) == ("errors", "", 0.0)
    assert first.canary == Counts(500, 5) and first.baseline == Counts(9500, 10)
    assert (
        second.start == first.end == second.end - 5
    )  # without `from`, an interval begins where the last ended


def test_log_e_of_the_short_form_is_the_formula(tmp_path: Path) -> None:
    spec = GateSpec("errors", tolerated_ratio=1.0, floor=None, dispersion=1, late_onset=False)
    config = JudgeConfig((spec,))
    _, verdict = judge_intervals(config, start(config), read_evidence(file(tmp_path, SHORT)).intervals, 0.0)
    grid = zip([1.25, 1.5, 2, 3, 5, 10, 20, 50], [0.05, 0.05, 0.3, 0.25, 0.2, 0.1, 0.03, 0.02], strict=True)
    expected = math.log(sum(w * r**5 * (10000 / (r * 500 + 9500)) ** 15 for r, w in grid))
    assert verdict.gates["errors"].log_e == pytest.approx(expected, abs=1e-12)
    assert verdict.gates["errors"].bound == pytest.approx(math.log(100), abs=1e-12)


def test_what_was_recorded_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "evidence.jsonl"
    header = Header("abc123", "1", {"errors": 4.5})
    written = [
        interval(0, share=0.05, stratum="high", in_flight=3.0, queries=("up", "errors_total")),
        interval(1, canary=Histogram({0.1: 3.0, 0.5: 8.0}, 9.0), baseline=None, gate="latency"),
        interval(2, excluded="spans a change of weights", stratum="high"),
    ]
    with EvidenceWriter(path, header) as writer:
        writer.append(written[:2])
        writer.mark(1.7e9 + 10, 0.15)
        writer.append(written[2:])
    recording = read_evidence(path)
    assert recording.header == header
    assert recording.records == (*written[:2], Mark(1.7e9 + 10, 0.15), written[2])
    with EvidenceWriter(path, header) as writer:
        writer.append([interval(3)])
    assert read_evidence(path).header == header and len(read_evidence(path).intervals) == 4


@given(st.floats(1e9, 4e9))
def test_times_come_back_to_the_last_bit(t: float) -> None:
    assert parse_time(format_time(t)) == t


def test_times_may_be_numbers_or_carry_a_zone() -> None:
    assert (
        parse_time(1795255205)
        == parse_time("2026-11-21T10:00:05Z")
        == parse_time("2026-11-21T18:00:05+08:00")
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(cut=st.integers(1, 200))
def test_a_writer_killed_in_the_middle_of_a_line_loses_only_that_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "torn.jsonl"
    path.unlink(missing_ok=True)
    with EvidenceWriter(path) as writer:
        writer.append([interval(k) for k in range(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    ends = [whole.index(b"\n", 0)]
    while len(ends) < 3:
        ends.append(whole.index(b"\n", ends[-1] + 1))
    kept = sum(len(whole) - cut >= end for end in ends)  # a line without its newline is whole all the same
    with EvidenceWriter(path) as writer:
        assert bool(writer.repaired) == (not whole[:-cut].endswith(b"\n"))
        writer.append([interval(3)])
    recording = read_evidence(path)
    assert recording.intervals == (*(interval(k) for k in range(kept)), interval(3))


def test_the_reader_refuses_a_torn_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evidence\.jsonl:2: the last line is truncated") as caught:
        read_evidence(file(tmp_path, SHORT, SHORT[:40], end=""))
    assert caught.value.outcome is Outcome.USAGE


def with_(old: str, new: str) -> str:
    assert old in SHORT
    return SHORT.replace(old, new)


@pytest.mark.parametrize(
    "line, message",
    [
        (with_('"bad":5', '"bad":-5'), "canary.bad is negative"),
        (with_('"bad":5', '"bad":501'), "canary: 501 bad of 500"),
        (with_('"bad":5', '"bad":"5"'), "canary.bad is '5'"),
        (with_('"bad":5', '"bad":true'), "canary.bad is True"),
        (with_('"bad":5', '"bad":NaN'), "NaN is not a count"),
        (with_('"bad":5', '"bad":1e999'), "canary.bad is inf"),
        (with_('"bad":5', '"worse":5'), "unknown key 'worse'"),
        (with_('"v":1', '"v":2'), "version 2 of the evidence format"),
        (with_('"v":1,', ""), "version None"),
        (with_('"gate":"errors",', ""), "no gate"),
        (with_('"errors"', '"mood"'), "unknown gate 'mood'"),
        (with_("10:00:05Z", "09:59:55Z"), "unordered times"),
        (with_("10:00:05Z", "10:00:05"), "'t' is '2026-11-21T10:00:05'"),
        (with_('"2026-11-21T10:00:05Z"', "null"), "'t' is None"),
        (with_('"t":', '"share":1.5,"t":'), "share 1.5"),
        (
            with_('"canary":{"total":500,"bad":5}', '"canary":{"le":{"0.1":5,"0.2":4},"total":9}'),
            "the counts fall",
        ),
        (with_('"canary":{"total":500,"bad":5}', '"canary":{"le":{"0.1":50},"total":9}'), "exceed the total"),
        (SHORT[: SHORT.index(',"canary"')] + "}", "neither canary nor baseline"),
        (
            with_('"canary":{"total":500,"bad":5}', '"canary":null').replace(
                '{"total":9500,"bad":10}', "null"
            ),
            "neither canary nor baseline",
        ),
        ("[1]", "not an object"),
        ("{'v':1}", "not JSON"),
        ('{"v":1,"header":{"plan":"x"}}', "a header after the first line"),
    ],
)
def test_nothing_is_guessed(tmp_path: Path, line: str, message: str) -> None:
    last = SHORT.replace("10:00:05Z", "11:00:00Z")
    with pytest.raises(ConfigError) as caught:
        read_evidence(file(tmp_path, SHORT.replace("10:00:05Z", "10:00:00Z"), line, last), {"errors"})
    assert message in str(caught.value)
    assert ":2: " in str(caught.value)
    assert caught.value.outcome is Outcome.USAGE


def test_an_arm_that_is_not_there_counted_nothing_whichever_it_is(tmp_path: Path) -> None:
    start, end = SHORT.index('"canary"'), SHORT.index('"baseline"')
    alone = SHORT[:start] + SHORT[end:]
    (seen,) = read_evidence(file(tmp_path, alone)).intervals
    assert seen.canary == Counts(0.0, 0.0) and seen.baseline == Counts(9500.0, 10.0)
    slow = alone.replace('"bad":10', '"le":{"0.5":9000}')
    (seen,) = read_evidence(file(tmp_path, slow)).intervals
    assert seen.canary == Histogram({0.5: 0.0}, 0.0) and seen.baseline == Histogram({0.5: 9000.0}, 9500.0)
    (seen,) = read_evidence(file(tmp_path, SHORT[: end - 1] + "}")).intervals
    assert seen.canary == Counts(500.0, 5.0) and seen.baseline is None


def test_an_arm_that_was_not_met_yet_has_no_buckets(tmp_path: Path) -> None:
    """So a controller writes its first look at latency; `explain` and `replay` read it back."""
    nothing = SHORT.replace('"canary":{"total":500,"bad":5}', '"canary":{"le":{},"total":0}')
    assert nothing != SHORT
    (seen,) = read_evidence(file(tmp_path, nothing.replace('"bad":10', '"le":{"0.5":9000}'))).intervals
    assert seen.canary == Histogram({}, 0.0) and seen.baseline == Histogram({0.5: 9000.0}, 9500.0)


def test_a_gauge_is_the_values_of_its_instances(tmp_path: Path) -> None:
    line = '{"v":1,"t":5,"gate":"cpu","canary":{"values":[0.9,0.2]},"baseline":{"value":0.3}}'
    (seen,) = read_evidence(file(tmp_path, line)).intervals
    assert seen.canary == Histogram({0.2: 1.0, 0.9: 2.0}, 2.0)
    assert seen.baseline == Histogram({0.3: 1.0}, 1.0)


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StateError, match="evidence cannot be written"):
        EvidenceWriter(blocked / "evidence.jsonl")


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_evidence(tmp_path / "none.jsonl")
