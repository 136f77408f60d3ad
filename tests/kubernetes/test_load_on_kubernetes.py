"""`huidu load verify --on kubernetes` against a real API server: what is started, what stands in the way, and
that nothing is left. No container runs here: what happens inside the pods is tested in tests/loadtests."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from huidu.foundation.errors import ConfigError, Unreachable, UsageError
from huidu.foundation.terminal import Terminal
from huidu.model.stack import Generators, Stack
from infra import hybrid_crm, stack_file
from infra.desired import Desired, Release
from infra.targets.kubernetes import description
from infra.targets.kubernetes.place import Place
from infra.targets.kubernetes.settings import Settings
from loadtests.runners import cluster as runner
from loadtests.runners import kubernetes
from loadtests.runners.cluster import Timing
from loadtests.runs import Asked
from loadtests.summary import Summary
from tests.kubernetes.cluster import Cluster

PROFILE = {
    "duration": "20s",
    "channels": {"web": {"peak": "5/s", "journey": {"http": [{"get": "/"}]}}},
}
NOWHERE = {"nobody/has": "this"}


def stack() -> Stack:
    desired = Desired(
        topology=hybrid_crm.TOPOLOGY, stable=Release(version="v1"), created="2026-01-01T00:00:00Z"
    )
    return stack_file.compose(desired, "kubernetes", description.describe(Place(desired, Settings())))


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A namespace with the generators' account; a workspace whose stack.json names it."""
    namespace = cluster.namespace("load", {"pod-security.kubernetes.io/enforce": "restricted"})
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "load", "namespace": namespace}}
    )
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    profile = tmp_path / "profile.yaml"
    profile.write_text(yaml.safe_dump(PROFILE))
    yield {"namespace": namespace, "home": tmp_path / "home", "profile": profile, "cluster": cluster}


class Hurried:
    """The runner's time. It goes on by an hour as soon as `come` says that what is waited for is there: the
    runner's limit is over then, and never before, however slow the cluster is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, come: Callable[[], Any]) -> None:
        self._come, self._more = come, 0.0
        monkeypatch.setattr(runner, "time", self)

    def monotonic(self) -> float:
        return time.monotonic() + self._more

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        if not self._more and self._come():
            self._more = 3600.0


def name_it(here: dict[str, Any], **changed: Any) -> None:
    place = stack().generators[0].model_dump() | {
        "namespace": here["namespace"],
        "kubeconfig": str(here["cluster"].kubeconfig),
        "image": "registry.example.com/huidu/huidu:0.1.0",
    }
    written = stack().model_copy(update={"generators": (Generators.model_validate(place | changed),)})
    here["home"].mkdir(exist_ok=True)
    written.write(here["home"] / "stack.json")


def run(here: dict[str, Any], start: float = 20.0) -> tuple[Summary, Path]:
    asked = Asked(str(here["profile"]))
    return kubernetes.verify(asked, None, Terminal(), Timing(start=start, look=0.1))


def left(here: dict[str, Any], only: str = "") -> list[str]:
    """What of a run is in the namespace, of one kind or of all."""
    found = []
    for api, kind in (
        ("batch/v1", "Job"),
        ("v1", "Pod"),
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "Service"),
    ):
        if only not in ("", kind):
            continue
        for each in here["cluster"].list(api, kind, here["namespace"], "huidu/load"):
            found.append(f"{kind} {each['metadata']['name']}")
    return found


def nothing_is_left(here: dict[str, Any]) -> None:
    here["cluster"].until(lambda: not left(here), what="everything of the run gone")


@contextmanager
def meanwhile(act: Any) -> Iterator[None]:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join(60)
    assert not failed, failed


def pods(here: dict[str, Any], number: int, placed: bool = False) -> list[dict[str, Any]]:
    """The pods of a run once there are so many; `placed`: that have a node."""

    def found() -> list[dict[str, Any]] | None:
        listed = here["cluster"].list("v1", "Pod", here["namespace"], "huidu/load")
        mine = [each for each in listed if not placed or each["spec"].get("nodeName")]
        return mine if len(mine) == number else None

    waited: list[dict[str, Any]] = here["cluster"].until(found, what=f"{number} pods")
    return waited


def say_of(here: dict[str, Any], pod: dict[str, Any], status: dict[str, Any]) -> None:
    """What a kubelet says of a pod."""
    path = f"/api/v1/namespaces/{here['namespace']}/pods/{pod['metadata']['name']}/status"
    here["cluster"].ask("PATCH", path, {"status": status}, "application/merge-patch+json")


def said_to_be_there(here: dict[str, Any]) -> None:
    """Say of the master's pod what a kubelet would when the result lies there."""
    pods(here, 3)
    selector = "huidu/load,app.kubernetes.io/name=load-master"
    (pod,) = here["cluster"].list("v1", "Pod", here["namespace"], selector)
    say_of(here, pod, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})


def test_a_master_and_its_workers_are_started_on_nodes(here: dict[str, Any]) -> None:
    """The pods are admitted (Pod Security "restricted") and get nodes. They end without having run anything,
    and no recording comes of that: INVALID, and nothing is left."""
    still = {"huidu.test/still": here["namespace"]}
    room = {"cpu": "64", "memory": "256Gi", "pods": "110"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": here["namespace"], "labels": still}}
    # Kwok is not told of this node: nothing happens to a pod there but what the test says.
    here["cluster"].apply({**node, "status": {"capacity": room, "allocatable": room}})
    name_it(here, workers=3, nodes=still)
    placed: list[str] = []

    def end_them() -> None:
        found = pods(here, 4, placed=True)
        placed.extend(each["spec"]["nodeName"] for each in found)
        for each in found:
            say_of(here, each, {"phase": "Succeeded"})

    with meanwhile(end_them):
        summary, folder = run(here, start=60)
    assert placed == [here["namespace"]] * 4
    assert summary.verdict == "INVALID"
    assert "without a result" in summary.reasons[0]
    assert json.loads((folder / "verdict.json").read_text())["verdict"] == "INVALID"
    nothing_is_left(here)


def test_a_recording_that_cannot_be_fetched_is_no_evidence(here: dict[str, Any]) -> None:
    name_it(here, nodes=NOWHERE)
    with meanwhile(lambda: said_to_be_there(here)):
        summary, _ = run(here, start=60)
    assert summary.verdict == "INVALID"
    assert "could not be fetched" in summary.reasons[0]
    nothing_is_left(here)


def test_an_image_that_cannot_be_pulled_ends_the_run_and_is_named(here: dict[str, Any]) -> None:
    name_it(here, nodes=NOWHERE)
    said = 'Back-off pulling image "registry.example.com/huidu/huidu:0.1.0"'

    def pull() -> None:
        waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": said}}}
        status = {
            "name": "master",
            "image": "x",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
        } | waiting
        say_of(here, pods(here, 3)[0], {"containerStatuses": [status]})

    with meanwhile(pull):
        summary, _ = run(here, start=60)
    assert summary.verdict == "INVALID"
    assert "ImagePullBackOff" in summary.reasons[0] and said in summary.reasons[0]
    nothing_is_left(here)


def test_pods_that_find_no_node_are_waited_for_and_then_said(
    here: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_it(here, nodes=NOWHERE)
    Hurried(monkeypatch, lambda: len(left(here, "Pod")) == 3)
    summary, _ = run(here, start=600)
    assert summary.verdict == "INVALID"
    assert "within 600 s" in summary.reasons[0] and "has no node" in summary.reasons[0]
    nothing_is_left(here)


def test_a_quota_that_is_used_up_is_said_in_the_clusters_words(
    here: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here["cluster"].apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": here["namespace"]},
            "spec": {"hard": {"pods": "0"}},
        }
    )
    name_it(here)
    quota = ("v1", "ResourceQuota", "none", here["namespace"])
    here["cluster"].until(lambda: here["cluster"].read(*quota).get("status"), what="the quota in force")
    Hurried(
        monkeypatch, lambda: "FailedCreate" in str(here["cluster"].list("v1", "Event", here["namespace"]))
    )
    summary, _ = run(here, start=600)
    assert summary.verdict == "INVALID"
    assert "exceeded quota" in summary.reasons[0]
    nothing_is_left(here)


def test_who_may_not_start_jobs_is_told_what_is_missing(here: dict[str, Any]) -> None:
    account = here["cluster"].kubeconfig_for("nobody", here["namespace"])
    name_it(here, kubeconfig=str(account))
    with pytest.raises(UsageError, match="refuses to create jobs") as caught:
        run(here)
    assert "403" in str(caught.value) and "load-starter" in caught.value.remedy
    assert not left(here)


def test_who_has_the_role_of_a_starter_may_do_all_of_it(here: dict[str, Any]) -> None:
    from infra.program import program
    from infra.render import render
    from infra.targets.kubernetes.target import KubernetesTarget

    desired = Desired(
        topology=hybrid_crm.TOPOLOGY, stable=Release(version="v1"), created="2026-01-01T00:00:00Z"
    )
    (role,) = (
        each.body
        for each in render(program(desired, KubernetesTarget(desired, Settings())))
        if (each.kind, each.at("metadata", "name")) == ("Role", "load-starter")
    )
    jobs = f"/apis/batch/v1/namespaces/{here['namespace']}/jobs"
    here["cluster"].apply({**role, "metadata": {"name": "load-starter", "namespace": here["namespace"]}})
    api = "rbac.authorization.k8s.io"
    here["cluster"].apply(
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "starter", "namespace": here["namespace"]},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "load-starter"},
            "subjects": [{"kind": "ServiceAccount", "name": "starter", "namespace": here["namespace"]}],
        }
    )
    account = here["cluster"].kubeconfig_for("starter", here["namespace"])
    starter = here["cluster"].as_user_of(account)
    here["cluster"].until(lambda: "items" in starter.ask("GET", jobs), what="the role")
    name_it(here, kubeconfig=str(account), nodes=NOWHERE)
    with meanwhile(lambda: said_to_be_there(here)):
        summary, _ = run(here, start=60)
    # As far as it goes here: only the kubelet is missing, no right.
    assert "could not be fetched" in summary.reasons[0] and "orbidden" not in summary.reasons[0]
    nothing_is_left(here)


def test_a_cluster_that_is_not_known_or_away_is_said_before_anything_is_started(here: dict[str, Any]) -> None:
    name_it(here, context="no-such-context")
    with pytest.raises(ConfigError, match="there is no context 'no-such-context'"):
        run(here)
    name_it(here)
    with here["cluster"].stopped(), pytest.raises(Unreachable, match="does not answer"):
        run(here)
    assert not left(here)


def test_ctrl_c_deletes_everything_and_the_run_proves_nothing(here: dict[str, Any]) -> None:
    name_it(here, nodes=NOWHERE)
    process = subprocess.Popen(
        [sys.executable, "-m", "huidu", "load", "verify", str(here["profile"]), "--on", "kubernetes"],
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        pods(here, 3)
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 4, words
    assert "stopped by SIGINT" in words
    nothing_is_left(here)


def test_the_token_is_in_no_argument_and_no_plain_file(here: dict[str, Any]) -> None:
    name_it(here, nodes=NOWHERE)
    seen: dict[str, Any] = {}

    def look() -> None:
        pods(here, 3)
        cluster, namespace = here["cluster"], here["namespace"]
        (secret,) = cluster.list("v1", "Secret", namespace, "huidu/load")
        seen["token"] = base64.b64decode(secret["data"]["token"]).decode()
        kinds = (("batch/v1", "Job"), ("v1", "ConfigMap"))
        seen["rest"] = json.dumps([cluster.list(*each, namespace, "huidu/load") for each in kinds])
        said_to_be_there(here)  # and so it ends

    with meanwhile(look):
        run(here, start=60)
    assert len(seen["token"]) >= 32 and seen["token"] not in seen["rest"]
