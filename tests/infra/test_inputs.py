"""What only a person can give is named before anything is changed: each Secret and ConfigMap that is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.program import program
from infra.render import render
from infra.rendered import Rendered
from infra.targets.kubernetes.preflight import Missing, inputs
from infra.targets.kubernetes.references import Reference, references
from infra.targets.kubernetes.settings import Settings
from infra.targets.kubernetes.target import KubernetesTarget

pytestmark = pytest.mark.slow  # each renders the whole stack

KEYS = {
    "tokens": {"issuer": "https://id.example.com", "audience": "a", "keys_url": "https://id.example.com/k"}
}
SETTINGS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "buckets": {"edge": {"strategy": "buckets"}},
    "keys by address, a registry with a password": {"edge": KEYS, "images": {"pull_secrets": ["registry"]}},
    "an issuer of one's own": {"certificates": {"issuer": "letsencrypt", "internal_issuer": "company"}},
}


def rendered(**settings: Any) -> tuple[Rendered, ...]:
    desired = Desired(
        topology=hybrid_crm.TOPOLOGY,
        stable=Release(version="v1"),
        candidate=Release(version="v2", begun="now"),
        baseline=True,
        created="2026-01-01T00:00:00Z",
    )
    return render(program(desired, KubernetesTarget(desired, Settings.model_validate(settings))))


def named(space: str, *names: str) -> set[tuple[str, str]]:
    return {(f"hybrid-crm-{space}", name) for name in names}


def test_everything_that_only_a_person_can_give_is_named() -> None:
    given = {(each.namespace, each.name) for each in inputs(rendered())}
    assert given == (
        named("private", "core-admin", "core-sync", "backups")
        | named("public", "core-sync", "backups", "testers", "customers-keys")
        | named("second", "backups")
    )
    (backups,) = {each.keys for each in inputs(rendered()) if each.name == "backups"}
    assert backups == ("access-key-id", "access-key-secret")


def test_a_registrys_password_is_asked_for_wherever_images_are_pulled() -> None:
    asked = [
        each for each in inputs(rendered(images={"pull_secrets": ["registry"]})) if each.name == "registry"
    ]
    assert {each.namespace for each in asked} == {
        f"hybrid-crm-{zone}" for zone in ("public", "link", "private", "second", "monitoring")
    }
    assert asked[0].command == (
        f"kubectl -n {asked[0].namespace} create secret generic registry"
        " --type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=FILE"
    )


LOOKS_LIKE_ONE = re.compile(
    r"(?i)(secret|configmap|credential|certificateref|valueref|ssl\w+|\bca|password)\w*(\.\w+)*\.(name|secretName)$"
    r"|\w*secret(name)?$"
)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_nothing_that_is_rendered_names_one_that_is_passed_over(settings: dict[str, Any]) -> None:
    """By the words of its path alone: a kind that is rendered one day is looked at, too."""
    looked = 0
    for each in rendered(**settings):
        if each.kind in ("Certificate", "ClusterIssuer"):
            continue  # what it makes, what its operator holds
        body = {key: value for key, value in each.body.items() if key not in ("metadata", "data")}
        seen = {found.name for found in references(each.body)}
        for path, value in leaves(body):
            if LOOKS_LIKE_ONE.search(path) and (each.kind, path) != ("Alertmanager", ".spec.configSecret"):
                optional = path.endswith(".secretName") and value == "testers"  # the rollout goes on without
                assert optional or value in seen, f"{each.label}{path}: {value}"
                looked += 1
    assert looked > 50


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            {"kind": "Cluster", "spec": {"managed": {"roles": [{"passwordSecret": {"name": "login"}}]}}},
            Reference("Secret", "", "login"),
        ),
        (
            {"kind": "Pod", "spec": {"containers": [{"envFrom": [{"configMapRef": {"name": "words"}}]}]}},
            Reference("ConfigMap", "", "words"),
        ),
        (
            {"kind": "Gateway", "spec": {"x": {"certificateRefs": [{"name": "tls", "namespace": "other"}]}}},
            Reference("Secret", "other", "tls", ("tls.crt", "tls.key")),
        ),
        (
            {"kind": "Pod", "spec": {"env": {"secretKeyRef": {"name": "a", "key": "b"}}}},
            Reference("Secret", "", "a", ("b",)),
        ),
    ],
)
def test_a_reference_is_known_by_its_shape(body: dict[str, Any], found: Reference) -> None:
    assert list(references(body)) == [found]


def test_what_may_be_missing_is_not_asked_for() -> None:
    volumes = [{"name": "x", "secret": {"secretName": "x", "optional": True}}]
    assert list(references({"kind": "Pod", "spec": {"volumes": volumes}})) == []


def test_a_replicas_login_is_nobodys_to_make() -> None:
    """CloudNativePG makes `<name>-app` where it makes the database, not where it copies one."""
    pod = {"metadata": {"namespace": "s"}, "spec": {"volumes": [{"secret": {"secretName": "db-app"}}]}}
    reader = Rendered("kubernetes:core/v1:Pod", "s/pod", "s", {"kind": "Pod", **pod})

    def cluster(bootstrap: str) -> Rendered:
        body = {"metadata": {"name": "db", "namespace": "s"}, "spec": {"bootstrap": {bootstrap: {"a": "b"}}}}
        return Rendered("kubernetes:postgresql.cnpg.io/v1:Cluster", "s/db", "s", {"kind": "Cluster", **body})

    assert inputs([reader, cluster("initdb")]) == ()
    assert inputs([reader, cluster("pg_basebackup")]) == (Missing("Secret", "s", "db-app", ()),)
