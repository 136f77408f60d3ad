"""The page as a process of its own, over rollouts that were driven in virtual time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.rollout.worlds import Stage

PROMOTED, ROLLED_BACK, PAUSED = "good-1", "errors-1", "half-1"


def drive_three(home: Path, staged: Callable[[str, str], Stage]) -> None:
    """Into `home`: a rollout that was promoted, one that was rolled back, one that was paused."""
    for name, errors, until in ((PROMOTED, 0.0, None), (ROLLED_BACK, 0.3, None), (PAUSED, 0.0, 12)):
        stage = staged("name: virtual", "name: virtual")
        stage.world.candidate_errors = errors
        end = stage.clock.now() + until if until else float("inf")
        stage.controller(stop=lambda end=end, stage=stage: stage.clock.now() > end).drive()
        stage.journal.close()
        shutil.copytree(stage.folder, home / "rollouts" / name)


@contextlib.contextmanager
def serving(home: Path) -> Iterator[str]:
    """`huidu rollout serve`, started as a user would; its address. It ends well when it is asked to."""
    environment = {**os.environ, "HUIDU_HOME": str(home), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "huidu.cli", "rollout", "serve"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", first), first
        yield first.strip().rstrip("/")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(5)
        process.stderr.close()
