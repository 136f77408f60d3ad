"""The main job from end to end on the real stack: what `make demo` promises, shortened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

HERE = Path(__file__).parent


def _of_home(home: Path) -> list[str]:
    """Command lines of processes that belong to this stack."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        text = " ".join(process.info["cmdline"] or ()) + " " + (process.info["cwd"] or "")
        if str(home) in text and process.pid != os.getpid():
            found.append(text[:200])
    return found


def _read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


@pytest.mark.server
@pytest.mark.timeout(900)
def test_a_good_release_is_promoted_a_bad_one_is_taken_back_and_nothing_stays_running(
    tmp_path: Path, program: Callable[[str], Path]
) -> None:
    for name in ("pulumi", "envoy", "postgres", "prometheus", "trytond"):
        program(name)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(HERE / "proof.yaml", home)
    done = subprocess.run(
        [sys.executable, "-m", "huidu", "runbook", "run", str(HERE / "short.md")],
        env={**os.environ, "HUIDU_HOME": str(home)},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    told = done.stdout[-6000:] + done.stderr[-6000:]
    assert done.returncode == 0, told

    proof = _read(home / "load" / "proof" / "verdict.json")
    assert proof["verdict"] == "PASS"
    assert proof["planned"] == proof["ok"] + proof["failed"] + proof["dropped"] + proof["censored"] > 100

    good = _read(home / "rollouts" / "good" / "report.json")
    assert good["outcome"] == "promoted"
    assert max(point["share"] for point in good["timeline"]) == pytest.approx(1.0)
    shares = [point["share"] for point in good["timeline"]]
    assert 0 < next(share for share in shares if share > 0) < 0.1, "the first step is a small one"

    bad = _read(home / "rollouts" / "errors" / "report.json")
    assert bad["outcome"] == "rolled-back"
    assert bad["blamed_gate"] == "errors"
    assert bad["timeline"][-1]["share"] == 0
    assert bad["requests_canary"] + bad["requests_synthetic"] > 0
    assert "errors" in bad["sentence"] and "stable" in bad["sentence"]

    deadline = time.monotonic() + 10
    while (left := _of_home(home)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
