"""Misbehaving servers and real `huidu load` runs against them, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from huidu.model.stack import CohortRoute, Customers, Edge, Releases, Stack, Tokens

TARGET = Path(__file__).parent / "target.py"

# The tests' machine is shared: what they check is the target's behaviour, so the generator may be late,
# by less than any difference that a test looks at.
_PATIENT = "health: {lag_p99: 400ms, cpu: 100%, steal: 100%}\ncalibration: 0s"


@dataclass(frozen=True)
class Run:
    """A finished `huidu load verify`."""

    code: int
    folder: Path
    stderr: str

    @property
    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "verdict.json").read_text())
        return found

    @property
    def plan(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return found


@dataclass
class Running:
    """A `huidu load verify` under way."""

    process: subprocess.Popen[str]
    folder: Path

    def finish(self, timeout: float = 90) -> Run:
        try:
            _, stderr = self.process.communicate(timeout=timeout)
        finally:
            if self.process.poll() is None:
                self.process.terminate()
                self.process.wait(timeout=15)
        return Run(self.process.returncode, self.folder, stderr)


def _huidu(*arguments: str, home: Path) -> subprocess.Popen[str]:
    """`huidu ...` with its state in `home`."""
    return subprocess.Popen(
        [sys.executable, "-m", "huidu.cli", *arguments],
        env=os.environ | {"HUIDU_HOME": str(home), "PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def huidu() -> Callable[..., subprocess.Popen[str]]:
    """huidu(*arguments, home=folder) -> the command under way."""
    return _huidu


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., str]]:
    """serve(mode, number) -> http://127.0.0.1:port of a server that behaves like that (by path: "")."""
    with ExitStack() as stack:

        def start(mode: str = "", number: float = 0) -> str:
            process = subprocess.Popen(
                [sys.executable, str(TARGET), mode, str(number)], stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait, timeout=10)
            stack.callback(process.kill)
            assert process.stdout is not None
            return f"http://127.0.0.1:{process.stdout.readline().strip()}"

        yield start


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """begin(profile text, host, *options) -> a run under way, patient unless it says else."""
    with ExitStack() as stack:

        def start(profile: str, host: str, *options: str) -> Running:
            folder = tmp_path_factory.mktemp("load")
            file = folder / "profile.yaml"
            file.write_text(profile if "health:" in profile else f"{profile}\n{_PATIENT}\n")
            command = [
                "load",
                "verify",
                str(folder / "profile.yaml"),
                "--host",
                host,
                "--out",
                str(folder / "run"),
            ]
            process = _huidu(*command, *options, home=folder / "home")
            running = Running(process, folder / "run")
            stack.callback(lambda: process.poll() is None and process.kill())
            return running

        yield start


@pytest.fixture
def stack() -> Stack:
    """A reference stack as stack.json tells of it; nothing runs."""
    return Stack(
        name="test",
        target="local",
        created="now",
        edge=Edge(
            url="http://127.0.0.1:8080",
            admin="http://127.0.0.1:1",
            route_file=Path("arms.json"),
            route_config="arms",
            testers_header="x-huidu-test",
            testers_secret_file=Path("testers"),
        ),
        cohorts={"high": CohortRoute(route="r", stable="s", candidate="c")},
        prometheus="http://127.0.0.1:2",
        core="http://127.0.0.1:3",
        tokens=Tokens(key_file=Path("token.key"), issuer="huidu-crm", audience="touchpoints"),
        customers=Customers(count=5000, high=1000),
        releases=Releases(stable="v1"),
        components=(),
        links=(),
    )
