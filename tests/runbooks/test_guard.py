"""A command and everything in its group end when they are told to, even those that do not listen."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from runbooks.engine.process import Grace, Guarded, Tail

_DEAF = """
import os, signal, subprocess, sys, time
# Python makes a KeyboardInterrupt of SIGINT; its default action shows which signal it was.
signal.signal(signal.SIGINT, signal.SIG_DFL)
for number in ({numbers}):
    signal.signal(number, signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "child"])
print(os.getpid(), flush=True)
time.sleep(300)
"""


def _pids(log: Path, number: int) -> list[int]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = log.read_text().split() if log.exists() else []
        if len(found) == number:
            return [int(each) for each in found]
        time.sleep(0.05)
    raise AssertionError(f"{log} never held {number} process ids")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


STOPS = [
    ("listens to SIGINT", "", 128 + 2),
    ("needs SIGTERM", "signal.SIGINT,", 128 + 15),
    ("needs SIGKILL", "signal.SIGINT, signal.SIGTERM", 128 + 9),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ignored", "exit_code"), [case[1:] for case in STOPS], ids=[case[0] for case in STOPS]
)
def test_a_group_is_stopped_with_more_and_more_force(tmp_path: Path, ignored: str, exit_code: int) -> None:
    script, log = tmp_path / "deaf.py", tmp_path / "log"
    script.write_text(_DEAF.format(numbers=ignored))
    command = Guarded([sys.executable, str(script)], log, dict(os.environ), Grace(0.5, 0.5))
    pids = _pids(log, 2)
    assert all(map(_runs, pids))
    command.stop()
    end = time.monotonic() + 10
    while command.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert command.poll() == exit_code
    assert not any(map(_runs, pids))


def test_the_tail_gives_whole_lines_as_a_person_would_see_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    tail = Tail(log)
    with log.open("ab") as file:
        file.write(b"\x1b[32mgreen\x1b[0m\r\n10 %\r20 %\nhalf a l")
    assert tail.lines() == ["green", "20 %"]
    with log.open("ab") as file:
        file.write("ine 灰度\nrest".encode())
    assert tail.lines() == ["half a line 灰度"]
    assert tail.lines(last=True) == ["rest"]
    assert tail.lines(last=True) == []
