"""Many rollouts in one process: asked for by files, driven side by side, gone on with after a kill."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import RouterError, StateError, UsageError
from huidu.foundation.outcome import Outcome
from huidu.foundation.workspace import Workspace
from rollout.commands import rollout
from rollout.gate.command import gate
from rollout.many import Many, ask, driven, found, requests_folder
from rollout.paper_commands import request


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    return Workspace.from_env()


class World:
    """Stands in for one rollout's whole way: it goes on until it is let go."""

    def __init__(self):
        self.driven, self.ends, self.lock = [], {}, threading.Lock()

    def __call__(self, order, stop):
        with self.lock:
            self.driven.append(order.name)
        while order.name not in self.ends:
            if stop():
                return Outcome.HELD
            time.sleep(0.01)
        end = self.ends[order.name]
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def many(workspace):
    """A started supervisor over the world; stopped at the end."""
    made = []

    def make(world):
        made.append(Many(workspace, world, lambda text: None))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        assert each.stop() == []


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def asked(workspace, *names):
    for name in names:
        ask(workspace, Path("production"), name, name, SystemClock())


def state(workspace, name):
    return found(requests_folder(workspace) / f"{name}.json")


def test_all_that_were_asked_for_go_side_by_side_and_their_ends_are_written(workspace, many):
    world = World()
    asked(workspace, *(f"v{n}" for n in range(20)))
    many(world)
    until(lambda: len(world.driven) == 20)
    world.ends = {f"v{n}": Outcome.GOOD if n else Outcome.BAD for n in range(20)}
    until(lambda: all(state(workspace, f"v{n}").state == "ended" for n in range(20)))
    assert state(workspace, "v0").outcome == "BAD" and state(workspace, "v1").outcome == "GOOD"


def test_stopping_leaves_them_asked_for_and_the_next_process_goes_on(workspace, many):
    world = World()
    asked(workspace, "v2")
    first = many(world)
    until(lambda: world.driven == ["v2"])
    assert first.stop() == [] and state(workspace, "v2").state == "asked"
    again = World()
    many(again)
    until(lambda: again.driven == ["v2"])


def test_one_that_cannot_be_driven_takes_no_other_with_it_and_the_gate_says_why(workspace, many):
    world = World()
    world.ends = {"bad": RouterError("the proxy is gone", remedy="start it")}
    asked(workspace, "bad", "good")
    many(world)
    until(lambda: state(workspace, "bad").state == "failed")
    until(lambda: "good" in world.driven)
    assert "the proxy is gone" in state(workspace, "bad").problem
    told = CliRunner().invoke(gate, ["--rollout", "bad", "--wait", "1h"]).exception
    assert isinstance(told, StateError) and "could not be driven: the proxy is gone" in str(told)


@pytest.mark.slow
def test_asking_twice_is_refused_while_it_goes_and_means_going_on_once_it_rests(workspace, many):
    world = World()
    world.ends = {"v2": Outcome.HELD}
    asked(workspace, "v2")
    with pytest.raises(UsageError, match="asked for already"):
        asked(workspace, "v2")
    many(world)
    until(lambda: state(workspace, "v2").state == "ended")
    asked(workspace, "v2")
    until(lambda: world.driven == ["v2", "v2"])


def gated(*words):
    done = CliRunner().invoke(gate, ["--rollout", "v2", *words])
    return done.exit_code, done.output


def test_a_request_that_nobody_drives_is_told_so_and_is_held_for_the_gate(workspace, many):
    said = CliRunner().invoke(request, ["production", "--release", "v2"])
    assert said.exit_code == 0 and "nobody drives it" in said.output
    code, told = gated("--release", "v2")
    assert code == Outcome.HELD.code and "a request by " in told and "nobody drives it" in told
    assert gated("--release", "v3")[0] == Outcome.NOT_EVIDENCE.code
    world = World()
    many(world)
    until(lambda: driven(workspace, SystemClock()) and world.driven == ["v2"])
    code, told = gated()
    assert code == Outcome.HELD.code and "nobody drives it" not in told
    said = CliRunner().invoke(request, ["production", "--release", "v4"])
    assert said.exit_code == 0 and "nobody drives it" not in said.output


@pytest.fixture
def rested(workspace, staged):
    """A rollout v2 of release v2 in the workspace: held at its first share, or over."""

    def make(over):
        stage = staged("name: virtual", "name: virtual")
        stop = (lambda: False) if over else (lambda: any(stage.router.served.weights.values()))
        stage.controller(stop=stop).drive()
        stage.journal.close()
        shutil.copytree(stage.folder, workspace.rollouts / "v2")

    return make


def test_what_is_over_is_not_asked_for_again_and_no_old_promotion_answers_for_it(workspace, rested):
    rested(over=True)
    with pytest.raises(UsageError, match="is over"):
        asked(workspace, "v2")
    assert not (requests_folder(workspace) / "v2.json").exists()


def test_one_that_rests_is_not_asked_for_with_another_release_and_going_on_is_waited_for(workspace, rested):
    rested(over=False)
    with pytest.raises(UsageError, match="is of release 'v2', not 'v3'"):
        ask(workspace, Path("production"), "v3", "v2", SystemClock())
    assert "paused" in gated()[1]
    asked(workspace, "v2")
    code, told = gated()
    assert code == Outcome.HELD.code and "running: a request by" in told


@pytest.mark.parametrize("name", ["../v2", "", "a b"])
def test_a_name_is_never_a_path(workspace, name):
    with pytest.raises(UsageError):
        asked(workspace, name)
    assert not requests_folder(workspace).exists()


def test_a_file_that_is_no_request_hides_no_other(workspace, many):
    asked(workspace, "v2")
    (requests_folder(workspace) / "a.json").write_text('{"what": 1}')
    world = World()
    many(world)
    until(lambda: world.driven == ["v2"])


@pytest.mark.server
def test_a_pipeline_asks_and_waits_without_owning_the_journal(tmp_path, staged):
    """The page's process drives; here the plan's route does not exist, which the pipeline is told."""
    home = tmp_path / "home"
    environment = {**os.environ, "HUIDU_HOME": str(home), "PYTHONSAFEPATH": "1"}
    huidu = [sys.executable, "-m", "huidu.cli"]
    command = [*huidu, "rollout", "serve", "--run"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stderr.readline().strip()
        assert requests.get(address, timeout=10).ok
        told = subprocess.run(
            [*huidu, "rollout", "request", "production", "--release", "v2"],
            env=environment,
            capture_output=True,
            timeout=60,
        )
        assert told.returncode == 0, told.stderr
        waited = subprocess.run(
            [*huidu, "gate", "--rollout", "v2", "--wait", "1m"],
            env=environment,
            capture_output=True,
            timeout=90,
            text=True,
        )
        assert waited.returncode == Outcome.USAGE.code and "could not be driven" in waited.stderr
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        process.kill()
        process.wait(5)
        process.stderr.close()


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_told_to_end_comes_to_its_own_end(tmp_path, number):
    """Where it pauses what it drives: a service that is stopped must not die of the signal before."""
    environment = {**os.environ, "HUIDU_HOME": str(tmp_path), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "huidu.cli", "rollout", "serve", "--run"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert requests.get(process.stderr.readline().strip(), timeout=10).ok
        process.send_signal(number)
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait(5)
        process.stderr.close()


def test_a_plan_with_a_mistake_is_refused_where_it_is_asked_for(workspace, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("gates: {errors: {kind: error-ratio}}\n")
    told = CliRunner().invoke(rollout, ["request", str(plan), "--release", "v2"])
    assert "without a bound" in str(told.exception)
    shutil.rmtree(requests_folder(workspace), ignore_errors=True)
