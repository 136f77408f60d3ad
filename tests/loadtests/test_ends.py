"""However a run ends, there is a verdict, a report, and no process left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import loadtests

Serve = Callable[..., str]
Begin = Callable[..., Any]

pytestmark = pytest.mark.server

_PROFILE = """
channels:
  web: {peak: 20/s, journey: {http: [{get: /}]}}
duration: 8s
warmup: 1s
timeout: 3s
limits: {p95: 2s, failures: {at_most: 0.1%, proof: observed}}
"""


def _until(holds: Callable[[], bool], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def _workers(folder: Path, number: int) -> list[int]:
    """The workers' process ids, once each has measured something of the window."""
    files = [folder / f"recording-{worker}.jsonl" for worker in range(number)]
    _until(lambda: all(file.exists() and file.read_text().count('"delta"') >= 4 for file in files))
    return [json.loads(file.read_text().splitlines()[0])["pid"] for file in files]


def _numbers(text: str) -> Any:
    """What it says, numbers to nine digits: two workers' parts are added in the order in which they came, and
    the last digits of such a sum depend on it."""
    return json.loads(text, parse_float=lambda number: float(f"{float(number):.9g}"))


def _gone(pids: list[int]) -> bool:
    return not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    """Whether it is more than a zombie that nobody fetches, as in a container without an init."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ends(serve: Serve, begin: Begin) -> None:
    """A worker killed, a worker stopped for three seconds, one that gets a fifth of a core in slices, the
    parent told to end: INVALID each."""
    host = serve("ok")
    killed, stopped, told = (begin(_PROFILE, host, "--workers", number) for number in ("2", "1", "1"))
    seldom = begin(_PROFILE.replace("20/s", "250/s"), serve("reset", 500))
    starved = begin(_PROFILE + "health: {cpu: 100%, steal: 100%}\ncalibration: 0s\n", host)

    counts = ((killed, 2), (stopped, 1), (told, 1), (starved, 1))
    pids = {id(each): _workers(each.folder, count) for each, count in counts}
    os.kill(pids[id(killed)][1], signal.SIGKILL)
    os.kill(pids[id(stopped)][0], signal.SIGSTOP)
    told.process.send_signal(signal.SIGTERM)
    for _ in range(13):  # as the kernel does to a process that has used up its quota
        os.kill(pids[id(starved)][0], signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(pids[id(starved)][0], signal.SIGCONT)
        time.sleep(0.05)
    os.kill(pids[id(stopped)][0], signal.SIGCONT)

    expected = {
        id(killed): "killed by signal 9",
        id(stopped): "stood still",
        id(told): "stopped by SIGTERM",
        id(starved): "visits late",
    }
    for running in (killed, stopped, told, starved):
        run = running.finish()
        verdict = run.verdict
        assert (run.code, verdict["verdict"]) == (4, "INVALID"), run.stderr
        assert any(expected[id(running)] in reason for reason in verdict["reasons"]), verdict["reasons"]
        assert verdict["planned"] == 192
        assert verdict["planned"] == sum(verdict[each] for each in ("ok", "failed", "dropped", "censored"))
        assert "INVALID" in (run.folder / "report.html").read_text()
        assert _gone(pids[id(running)])

    # More than one in a thousand, however seldom it looks.
    run = seldom.finish()
    assert (run.code, run.verdict["verdict"]) == (1, "FAIL"), (run.stderr, run.verdict["reasons"])
    assert run.verdict["planned"] == 2400 and 4 <= run.verdict["failed"] <= 6
    assert {each["reason"] for each in run.verdict["failures"]} == {"connection reset"}


def test_offer_ends_well_when_told_and_leaves_nothing(huidu: Any, serve: Serve, tmp_path: Path) -> None:
    profile = tmp_path / "background.yaml"
    profile.write_text(_PROFILE)
    process = huidu("load", "offer", str(profile), "--host", serve("ok"), home=tmp_path / "home")
    try:
        _until(lambda: len(list(tmp_path.glob("home/load/offer-*"))) == 1)
        (folder,) = tmp_path.glob("home/load/offer-*")
        pids = _workers(folder, 1)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 0, stderr
    assert "0 failed" in stderr
    assert _gone(pids)


def test_a_worker_whose_parent_was_killed_ends_by_itself(serve: Serve, begin: Begin) -> None:
    running = begin(_PROFILE.replace("8s", "60s"), serve("ok"))
    pids = _workers(running.folder, 1)
    running.process.kill()
    running.process.communicate(timeout=10)
    _until(lambda: _gone(pids), 15)


def test_the_report_is_made_again_from_the_recording(huidu: Any, serve: Serve, begin: Begin) -> None:
    run = begin(_PROFILE.replace("8s", "5s"), serve("ok"), "--workers", "2").finish()
    before = (run.folder / "verdict.json").read_text()
    # A busy machine makes the run INVALID; its report is made again all the same.
    verdict = json.loads(before)["verdict"]
    assert run.code == {"PASS": 0, "INVALID": 4}[verdict], run.stderr
    for name in ("verdict.json", "report.html"):
        (run.folder / name).unlink()
    again = huidu("load", "report", str(run.folder), "--json", home=run.folder.parent / "home")
    stdout, _ = again.communicate(timeout=60)
    assert again.returncode == run.code
    after = (run.folder / "verdict.json").read_text()
    assert _numbers(after) == _numbers(before)
    assert json.loads(stdout) == json.loads(after)
    page = (run.folder / "report.html").read_text()
    assert verdict in page
    assert "http-equiv" not in page and "<script" not in page and "src=" not in page


def test_nobody_at_the_address_is_an_invalid_run_with_all_its_files(huidu: Any, tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text(_PROFILE)
    out = tmp_path / "run"
    arguments = ("load", "verify", str(tmp_path / "profile.yaml"), "--host", "127.0.0.1:9", "--out", str(out))
    process = huidu(*arguments, "--json", home=tmp_path)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "nobody answers" in stderr and "Traceback" not in stderr
    found = json.loads(stdout)
    assert list(found)[:2] == ["verdict", "reasons"]
    assert found["verdict"] == "INVALID" and "nobody answers" in found["reasons"][0]
    assert (out / "verdict.json").read_text().split() == stdout.split()
    assert "<error" in (out / "junit.xml").read_text()
    assert "nobody answers" in (out / "summary.md").read_text()
    assert "nobody answers" in (out / "report.html").read_text()
    again = huidu("load", "report", str(out), home=tmp_path)
    stdout, _ = again.communicate(timeout=30)
    assert again.returncode == 4
    assert "INVALID" in stdout and "nobody answers" in stdout, "the result is on standard output"


def test_a_mistake_in_the_profile_is_exit_2_with_file_and_line_and_no_run(huidu: Any, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(_PROFILE.replace("warmup:", "warm_up:"))
    process = huidu("load", "verify", str(file), "--host", "127.0.0.1:9", home=tmp_path / "home")
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"{file}:5" in stderr and "warm_up" in stderr and "Traceback" not in stderr
    assert not (tmp_path / "home").exists()


def test_the_locustfile_also_runs_under_plain_locust(serve: Serve, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", "locustfile.py", "--headless", "-u", "12", "-r", "12"]
    file = tmp_path / "said.txt"
    with file.open("w") as output:
        process = subprocess.Popen(
            [*command, "-t", "60s", "--host", serve("ok")],
            cwd=Path(loadtests.__file__).parent,
            env=os.environ | {"HUIDU_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONSAFEPATH": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        # Nobody here but a server that answers everything the same: the checks of content must say so.
        _until(lambda: re.search(r"Aggregated +\d+ +[1-9]\d*\(", file.read_text()) is not None)
        process.send_signal(signal.SIGTERM)
        ended = process.wait(30)
    finally:
        process.kill()
        process.wait()
    said = file.read_text()
    assert ended == 1, said
    assert all(f"{name} " in said for name in ("Web", "Wechat", "Shop", "Call"))
    assert re.search(r"shop-(browse|order): see products", said) or "shop-ticket: open ticket" in said
    assert "StepFailed" in said
