"""Runbooks with real, small processes: what stops a run, what is cleaned up, that nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from huidu.foundation.clock import SystemClock
from huidu.foundation.journal import Journal

pytestmark = pytest.mark.slow  # real processes, many of them

HUIDU = Path(sys.executable).with_name("huidu")

# Writes its process id where the test finds it, then does what it is told; a child of its own does the same.
ACTOR = """
import os, pathlib, signal, subprocess, sys, time
folder, name, act, *more = sys.argv[1:]
if "deaf" in more:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
if "child" in more:
    subprocess.Popen([sys.executable, __file__, folder, name + "-child", "sleep"])
pathlib.Path(folder, name + ".pid").write_text(str(os.getpid()))
print(name, "is here", flush=True)
if act == "look":
    pid = pathlib.Path(folder, more[0] + ".pid").read_text()
    raise SystemExit(0 if pathlib.Path("/proc", pid).exists() else 7)
if act == "exit":
    print(*more[1:])
    raise SystemExit(int(more[0]))
if act == "polite":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
time.sleep(float(more[0]) if act == "end" else 300)
raise SystemExit(5 if act == "end" else 0)
"""


@dataclass
class Stage:
    """A folder in which a runbook is run by the real command, and what was started there."""

    folder: Path
    runs: list[subprocess.Popen[str]] = field(default_factory=list)

    def step(self, name: str, act: str, *items: str, head: str = "", more: str = "") -> str:
        listed = "".join(f"- {item}\n" for item in items)
        command = f"python {self.folder}/actor.py {self.folder} {name} {act}"
        return f"## {name}\n\n```sh step={name}\n{command}\n{more}```\n\n- Changes: nothing\n{listed}\n{head}"

    def start(self, *steps: str, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        (self.folder / "book.md").write_text("# Book\n\n" + "\n".join(steps), encoding="utf-8")
        run = subprocess.Popen(
            [HUIDU, "runbook", "run", "book.md", "--json", *flags],
            cwd=self.folder,
            env={**os.environ, "HUIDU_HOME": str(self.folder / "home")},
            stdout=subprocess.PIPE,
            stderr=(self.folder / "stderr").open("w"),
            text=True,
            start_new_session=True,
        )
        self.runs.append(run)
        return run

    def finish(self, run: subprocess.Popen[str]) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Exit code, status by step, the whole result."""
        out, _ = run.communicate(timeout=60)
        result = json.loads(out) if out.strip() else {"steps": []}
        return run.returncode, {step["id"]: step["status"] for step in result["steps"]}, result

    def run(self, *steps: str, flags: tuple[str, ...] = ()) -> tuple[int, dict[str, str], dict[str, Any]]:
        return self.finish(self.start(*steps, flags=flags))

    @property
    def told(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def pid(self, name: str) -> int:
        """The process id of an actor, when it has written it."""
        path = self.folder / f"{name}.pid"
        until(lambda: path.exists() and path.read_text() != "")
        return int(path.read_text())

    def ran(self, name: str) -> bool:
        return (self.folder / f"{name}.pid").exists()

    def alive(self) -> list[str]:
        """The actors that still run."""
        return [path.stem for path in self.folder.glob("*.pid") if lives(int(path.read_text()))]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "actor.py").write_text(ACTOR)
    made = Stage(tmp_path)
    yield made
    for run in made.runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait(5)
        if run.stdout is not None:
            run.stdout.close()
    for path in tmp_path.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)


def always(stage: Stage, *items: str) -> str:
    return stage.step("clean", "exit 0", "Expect: good", "Kind: always", *items)


def background(stage: Stage, act: str = "polite", expect: str = "good") -> str:
    return stage.step(
        "traffic", act, f"Expect: {expect}", "Kind: background", "Ready: shows `traffic is here`"
    )


def test_expected_outcomes_go_on_to_the_end(stage: Stage) -> None:
    code, status, result = stage.run(
        stage.step("one", "exit 0 hello", "Expect: good, shows `hello`"),
        stage.step("two", "exit 1", "Expect: bad or 9"),
        always(stage, "After: one"),
    )
    assert (code, status) == (0, {"one": "done", "two": "done", "clean": "done"})
    assert [step["exit"] for step in result["steps"]] == [0, 1, 0]
    assert "hello" in Path(result["steps"][0]["log"]).read_text()
    assert "[1/3 one 0:0" in stage.told, "output is shown live with the step and its time"


UNEXPECTED = [
    ("exit code", "exit 3", "Expect: good", "expected exit good (0), came held (3)"),
    ("good is not bad", "exit 0", "Expect: bad", "expected exit bad (1), came good (0)"),
    ("text", "exit 0 hello", "Expect: good, shows `farewell`", "expected 'farewell' in the output"),
]


@pytest.mark.parametrize(
    ("act", "expect", "came"), [c[1:] for c in UNEXPECTED], ids=[c[0] for c in UNEXPECTED]
)
def test_the_first_unexpected_outcome_stops_the_run_and_cleans_up(
    stage: Stage, act: str, expect: str, came: str
) -> None:
    code, status, result = stage.run(
        stage.step("one", act, expect, "Otherwise: ask the author"),
        stage.step("two", "exit 0", "Expect: good"),
        always(stage, "After: one"),
    )
    assert (code, status) == (1, {"one": "unexpected", "two": "not-run", "clean": "done"})
    assert came in result["steps"][0]["came"]
    assert came in stage.told
    assert "ask the author" in stage.told
    assert not stage.ran("two")


def test_what_to_do_then_can_be_pasted(stage: Stage) -> None:
    """`huidu rollout abort good-${RUN}` names nothing that exists."""
    step = stage.step(
        "one", "exit 5", "Expect: good", "Otherwise: look at ${RUN}, and never at ${HOME}",
        "Undo: `python -c ${RUN}`", "Verify: `python -c pass`",
    ).replace("Changes: nothing", "Changes: a file")  # fmt: skip
    (stage.folder / "book.md").write_text(f"# Book\n\n{step}", encoding="utf-8")
    env = {**os.environ, "HUIDU_HOME": str(stage.folder / "home")}
    done = subprocess.run(
        [HUIDU, "runbook", "run", "book.md"],
        **{"cwd": stage.folder, "env": env, "capture_output": True},
        **{"text": True, "timeout": 60, "check": False},
    )
    [run] = (each.name.removeprefix("book-") for each in (stage.folder / "home/runbooks").glob("book-2*"))
    assert f"look at {run}, and never at ${{HOME}}" in done.stderr
    assert f"To take back what was done: python -c {run}" in done.stderr


def test_a_verification_that_fails_stops_the_run(stage: Stage) -> None:
    verify = "Verify: `python -c \"print('v1')\"` shows `v2`"
    code, status, result = stage.run(
        stage.step("one", "exit 0", "Expect: good", verify), stage.step("two", "exit 0", "Expect: good")
    )
    assert (code, status) == (1, {"one": "unexpected", "two": "not-run"})
    assert "the verification says otherwise: expected 'v2'" in result["steps"][0]["came"]


def test_only_the_last_command_of_a_step_may_come_out_otherwise_than_good(stage: Stage) -> None:
    code, _, result = stage.run(stage.step("one", "exit 1", "Expect: bad", more="python -c pass\n"))
    assert code == 1
    assert "expected exit good (0), came bad (1)" in result["steps"][0]["came"]


def test_clean_up_runs_only_for_what_was_begun(stage: Stage) -> None:
    code, status, _ = stage.run(
        stage.step("one", "exit 2", "Expect: good"),
        stage.step("two", "exit 0", "Expect: good"),
        always(stage, "After: two"),
    )
    assert (code, status["clean"]) == (1, "not-run")
    assert not stage.ran("clean")


def test_clean_up_that_fails_makes_the_run_fail(stage: Stage) -> None:
    code, status, _ = stage.run(
        stage.step("one", "exit 0", "Expect: good"),
        stage.step("clean", "exit 1", "Expect: good", "Kind: always"),
    )
    assert (code, status["clean"]) == (1, "unexpected")


def test_what_there_is_to_look_at_is_named_at_the_end(stage: Stage) -> None:
    leaves = "Leaves: `${HUIDU_HOME}/../one.pid` and `none.html`"
    assert stage.run(stage.step("one", "exit 0", "Expect: good", leaves))[0] == 0
    assert f"look at: {stage.folder}/home/../one.pid" in stage.told
    assert "none.html" not in stage.told
    later = stage.step("later", "exit 0", "Expect: good", leaves)
    assert stage.run(stage.step("one", "exit 1", "Expect: good"), later)[0] == 1
    assert "look at:" not in stage.told, "what an earlier run left is no result of this one"


def test_flags_choose_the_steps(stage: Stage) -> None:
    steps = (
        stage.step("one", "exit 0", "Expect: good"),
        stage.step("down", "exit 0", "Expect: good", "Unless: keep"),
        stage.step("kept", "exit 0", "Expect: good", "When: keep"),
    )
    assert stage.run(*steps)[1] == {"one": "done", "down": "done"}
    assert stage.run(*steps, flags=("--keep",))[1] == {"one": "done", "kept": "done"}


def test_a_background_step_is_stopped_where_a_later_step_says_so(stage: Stage) -> None:
    code, status, result = stage.run(
        background(stage),
        stage.step("there", "look traffic", "Expect: good"),
        stage.step("gone", "look traffic", "Expect: 7", "Stops: traffic"),
    )
    assert (code, status) == (0, {"traffic": "stopped", "there": "done", "gone": "done"})
    assert result["steps"][0]["exit"] == 0


def test_a_background_step_that_does_not_stop_as_expected_fails_the_run(stage: Stage) -> None:
    code, status, result = stage.run(background(stage, expect="4"), always(stage))
    assert (code, status) == (1, {"traffic": "unexpected", "clean": "done"})
    assert "expected exit not-evidence (4) when stopped, came good (0)" in result["steps"][0]["came"]


def test_a_background_step_is_stopped_at_the_end(stage: Stage) -> None:
    code, status, _ = stage.run(
        background(stage), stage.step("look", "exit 0", "Expect: good"), always(stage)
    )
    assert (code, status) == (0, {"traffic": "stopped", "look": "done", "clean": "done"})
    assert stage.ran("traffic")
    assert stage.alive() == []


def test_a_background_step_that_ends_by_itself_stops_the_run(stage: Stage) -> None:
    code, status, result = stage.run(
        background(stage, "end 1"), stage.step("look", "sleep", "Expect: good"), always(stage)
    )
    assert (code, status["look"], status["clean"]) == (1, "unexpected", "done")
    assert "background step 'traffic' should still be running" in result["steps"][1]["came"]
    assert stage.alive() == []


def test_a_background_step_that_never_is_ready_stops_the_run(stage: Stage) -> None:
    never = background(stage).replace("shows `traffic is here`", "shows `ready`") + "\n"
    never = never.replace("- Expect: good", "- Expect: good\n- Within: 1s")
    code, status, _ = stage.run(never, always(stage))
    assert (code, status) == (1, {"traffic": "unexpected", "clean": "done"})
    assert stage.alive() == []


def test_a_step_over_its_time_is_stopped_with_all_it_started(stage: Stage) -> None:
    code, status, result = stage.run(
        stage.step("slow", "sleep child", "Expect: good", "Within: 2s"), always(stage, "After: slow")
    )
    assert (code, status) == (1, {"slow": "unexpected", "clean": "done"})
    assert "expected an end within 0:02" in result["steps"][0]["came"]
    assert stage.ran("slow-child")
    assert stage.alive() == []


def test_what_a_step_leaves_in_its_group_is_stopped(stage: Stage) -> None:
    code, _, _ = stage.run(stage.step("one", "exit 0 child", "Expect: good"))
    assert code == 0
    assert stage.alive() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_cleans_up_and_leaves_nothing(stage: Stage, number: signal.Signals) -> None:
    run = stage.start(
        background(stage),
        stage.step("long", "sleep child", "Expect: good"),
        stage.step("two", "exit 0", "Expect: good"),
        always(stage, "After: long"),
    )
    stage.pid("long-child")
    stage.pid("long")
    run.send_signal(number)
    code, status, _ = stage.finish(run)
    assert code == 3
    assert status == {"traffic": "stopped", "long": "interrupted", "two": "not-run", "clean": "done"}
    assert stage.ran("clean")
    assert stage.alive() == []


def test_killing_the_runner_leaves_no_process_of_it(stage: Stage) -> None:
    run = stage.start(background(stage), stage.step("long", "sleep child", "Expect: good"))
    started = [stage.pid(name) for name in ("traffic", "long", "long-child")]
    guards = [child.pid for child in psutil.Process(run.pid).children()]
    assert len(guards) == 2
    run.kill()
    run.wait(5)
    until(lambda: not any(lives(pid) for pid in [*started, *guards]))


def test_killing_a_guard_takes_its_command_down_with_it(stage: Stage) -> None:
    run = stage.start(stage.step("long", "sleep", "Expect: good"), always(stage))
    pid = stage.pid("long")
    psutil.Process(run.pid).children()[0].kill()
    code, status, _ = stage.finish(run)
    assert (code, status) == (1, {"long": "unexpected", "clean": "done"})
    until(lambda: not lives(pid))


def test_the_journal_tells_what_was_intended_and_what_came(stage: Stage) -> None:
    _, _, result = stage.run(stage.step("one", "exit 3", "Expect: good"), always(stage))
    folder = stage.folder / "home/runbooks" / result["run"]
    with Journal.open(folder / "journal.sqlite", SystemClock(), writer=False) as journal:
        assert journal.verify() == 6
        told = [(event.kind, event.data.get("step"), event.data.get("status")) for event in journal.events()]
    assert told == [
        ("run-started", None, None),
        ("step-started", "one", None),
        ("step-ended", "one", "unexpected"),
        ("step-started", "clean", None),
        ("step-ended", "clean", "done"),
        ("run-ended", None, None),
    ]
    assert json.loads((folder / "result.json").read_text()) == result


def test_two_runs_of_one_home_do_not_mix(stage: Stage) -> None:
    first = stage.start(stage.step("long", "sleep", "Expect: good"))
    stage.pid("long")
    second = stage.start(stage.step("other", "exit 0", "Expect: good"))
    assert second.wait(30) == 2
    assert "another runbook is running here" in stage.told
    assert not stage.ran("other")
    first.terminate()
    assert stage.finish(first)[0] == 3


def test_a_refused_runbook_starts_nothing(stage: Stage) -> None:
    good = stage.step("one", "exit 0", "Expect: good")
    assert stage.run(good, good)[0] == 2
    assert "book.md:15: step 'one' stands already at line 5" in stage.told
    assert not stage.ran("one")
    assert not (stage.folder / "home").exists()


def test_a_program_that_is_not_there_is_told(stage: Stage) -> None:
    missing = stage.step("one", "exit 0", "Expect: good").replace("python ", "no-such-program ")
    code, _, result = stage.run(missing)
    assert code == 1
    assert "127" in result["steps"][0]["came"]
    assert "no-such-program: No such file" in Path(result["steps"][0]["log"]).read_text()


def test_a_run_that_changed_nothing_is_not_the_latest_one(stage: Stage) -> None:
    """Refused at its first step, it would take the place of one that has something to report."""
    changed = stage.step("one", "exit 0", "Expect: good", "Undo: none, it is a test")
    changed = changed.replace("Changes: nothing", "Changes: a file") + "- Verify: `python -c pass`\n"
    code, _, result = stage.run(stage.step("ask", "exit 0", "Expect: good"), changed)
    assert code == 0
    latest = stage.folder / "home" / "runbooks" / "book.latest"
    first = latest.read_text().strip()
    assert result["run"] == f"book-{first}"
    time.sleep(1.1)  # a run is named by its second
    code, status, _ = stage.run(stage.step("ask", "exit 2", "Expect: good"), changed)
    assert (code, status) == (1, {"ask": "unexpected", "one": "not-run"})
    assert latest.read_text().strip() == first


def test_what_is_listed_in_the_folder_runbooks_can_be_run_by_that_name(stage: Stage) -> None:
    own = stage.folder / "runbooks"
    own.mkdir()
    (own / "mine.md").write_text("# Mine\n\n" + stage.step("one", "exit 0", "Expect: good"))

    def said(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HUIDU_HOME": str(stage.folder / "home")}
        return subprocess.run(
            [HUIDU, "runbook", *arguments],
            **{"cwd": stage.folder, "env": env, "capture_output": True},
            **{"text": True, "timeout": 60, "check": False},
        )

    listed = said("list")
    assert "mine" in listed.stdout and "go-live" in listed.stdout, "a result is on standard output"
    assert "1 steps" not in said("check", "mine").stdout and "in order" in said("check", "mine").stdout
    assert said("run", "mine").returncode == 0
    assert stage.ran("one")
    assert "mine" in said("run", "nobody").stderr
