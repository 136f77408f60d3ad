"""The link to workers elsewhere, in parts: addresses, keys, clocks, and recordings that come in pieces."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.errors import ConfigError, UsageError
from loadtests.clocks import Clock, Offset, Probe, complaint, offset
from loadtests.health import WorkerEnd
from loadtests.runners import link, messages
from loadtests.runners.roll import Member


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.5", ("10.0.0.5", 5557)),
        ("loader:99", ("loader", 99)),
        ("[::1]", ("::1", 5557)),
        ("[::1]:99", ("::1", 99)),
        ("", None),
        ("loader:", None),
        ("loader:http", None),
        ("loader:70000", None),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, found: tuple[str, int] | None) -> None:
    if found is None:
        with pytest.raises(UsageError, match="is no address"):
            link.address(text, "--bind")
    else:
        assert link.address(text, "--bind") == found


def test_the_token_is_made_once_kept_from_others_and_decides_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "token"
    token = link.keep_token(file)
    assert link.keep_token(file) == token and file.stat().st_mode & 0o077 == 0
    assert link.keys_of(token) == link.keys_of(token) != link.keys_of(token + "x")
    assert token.encode() not in link.keys_of(token).server_public
    file.write_text("short\n")
    with pytest.raises(ConfigError, match="holds no token"):
        link.read_token(file)


@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.lists(st.floats(0.0001, 0.2), min_size=1, max_size=12))
def test_an_offset_is_wrong_by_half_the_shortest_way_at_most(
    monotonic: float, wall: float, trips: list[float]
) -> None:
    """However unevenly the way there and back share the trip: here all of it is the way there."""
    probes = []
    for t in trips:
        theirs = {"their_monotonic": 10 + t + monotonic, "their_wall": 500 + t + wall}
        probes.append(Probe(sent=10.0, back=10.0 + t, wall=500.0 + t, **theirs))
    found = offset(probes)
    assert found is not None and found.trip == pytest.approx(min(trips), abs=1e-6)
    assert abs(found.monotonic - monotonic) <= min(trips) / 2 + 1e-6
    assert abs(found.wall - wall) <= min(trips) / 2 + 1e-6


_GOOD = Offset(monotonic=12345.0, wall=0.02, trip=0.001)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (_GOOD, _GOOD, None),
        (_GOOD.model_copy(update={"wall": -0.6}), _GOOD, "-600 ms off before"),
        (_GOOD, _GOOD.model_copy(update={"wall": 0.6}), "+600 ms off after"),
        (_GOOD.model_copy(update={"trip": 0.2}), _GOOD, "known to 100 ms only"),
        (_GOOD, _GOOD.model_copy(update={"monotonic": 12345.2}), "drifted by 200 ms"),
        (None, None, "could not be compared before"),
        (_GOOD, None, "could not be compared after"),
    ],
)
def test_clocks_a_run_cannot_bear(before: Offset | None, after: Offset | None, says: str | None) -> None:
    clock = Clock(before=before, after=after)
    found = complaint(clock)
    assert found is None if says is None else found is not None and says in found[0]
    end = WorkerEnd(1, 0, "", "loader", clock)
    assert WorkerEnd.of(end.facts()) == end


@given(st.binary(max_size=400), st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100)), max_size=30))
def test_a_recording_comes_together_whatever_is_sent_twice_or_too_early(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, tries: list[tuple[int, int]]
) -> None:
    member = Member("node", 0, "loader", tmp_path_factory.mktemp("roll") / "recording-0.jsonl")
    member.file.touch()
    for start, size in tries:
        member.take(start, whole[start : start + size], None)
        assert member.file.read_bytes() == whole[: member.have] and not member.complete
    member.take(member.have, whole[member.have :], len(whole))
    assert member.complete and member.file.read_bytes() == whole


@pytest.mark.parametrize(
    "packed", [b"nonsense", zlib.compress(bytes(messages.CHUNK_BYTES + 1)), zlib.compress(b"cut off")[:-3]]
)
def test_a_message_that_is_none_or_too_large_is_not_taken(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"not compressed|more than"):
        messages.unpacked(packed)
    assert messages.unpacked(zlib.compress(b"whole")) == b"whole"
