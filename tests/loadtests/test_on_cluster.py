"""A run on a cluster, as far as it can be without one: what its pods say, what its Jobs ask for, and what
happens inside the master's pod, with real workers on this machine."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from huidu.model.stack import Generators
from loadtests.report import reports
from loadtests.runners import cluster_jobs, cluster_state
from loadtests.runners.cluster_jobs import MASTER, WORKER, Wanted
from loadtests.runners.inside import pack, unpack
from tests.ports import free_port

PROFILE = """
channels:
  web: {peak: 20/s, journey: {http: [{get: /ok, expect: {contains: '"ok"'}}]}}
duration: 6s
warmup: 1s
timeout: 3s
calibration: 0s
health: {lag_p99: 1s}
limits: {p95: 2s, failures: {at_most: 0.1%, proof: observed}}
"""
WHERE = Generators(namespace="crm", image="huidu:1", workers=3, account="load", tokens="tokens")
WANTED = Wanted("load-1", 3, ("profile.yaml", "--workers", "3"), 600.0)


def pod(
    role: str, phase: str = "Pending", state: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase, "conditions": more.pop("conditions", [])}
    if state is not None:
        status["containerStatuses"] = [{"name": "x", "state": state}]
    labels = {"app.kubernetes.io/name": role}
    return {"metadata": {"name": f"load-1-{role}-0", "labels": labels}, "status": status | more}


READY = {"type": "Ready", "status": "True"}
RUNNING: dict[str, Any] = {"running": {}}


@pytest.mark.parametrize(
    ("pods", "state"),
    [
        ([], "starting"),
        ([pod(WORKER, "Running", RUNNING)], "starting"),
        ([pod(MASTER, "Pending", {"waiting": {"reason": "ContainerCreating"}})], "starting"),
        ([pod(MASTER, "Running", RUNNING)], "running"),
        ([pod(MASTER, "Running", RUNNING, conditions=[READY])], "there"),
        ([pod(WORKER, "Running", RUNNING, conditions=[READY]), pod(MASTER, "Running", RUNNING)], "running"),
        ([pod(MASTER, "Failed")], "over"),
        ([pod(MASTER, "Succeeded")], "over"),
    ],
)
def test_how_far_a_run_is_its_masters_pod_tells(pods: list[dict[str, Any]], state: str) -> None:
    assert cluster_state.state(pods) == state


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"])
def test_a_pod_that_will_never_start_is_named_with_the_reason(reason: str) -> None:
    waiting = {"waiting": {"reason": reason, "message": "no such thing"}}
    said = cluster_state.hopeless([pod(MASTER, "Running", RUNNING), pod(WORKER, "Pending", waiting)])
    assert said == f"load-1-load-worker-0 does not start: {reason}: no such thing"


@pytest.mark.parametrize("reason", ["ContainerCreating", "ErrImagePull", "PodInitializing"])
def test_a_pod_that_may_still_start_is_waited_for(reason: str) -> None:
    assert cluster_state.hopeless([pod(MASTER, "Pending", {"waiting": {"reason": reason}})]) == ""


def test_a_worker_that_was_lost_is_named() -> None:
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    said = cluster_state.lost([pod(MASTER, "Running", RUNNING), pod(WORKER, "Failed", killed)])
    assert said == "load-1-load-worker-0 ended with exit code 137 (OOMKilled)"
    assert cluster_state.lost([pod(WORKER, "Running", RUNNING)]) == ""


def test_why_it_has_not_begun_is_said() -> None:
    nowhere = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
    assert "0/3 nodes are available" in cluster_state.waits_for([pod(MASTER, conditions=nowhere)], 4)
    assert cluster_state.waits_for([], 4) == "0 of 4 pods are there"


def test_all_that_belongs_to_a_run_goes_with_its_masters_job() -> None:
    made = [
        cluster_jobs.workers(WHERE, WANTED, "uid-1"),
        cluster_jobs.service(WHERE, WANTED, "uid-1"),
        cluster_jobs.files(WHERE, WANTED, "uid-1", {"a": "b"}),
        cluster_jobs.secret(WHERE, WANTED, "uid-1", "t"),
    ]
    master = cluster_jobs.master(WHERE, WANTED)
    for each in made:
        (owner,) = each["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", master["metadata"]["name"], "uid-1")
    for job in (master, made[0]):
        assert job["spec"]["activeDeadlineSeconds"] == 600 and job["spec"]["backoffLimit"] == 0
        assert job["spec"]["ttlSecondsAfterFinished"] > 0


def test_only_the_master_is_given_the_key_that_signs_tokens() -> None:
    master = cluster_jobs.master(WHERE, WANTED)["spec"]["template"]["spec"]
    worker = cluster_jobs.workers(WHERE, WANTED, "u")["spec"]["template"]["spec"]
    assert {each["name"] for each in master["volumes"]} == {"temporary", "link", "files", "keys"}
    assert {each["name"] for each in worker["volumes"]} == {"temporary", "link"}


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "calibration").mkdir(parents=True)
    (one / "recording-0.jsonl").write_bytes(os.urandom(100_000))
    (one / "calibration" / "run.json").write_text("{}")
    other.mkdir()
    assert unpack(pack(one), other) == 2
    for name in ("recording-0.jsonl", "calibration/run.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
def test_what_would_lie_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(ValueError, match="no plain file"):
        unpack(base64.encodebytes(held.getvalue()).decode(), inner)
    assert list(tmp_path.iterdir()) == [inner]


@pytest.mark.parametrize("part", [0, 10, 0.5, 0.9])
def test_a_stream_that_was_cut_off_is_no_recording(tmp_path: Path, part: float) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "recording-0.jsonl").write_bytes(os.urandom(50_000))
    text = pack(tmp_path / "one")
    number = int(part if part >= 1 or part == 0 else len(text) * part)
    with pytest.raises(ValueError, match="cut off or no archive"):
        unpack(text[:number], tmp_path)


@pytest.mark.server
def test_the_masters_pod_runs_the_run_and_keeps_it_until_it_was_fetched(
    tmp_path: Path, serve: Callable[..., str]
) -> None:
    """The programs of both containers as the Jobs start them, on this machine; then packed, unpacked and
    judged from the recording, as after a fetch."""
    port = free_port()
    files, inside = tmp_path / "files", tmp_path / "run"
    files.mkdir()
    (files / "profile.yaml").write_text(PROFILE)
    token = tmp_path / "token"
    token.write_text(secrets.token_urlsafe(32))
    token.chmod(0o440)  # as a Secret is mounted
    program = cluster_jobs.master(WHERE, WANTED)["spec"]["template"]["spec"]["containers"][0]["command"]
    command = [
        *(sys.executable, *program[1:4], "--workers", "1", "--host", serve()),
        *("--files", str(files), "--run", str(inside), "--bind", f"127.0.0.1:{port}"),
        *("--token-file", str(token), "--keep", "60"),
    ]
    environment = os.environ | {"PYTHONSAFEPATH": "1", "HUIDU_HOME": str(tmp_path / "nobody")}
    master = subprocess.Popen(command, env=environment)
    words = ["load", "worker", "--master", f"127.0.0.1:{port}", "--token-file", str(token)]
    worker = subprocess.Popen([sys.executable, "-m", "huidu", *words], env=environment)
    try:
        end = time.monotonic() + 120
        while not (inside / "done").exists():
            assert master.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        packed = subprocess.run(
            [sys.executable, "-m", "loadtests.runners.inside", "--pack", "--run", str(inside)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        assert master.poll() is None  # it waits for who fetches it
        master.send_signal(signal.SIGTERM)
        code = master.wait(30)
    finally:
        for process in (master, worker):
            if process.poll() is None:
                process.terminate()
                process.wait(30)
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    unpack(packed, fetched)
    there = json.loads((fetched / "verdict.json").read_text())
    here = reports.rewrite(fetched)
    assert here.verdict == there["verdict"]
    assert here.planned == there["planned"] > 100 and here.ok == there["ok"] > 0
    assert code == {"PASS": 0, "FAIL": 1, "INVALID": 4}[here.verdict]
