"""What the rendered Role of release managers gives, by a real API server's own answer."""

from __future__ import annotations

import pytest

from infra.targets.kubernetes.access import CONTROLLER, MANAGERS
from infra.targets.kubernetes.settings import Settings
from tests.infra.test_render import rendered
from tests.kubernetes.cluster import Cluster

PUBLIC = "hybrid-crm-public"


@pytest.fixture
def given(cluster: Cluster) -> Cluster:
    settings = Settings.model_validate({"rollout": {"managers": ["releases"]}})
    found = rendered(settings)
    for kind in ("Namespace", "Role", "RoleBinding"):
        for each in found:
            if each.kind == kind and each.name in (f"public/{PUBLIC}", f"public/{MANAGERS}"):
                cluster.apply(dict(each.body))
    return cluster


def may(cluster: Cluster, verb: str, resource: str, name: str = "", group: str = "") -> bool:
    plain, _, part = resource.partition("/")
    asked = {
        "namespace": PUBLIC,
        "verb": verb,
        "resource": plain,
        "subresource": part,
        "name": name,
        "group": group,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "anna", "groups": ["releases"], "resourceAttributes": asked},
    }
    answer = cluster.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def test_they_may_forward_to_the_page_and_go_into_no_pod(given: Cluster) -> None:
    # What `kubectl port-forward deployment/rollout-controller` does, one after the other.
    assert may(given, "get", "deployments", CONTROLLER, "apps")
    assert may(given, "list", "pods")
    assert may(given, "get", "pods", "rollout-controller-5d9c7b6f4-abcde")
    assert may(given, "create", "pods/portforward", "rollout-controller-5d9c7b6f4-abcde")
    refused = [
        ("create", "pods/exec", "rollout-controller-5d9c7b6f4-abcde", ""),
        ("get", "secrets", "core-sync", ""),
        ("create", "pods", "", ""),
        ("create", "pods/ephemeralcontainers", "x", ""),
        ("patch", "deployments", CONTROLLER, "apps"),
        ("get", "deployments", "touchpoints-stable", "apps"),
        ("patch", "httproutes", "arms", "gateway.networking.k8s.io"),
    ]
    assert [each for each in refused if may(given, *each)] == []
