"""The journal: what was written is there after a crash, in order, by one writer, and tampering is found."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.clock import SystemClock, VirtualClock
from huidu.foundation.errors import Locked, StateError
from huidu.foundation.journal import Journal

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.text(min_size=1),
            st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), JSON, max_size=3),
        ),
        max_size=6,
    )
)
def test_what_is_appended_is_read_back_in_order_and_verifies(
    entries: list[tuple[str, dict[str, object]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j.sqlite"
        with Journal.open(path, VirtualClock()) as journal:
            for kind, data in entries:
                journal.append(kind, **data)
        with Journal.open(path, VirtualClock(), writer=False) as journal:
            assert [(event.kind, event.data) for event in journal.events()] == entries
            assert journal.verify() == len(entries)


def test_reading_continues_after_an_event(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", VirtualClock()) as journal:
        for number in range(5):
            journal.append("n", number=number)
        assert [event.seq for event in journal.events(after=3)] == [4, 5]


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", VirtualClock()) as first:
        first.append("begun")
        with pytest.raises(Locked, match="another process writes"):
            Journal.open(tmp_path / "j", VirtualClock())
        with Journal.open(tmp_path / "j", VirtualClock(), writer=False) as reader:
            assert [event.kind for event in reader.events()] == ["begun"]
    Journal.open(tmp_path / "j", VirtualClock()).close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET data = '{\"share\":0.5}' WHERE seq = 2",
        "UPDATE event SET t = t + 1 WHERE seq = 2",
        "DELETE FROM event WHERE seq = 2",
    ],
)
def test_tampering_is_found_and_located(tmp_path: Path, statement: str) -> None:
    with Journal.open(tmp_path / "j", VirtualClock()) as journal:
        for share in (0.0, 0.05, 0.25):
            journal.append("step", share=share)
    with sqlite3.connect(tmp_path / "j") as database:
        database.execute(statement)
    with (
        Journal.open(tmp_path / "j", VirtualClock(), writer=False) as journal,
        pytest.raises(StateError, match="event 2 "),
    ):
        journal.verify()


def test_a_journal_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    Journal.open(tmp_path / "j", VirtualClock()).close()
    with sqlite3.connect(tmp_path / "j") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StateError, match="version 99"):
        Journal.open(tmp_path / "j", VirtualClock())


def test_one_that_its_writer_left_is_opened_without_writing_anything(tmp_path: Path) -> None:
    """So that a full disk keeps nobody from the lock, and from going back, after a crash."""
    path = tmp_path / "journal.sqlite"
    program = f"""
import os
from pathlib import Path
from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal
Journal.open(Path({str(path)!r}), SystemClock()).append("started")
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*sqlite*") if "shm" not in file.name}
    assert len(before["journal.sqlite-wal"]) > 0
    with Journal.open(path, SystemClock()) as journal:
        assert [event.kind for event in journal.events()] == ["started"]
        assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_some_other_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"this is no database, " * 100)
    with pytest.raises(StateError, match="not a journal"):
        Journal.open(tmp_path / "j", VirtualClock())


def test_a_full_disk_is_a_state_error_and_what_was_written_before_stays(tmp_path: Path) -> None:
    """A database that may not grow answers exactly as a full disk does (SQLITE_FULL)."""
    with Journal.open(tmp_path / "j", SystemClock()) as journal:
        journal.append("begun")
        journal._database.execute("PRAGMA max_page_count = 3")
        with pytest.raises(StateError, match="cannot be written"):
            for _ in range(100):
                journal.append("filler", text="x" * 1000)
        assert journal.verify() >= 1


def test_events_written_before_sigkill_are_there_afterwards_and_the_lock_is_free(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from huidu.foundation.clock import SystemClock\n"
        "from huidu.foundation.journal import Journal\n"
        "journal = Journal.open(Path(sys.argv[1]), SystemClock())\n"
        "for n in range(3): journal.append('n', n=n)\n"
        "print('written', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "j")], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "written\n"
        os.kill(child.pid, signal.SIGKILL)
    with Journal.open(tmp_path / "j", SystemClock()) as journal:
        assert [event.data["n"] for event in journal.events()] == [0, 1, 2]
        assert journal.append("resumed").seq == 4
        assert journal.verify() == 4
