"""Deploy commands, and a terminal that goes away."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import psutil
import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.outcome import Outcome
from rollout.controller import orphan
from rollout.controller.hooks import Stopped, launch, run_command
from rollout.controller.lease import boot_id
from rollout.controller.voice import Steady
from rollout.plan import Command


def run(folder: Path, *command: str, timeout: float = 20.0, stop=lambda: False) -> str:
    return run_command(Command(run=command, timeout=timeout), "v2", folder / "log", SystemClock(), stop)


def test_a_command_is_told_the_release_and_its_output_is_kept(tmp_path):
    assert run(tmp_path, "sh", "-c", 'echo "$1"', "sh", "promoting {release}") == ""
    assert (tmp_path / "log").read_text() == "promoting v2\n"


def test_a_failing_and_a_missing_command_say_what_went_wrong(tmp_path):
    assert "exit code 7" in run(tmp_path, "sh", "-c", "exit 7")
    assert "no-such-program: No such file" in run(tmp_path, "no-such-program")


def ends(pid):
    """Whether a process that was told to end does (a zombie has ended)."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path):
    problem = run(tmp_path, "sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; wait", timeout=3)
    assert "did not end within" in problem
    child = int((tmp_path / "child").read_text())
    assert ends(child)


def test_a_person_can_stop_the_controller_meanwhile(tmp_path):
    since = time.monotonic()
    with pytest.raises(Stopped):
        run(tmp_path, "sleep", "60", stop=lambda: time.monotonic() > since + 0.3)
    assert time.monotonic() < since + 40


@pytest.mark.slow
def test_what_a_killed_controller_had_begun_is_waited_for_and_never_done_by_two_at_a_time(tmp_path):
    script = f"echo in >> {tmp_path}/seen; sleep 0.6; echo out >> {tmp_path}/seen"
    command = Command(run=("sh", "-c", script), timeout=20)
    launch(command, {}, tmp_path / "start.log", SystemClock())  # and its controller is killed
    again = launch(command, {}, tmp_path / "start.log", SystemClock())
    assert again.problem() is None
    deadline = time.monotonic() + 20
    while again.problem() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert again.problem() == "" and (tmp_path / "seen").read_text().split() == ["in", "out", "in", "out"]
    assert run(tmp_path, "true") == ""


@pytest.mark.slow
def test_what_a_killed_controller_had_begun_is_ended_after_the_limit(tmp_path):
    long = Command(run=("sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; wait"), timeout=60)
    launch(long, {}, tmp_path / "scale.log", SystemClock())
    assert run(tmp_path, "true", timeout=3) == ""
    assert ends(int((tmp_path / "child").read_text()))


def test_another_process_of_the_same_number_is_not_waited_for(tmp_path):
    me = orphan.Running(os.getpid(), "1", boot_id())
    (tmp_path / orphan.RECORD).write_text(json.dumps(dataclasses.asdict(me)))
    assert orphan.left_over(tmp_path) is None and run(tmp_path, "true") == ""
    (tmp_path / orphan.RECORD).write_text("{")
    assert run(tmp_path, "true") == ""


def test_a_failing_promote_command_holds_and_is_run_again(staged, tmp_path):
    flag = tmp_path / "mended"
    stage = staged("observation:", f"deploy: {{promote: {{run: [test, -e, {flag}]}}}}\nobservation:")
    assert stage.controller().drive() is Outcome.HELD
    assert set(stage.router.served.weights.values()) == {10_000}, "the candidate goes on serving"
    flag.touch()
    assert stage.controller().drive() is Outcome.GOOD
    assert stage.router.served.all_stable
    assert stage.kinds().count("hook-intended") == 2


def test_a_closed_terminal_does_not_end_a_rollout(stage):
    class Closed:
        def say(self, text: str, style: str = "") -> None:
            raise BrokenPipeError

        def progress(self, text: str) -> None:
            raise SystemExit(1)

    assert stage.controller(voice=Steady(Closed())).drive() is Outcome.GOOD
