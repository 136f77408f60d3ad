"""Measure: percentiles to half a per cent, limits exactly, and nothing lost between a worker and its file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.histogram import Buckets, Cell
from loadtests.recorder import Pulse, Recorder, Tally
from loadtests.recording import Follower, read_recording, recording_file

BUCKETS = Buckets([2.0, 0.5])
seconds = st.floats(20e-6, 3000)


def _cell(values: list[float]) -> Cell:
    cell = Cell()
    for value in values:
        cell.add(BUCKETS.index(value), value)
    return cell


@given(st.lists(seconds, min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_within_one_per_cent_of_the_value_itself(values: list[float], part: float) -> None:
    wanted = sorted(values)[max(0, -(-round(part * len(values) * 1e9) // 10**9) - 1)]
    assert _cell(values).quantile(part, BUCKETS) == pytest.approx(wanted, rel=0.01)


@given(st.lists(st.floats(1.9, 2.1), max_size=200))
def test_a_limit_divides_exactly(values: list[float]) -> None:
    assert _cell(values).above(2.0, BUCKETS) == sum(value > 2.0 for value in values)


def test_1999_and_2001_ms_are_told_apart() -> None:
    assert _cell([1.999]).above(2.0, BUCKETS) == 0
    assert _cell([2.0]).above(2.0, BUCKETS) == 0
    assert _cell([2.001]).above(2.0, BUCKETS) == 1


def test_no_bucket_is_wider_than_one_per_cent() -> None:
    assert all(b / a <= 1.0100001 for a, b in zip(BUCKETS.edges, BUCKETS.edges[1:], strict=False))


@given(st.lists(seconds, max_size=50), st.lists(seconds, max_size=50))
def test_merging_is_as_if_one_had_measured_all(left: list[float], right: list[float]) -> None:
    merged = _cell(left)
    merged.merge(_cell(right))
    both = _cell([*left, *right])
    assert (merged.counts, merged.number, merged.longest) == (both.counts, both.number, both.longest)
    assert merged.total == pytest.approx(both.total)


@given(st.lists(seconds, max_size=50), st.lists(seconds, max_size=50))
def test_a_packed_cell_says_the_same_and_can_be_added_to(early: list[float], late: list[float]) -> None:
    packed = _cell(early)
    packed.pack()
    for value in late:
        packed.add(BUCKETS.index(value), value)
    both = _cell([*early, *late])
    assert (packed.counts, packed.number) == (both.counts, both.number)
    assert packed.quantile(0.95, BUCKETS) == both.quantile(0.95, BUCKETS)
    packed.pack()
    assert packed.counts == both.counts and not packed.loose


def test_the_sum_of_what_was_written_is_what_was_measured(tmp_path: Path) -> None:
    rng = random.Random(3)
    for worker in (0, 1):
        recorder = Recorder(recording_file(tmp_path, worker), worker, 42, BUCKETS, 1.0)
        for number in range(200):
            place = recorder.bin(rng.uniform(-5, 20))
            tally = recorder.tally(place, "web")
            tally.planned += 1
            failure = "status 500" if number % 10 == 0 else None
            tally.ok += failure is None
            tally.failed += failure is not None
            recorder.lag(place, 0.001)
            recorder.request(place, "web", "http", "GET /", rng.expovariate(5), failure)
            if number % 37 == 0:
                recorder.flush(Pulse(number / 10, 1.0, 0.1, None, 3, 2.5))
        recorder.flush(Pulse(21.0, 1.0, 0.1, 0.0, 0, 0.0))
        recorder.close(interrupted=False)
    found = read_recording(tmp_path, 2)
    whole = Tally()
    for tally in found.visits.values():
        whole.merge(tally)
    assert (whole.planned, whole.ok, whole.failed) == (400, 360, 40)
    assert sum(cell.number for cell in found.cells.values()) == 400
    window = found.tally()
    assert window.planned == found.requests().number == found.lags().number < 400
    assert found.finals == {0: False, 1: False} and found.damaged == 0
    assert sum(found.failures.values()) == window.failed


def test_a_file_cut_off_in_the_middle_of_a_line_is_read_up_to_there(tmp_path: Path) -> None:
    recorder = Recorder(recording_file(tmp_path, 0), 0, 42, BUCKETS, 1.0)
    recorder.tally(0, "web").planned += 1
    recorder.flush(Pulse(1.0, 1.0, 0.1, None, 0, 0.0))
    recorder.tally(1, "web").planned += 1
    recorder.flush(Pulse(2.0, 1.0, 0.1, None, 0, 0.0))
    file = recording_file(tmp_path, 0)
    text = file.read_bytes()
    file.write_bytes(text[:-30])
    follower = Follower(tmp_path, 1)
    assert follower.read().tally().planned == 1
    file.write_bytes(text)
    assert follower.read().tally().planned == 2, "what was missing is read when it is there"
    assert follower.recording.finals == {}


def test_a_server_with_a_new_excuse_every_time_does_not_fill_the_disk(tmp_path: Path) -> None:
    recorder = Recorder(recording_file(tmp_path, 0), 0, 42, BUCKETS, 1.0)
    for number in range(1000):
        recorder.request(0, "web", "http", "GET /", 0.1, f"excuse {number}")
    recorder.flush(Pulse(1.0, 1.0, 0.1, None, 0, 0.0))
    recorder.close(interrupted=False)
    failures = read_recording(tmp_path, 1).failures
    assert sum(failures.values()) == 1000
    assert len(failures) <= 101
