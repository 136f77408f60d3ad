"""The rollout's controller and guard as they are rendered for Kubernetes: what their probes say, what their
pods show of the page, how stack.json reaches them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from huidu.model.stack import Stack
from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.rendered import Rendered
from infra.targets.kubernetes import proxies
from infra.targets.kubernetes.rollout import HOME, METRICS_PORT, PAGE_PORT, STACK
from tests.infra.conftest import call, free_ports, running_envoy

pytestmark = pytest.mark.slow  # each renders the whole stack

Resources = dict[tuple[str, str], Rendered]


def rendered(chosen: dict[str, Any]) -> Resources:
    from infra.program import program
    from infra.render import render
    from infra.targets.kubernetes.settings import Settings
    from infra.targets.kubernetes.target import KubernetesTarget

    desired = Desired(
        topology=hybrid_crm.TOPOLOGY, stable=Release(version="v1"), created="2026-01-01T00:00:00Z"
    )
    found = render(program(desired, KubernetesTarget(desired, Settings.model_validate(chosen))))
    return {(each.kind, each.at("metadata", "name")): each for each in found}


@pytest.fixture(scope="module")
def resources() -> Resources:
    return rendered({"zones": {"public": {"context": ""}}, "kubeconfig": "/home/me/config"})


def pod(resources: Resources, name: str) -> dict[str, Any]:
    return dict(resources["Deployment", name].at("spec", "template", "spec"))


def test_controller_and_guard_are_two_and_share_one_volume_on_one_node(resources: Resources) -> None:
    pods = [pod(resources, name) for name in ("rollout-controller", "rollout-guard")]
    claims = [each["volumes"][0]["persistentVolumeClaim"]["claimName"] for each in pods]
    assert claims == ["rollout-journal"] * 2
    claim = resources["PersistentVolumeClaim", "rollout-journal"]
    assert claim.at("spec", "accessModes") == ["ReadWriteOnce"]
    for name, each in zip(("rollout-controller", "rollout-guard"), pods, strict=True):
        deployment = resources["Deployment", name]
        assert (deployment.at("spec", "replicas"), deployment.at("spec", "strategy", "type")) == (
            1,
            "Recreate",
        )
        (term,) = each["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        labels = deployment.at("spec", "template", "metadata", "labels")
        assert term["labelSelector"]["matchLabels"].items() <= labels.items()


def test_the_pods_know_the_stack_and_use_their_own_account(resources: Resources) -> None:
    text = resources["ConfigMap", "rollout-stack"].at("data", "stack.json")
    stack = Stack.model_validate_json(text)
    assert stack.edge.routes is not None
    assert (stack.edge.routes.kubeconfig, stack.edge.routes.context) == ("", "")
    assert stack.edge.routes.names == ("arms",)


@pytest.mark.parametrize(("name", "asks"), [("rollout-controller", "controller"), ("rollout-guard", "guard")])
def test_only_the_container_that_asks_the_api_server_has_the_accounts_token(
    resources: Resources, name: str, asks: str
) -> None:
    """Where the official client looks for it."""
    found = pod(resources, name)
    assert found["automountServiceAccountToken"] is False
    (token,) = [each for each in found["volumes"] if "projected" in each]
    have = {
        each["name"]: mount["mountPath"]
        for each in (*found["containers"], *found["initContainers"])
        for mount in each["volumeMounts"]
        if mount["name"] == token["name"]
    }
    assert have == {asks: "/var/run/secrets/kubernetes.io/serviceaccount"}
    files = [
        each.get("path") or each["items"][0]["path"]
        for source in token["projected"]["sources"]
        for each in source.values()
    ]
    assert files == ["token", "ca.crt", "namespace"]


def test_release_managers_reach_the_page_and_go_into_no_pod() -> None:
    """Pods beside the controller have databases' passwords."""
    found = rendered({"rollout": {"managers": ["releases"]}})
    rules = found["Role", "release-manager"].at("rules")
    asked = {(verb, each) for rule in rules for each in rule["resources"] for verb in rule["verbs"]}
    assert asked == {
        ("get", "deployments"),
        ("get", "pods"),
        ("list", "pods"),
        ("create", "pods/portforward"),
        ("get", "pods/portforward"),
    }
    binding = found["RoleBinding", "release-manager"]
    assert binding.at("subjects", 0, "name") == "releases"


def test_nobody_is_a_release_manager_unless_somebody_says_so(resources: Resources) -> None:
    assert ("Role", "release-manager") in resources
    assert ("RoleBinding", "release-manager") not in resources


def test_synthetic_requests_know_the_edge_by_its_authority_and_its_key_stays_away(
    resources: Resources,
) -> None:
    stack = Stack.model_validate_json(resources["ConfigMap", "rollout-stack"].at("data", "stack.json"))
    assert stack.edge.ca_file is not None
    controller = pod(resources, "rollout-controller")
    certificate = resources["Certificate", "edge-tls"]
    (mounted,) = [each for each in controller["volumes"] if each["name"] == "edge-ca"]
    assert mounted["secret"]["secretName"] == certificate.at("spec", "secretName")
    assert mounted["secret"]["items"] == [{"key": "ca.crt", "path": stack.edge.ca_file.name}]
    mounts = {
        container["name"]: {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        for container in controller["containers"]
    }
    assert mounts["controller"]["edge-ca"] == str(stack.edge.ca_file.parent)
    assert "edge-ca" not in mounts["shown"]


@pytest.mark.parametrize(("private", "known"), [(False, False), (True, True)])
def test_an_issuer_that_everybody_trusts_needs_no_authority(private: bool, known: bool) -> None:
    found = rendered({"certificates": {"issuer": "letsencrypt", "private_issuer": private}})
    stack = Stack.model_validate_json(found["ConfigMap", "rollout-stack"].at("data", "stack.json"))
    assert (stack.edge.ca_file is not None) is known
    names = {each["name"] for each in pod(found, "rollout-controller")["volumes"]}
    assert ("edge-ca" in names) is known


def test_a_new_release_restarts_neither(resources: Resources) -> None:
    from infra.program import program
    from infra.render import render
    from infra.targets.kubernetes.settings import Settings
    from infra.targets.kubernetes.target import KubernetesTarget

    released = Desired(
        topology=hybrid_crm.TOPOLOGY,
        stable=Release(version="v1"),
        candidate=Release(version="v2"),
        created="2026-01-01T00:00:00Z",
    )
    settings = Settings.model_validate({"kubeconfig": "/home/me/config"})
    found = render(program(released, KubernetesTarget(released, settings)))
    for each in found:
        if each.kind == "Deployment" and each.name.startswith("public/rollout-"):
            name = each.at("metadata", "name")
            before = resources["Deployment", name].at("spec", "template")
            assert each.at("spec", "template") == before
    texts = [each.at("data", "stack.json") for each in found if each.name == "public/rollout-stack"]
    assert Stack.model_validate_json(texts[0]).releases.candidate == "v2"


def test_stack_json_is_a_link_to_what_the_cluster_keeps_up_to_date(
    resources: Resources, tmp_path: Path
) -> None:
    words = pod(resources, "rollout-guard")["initContainers"][0]["command"]
    (tmp_path / "stack").mkdir()
    (tmp_path / "home").mkdir()
    moved = [
        each.replace(STACK, str(tmp_path / "stack")).replace(HOME, str(tmp_path / "home")) for each in words
    ]
    (tmp_path / "stack" / "stack.json").write_text("one")
    for _ in range(2):  # the second pod finds the first one's link
        subprocess.run([sys.executable, *moved[1:]], check=True, timeout=30)
    assert (tmp_path / "home" / "stack.json").read_text() == "one"
    (tmp_path / "stack" / "stack.json").write_text("two")
    assert (tmp_path / "home" / "stack.json").read_text() == "two"
    assert sorted(each.name for each in (tmp_path / "home").iterdir()) == ["stack.json"]


def test_the_plan_that_lies_in_the_pod_fits_the_stack(resources: Resources, tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(resources["ConfigMap", "rollout-stack"].at("data", "stack.json"))
    plans = resources["ConfigMap", "rollout-plans"].at("data")
    assert list(plans) == ["release.yaml"]
    (tmp_path / "release.yaml").write_text(plans["release.yaml"])
    done = subprocess.run(
        [*(sys.executable, "-m", "huidu", "rollout", "check", str(tmp_path / "release.yaml"), "--offline")],
        env={"HUIDU_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    # What `--offline` leaves open: the plan's cohorts are the stack's, and its route that of stack.json.
    stack = Stack.read(tmp_path / "stack.json")
    plan = yaml.safe_load(plans["release.yaml"])
    named = {cohort for stage in plan["stages"] for cohort in stage["weights"]} - {"all"}
    assert named <= set(stack.cohorts) and plan["route"] == "stack"


@contextmanager
def page(text: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("attended", "silent", "alive"),
    [(1, 1.0, True), (1, 110.0, True), (1, 130.0, False), (0, 5000.0, True)],
    ids=["looks", "waits for Prometheus", "hangs", "is over"],
)
def test_a_controller_that_hangs_is_restarted(
    resources: Resources, tmp_path: Path, attended: int, silent: float, alive: bool
) -> None:
    command = pod(resources, "rollout-controller")["containers"][0]["livenessProbe"]["exec"]["command"]
    folder = tmp_path / "rollouts" / "v2"
    folder.mkdir(parents=True)
    lease = {"holder": "controller", "monotonic": time.monotonic() - silent}
    (folder / "controller.lease").write_text(json.dumps(lease))
    with page(f'huidu_rollout_attended{{rollout="v2"}} {attended}\n') as port:
        code = command[2].replace(HOME, str(tmp_path)).replace(str(PAGE_PORT), str(port))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode == 0) is alive, done.stderr


def test_a_controller_whose_page_is_gone_is_restarted(resources: Resources, tmp_path: Path) -> None:
    command = pod(resources, "rollout-controller")["containers"][0]["livenessProbe"]["exec"]["command"]
    code = command[2].replace(HOME, str(tmp_path)).replace(str(PAGE_PORT), str(free_ports(1)[0]))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30).returncode != 0


@pytest.mark.server
def test_of_the_page_only_the_metrics_are_seen_outside_the_pod(resources: Resources, tmp_path: Path) -> None:
    """With the page itself and a real Envoy, as the container starts them."""
    port, admin, shown = free_ports(3)
    words = pod(resources, "rollout-controller")["containers"][0]["args"]
    assert words == ["rollout", "serve", "--run", "--port", str(PAGE_PORT)]
    text = resources["ConfigMap", "rollout-shown"].at("data", "envoy.json").replace("0.0.0.0", "127.0.0.1")
    for old, new in ((PAGE_PORT, port), (proxies.ADMIN, admin), (METRICS_PORT, shown)):
        text = text.replace(f'"port_value": {old}', f'"port_value": {new}')
    text = text.replace(f"127.0.0.1:{PAGE_PORT}", f"127.0.0.1:{port}")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "huidu", *words[:-1], str(port)],
            env={"HUIDU_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
            stdout=log,
            stderr=log,
        )
    try:
        with running_envoy(tmp_path, json.loads(text), admin):
            end = time.monotonic() + 30
            while (answer := call(shown, "/metrics")).status == 503:
                assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(0.1)
            assert answer.status == 200
            for path in ("/", "/rollouts", "/v1/verdict", "/metrics/", "/metrics/../"):
                assert call(shown, path).status == 404, path
            assert call(port, "/", {"Host": "rollout-controller"}).status == 421
            code = pod(resources, "rollout-controller")["containers"][0]["livenessProbe"]["exec"]["command"][
                2
            ]
            code = code.replace(HOME, str(tmp_path / "home")).replace(str(PAGE_PORT), str(port))
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
            assert done.returncode == 0, done.stderr
    finally:
        process.terminate()
        process.wait(20)
