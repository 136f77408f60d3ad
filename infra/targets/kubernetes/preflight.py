"""What stands in the way on the clusters, said before anything is changed: operators, rights, Secrets."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huidu.foundation.errors import UsageError
from infra.rendered import Rendered
from infra.targets.kubernetes.cluster import Cluster, Kind
from infra.targets.kubernetes.place import Given, Place
from infra.targets.kubernetes.references import references

OPERATORS: Mapping[str, str] = {
    "gateway.networking.k8s.io": "the Gateway API 1.4 (standard channel)",
    "gateway.envoyproxy.io": "Envoy Gateway 1.6",
    "postgresql.cnpg.io": "CloudNativePG 1.27",
    "barmancloud.cnpg.io": "CloudNativePG's Barman Cloud plugin",
    "monitoring.coreos.com": "the Prometheus operator",
    "cert-manager.io": "cert-manager 1.18",
}
"""Who brings which kinds. Install them before the stack (docs/infra.md)."""
_EVERYWHERE = "kube-root-ca.crt"
"""The ConfigMap that Kubernetes itself keeps in each namespace."""
_STORAGE = ("storage.k8s.io/v1", "storageclasses", ("storageClass", "storageClassName"))
_GATEWAYS = ("gateway.networking.k8s.io/v1", "gatewayclasses", ("gatewayClassName",))
_CLASSES = (
    ("storage class", "databases.storage_class", *_STORAGE),
    ("gateway class", "edge.gateway_class", *_GATEWAYS),
)
"""As people and the settings call it; where the cluster has it, and which keys of a resource name it."""
_VERBS = ("create", "patch", "delete")
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Missing:
    """A Secret or ConfigMap that is waited for and that nothing of the stack makes."""

    kind: str
    namespace: str
    name: str
    keys: tuple[str, ...]

    @property
    def command(self) -> str:
        """How it is made by hand."""
        make = "secret generic" if self.kind == "Secret" else "configmap"
        files = " ".join(f"--from-file={key}=FILE" for key in self.keys) or "--from-file=KEY=FILE"
        # The kubelet takes a registry's password from a Secret of this type alone.
        pulls = " --type=kubernetes.io/dockerconfigjson" if ".dockerconfigjson" in self.keys else ""
        return f"kubectl -n {self.namespace} create {make} {self.name}{pulls} {files}"


def run(place: Place, rendered: Sequence[Rendered]) -> dict[Given, str]:
    """Every context the zones stand on; the versions of what people gave. Raises ConfigError, Unreachable,
    UsageError."""
    versions: dict[Given, str] = {}
    for context, zones in contexts(place).items():
        cluster = Cluster(place.settings.kubeconfig, context)
        mine = [each for each in rendered if each.zone in zones]
        cluster.reachable()
        _operators(cluster, mine)
        _classes(cluster, mine)
        _permissions(cluster, mine)
        _namespaces(cluster, mine)
        versions |= _inputs(cluster, mine)
    return versions


def contexts(place: Place) -> dict[str, list[str]]:
    """The zones of each context."""
    found: dict[str, list[str]] = {}
    for zone in place.topology.zones:
        found.setdefault(place.zone(zone).context, []).append(zone)
    return found


def _operators(cluster: Cluster, rendered: Iterable[Rendered]) -> None:
    needed = sorted({(str(each.body["apiVersion"]), each.kind) for each in rendered})
    unknown = [(api, kind) for api, kind in needed if cluster.kind(api, kind) is None]
    if unknown:
        groups = sorted({api.rpartition("/")[0] for api, _ in unknown})
        said = ", ".join(f"{kind} ({api})" for api, kind in unknown)
        install = "; ".join(OPERATORS.get(group, f"what brings {group or 'v1'}") for group in groups)
        raise UsageError(
            f"the cluster does not know {said}", where=cluster.name, remedy=f"install first: {install}"
        )


def _classes(cluster: Cluster, rendered: Iterable[Rendered]) -> None:
    """Storage and gateways of a class that the cluster does not have would be waited for in vain."""
    said, remedies = [], []
    for called, setting, api, plural, keys in _CLASSES:
        named = sorted({name for each in rendered for name in _values(each.body, keys)})
        there = cluster.names(api, plural)
        missing = [name for name in named if name not in there]
        if missing:
            said.append(f"no {called} {', '.join(missing)}")
            others = f", or name another in the settings, {setting}: " + " or ".join(sorted(there))
            remedies.append(f"make the {called}{others if there else ''}")
    if said:
        raise UsageError(f"there is {' and '.join(said)}", where=cluster.name, remedy="\n  ".join(remedies))


def _namespaces(cluster: Cluster, rendered: Sequence[Rendered]) -> None:
    """Operators' own namespaces, where something of the stack lies beside them."""
    made = {str(each.at("metadata", "name")) for each in rendered if each.kind == "Namespace"}
    named = {str(each.at("metadata", "namespace")) for each in rendered if each.at("metadata", "namespace")}
    missing = [name for name in sorted(named - made) if not cluster.namespace(name)]
    if missing:
        raise UsageError(
            f"there is no namespace {', '.join(missing)}",
            where=cluster.name,
            remedy="install cert-manager, or name its namespace in the settings, "
            "certificates.cert_manager_namespace",
        )


def _values(value: Any, keys: Sequence[str]) -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in keys and isinstance(inner, str):
                yield inner
            else:
                yield from _values(inner, keys)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _values(inner, keys)


def _permissions(cluster: Cluster, rendered: Iterable[Rendered]) -> None:
    asked: set[tuple[str, Kind, str]] = set()
    for each in rendered:
        kind = cluster.kind(str(each.body["apiVersion"]), each.kind)
        if kind is not None:
            namespace = str(each.at("metadata", "namespace") or "")
            asked |= {(verb, kind, namespace) for verb in _VERBS}
    questions = sorted(asked, key=str)
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda question: cluster.may(*question), questions))
    refused = [question for question, may in zip(questions, answers, strict=True) if not may]
    if refused:
        places: dict[str, set[str]] = {}
        for verb, kind, namespace in refused:
            where = f" in {namespace}" if namespace else ""
            places.setdefault(f"{kind.plural}{where}", set()).add(verb)
        said = [f"{'/'.join(sorted(verbs))} {what}" for what, verbs in sorted(places.items())]
        more = f" and {len(said) - 5} more" if len(said) > 5 else ""
        raise UsageError(
            f"{cluster.user} may not {', '.join(said[:5])}{more}",
            where=cluster.name,
            remedy="use an account that may, or have these rights given to it; what they are for: "
            "`huidu stack render --target kubernetes --out DIR`",
        )


def _inputs(cluster: Cluster, rendered: Sequence[Rendered]) -> dict[Given, str]:
    asked = {each: cluster.version(each.kind, each.namespace, each.name) for each in inputs(rendered)}
    missing = [each for each, version in asked.items() if version is None]
    if missing:
        named = ", ".join(f"{each.kind} {each.namespace}/{each.name}" for each in missing)
        spaces = sorted({each.namespace for each in missing})
        commands = [f"kubectl create namespace {space}  # where it is not there yet" for space in spaces]
        commands += [each.command for each in missing]
        raise UsageError(
            f"the stack would wait for what only you can give: {named}",
            where=cluster.name,
            remedy="\n  ".join(commands),
        )
    return {(each.kind, each.namespace, each.name): version for each, version in asked.items() if version}


def inputs(rendered: Sequence[Rendered]) -> tuple[Missing, ...]:
    """Secrets and ConfigMaps that are read and not made by the stack or an operator of its. Pure."""
    made = {(kind, space, name) for each in rendered for kind, space, name in _made(each)}
    read: dict[tuple[str, str, str], set[str]] = {}
    for each in rendered:
        space = str(each.at("metadata", "namespace") or "")
        for found in references(each.body):
            named = (found.kind, found.namespace or space, found.name)
            if named not in made and found.name != _EVERYWHERE:
                read.setdefault(named, set()).update(found.keys)
    return tuple(Missing(*place, tuple(sorted(keys))) for place, keys in sorted(read.items()))


def _made(each: Rendered) -> Iterable[tuple[str, str, str]]:
    space = str(each.at("metadata", "namespace") or "")
    name = str(each.at("metadata", "name"))
    if each.kind in ("Secret", "ConfigMap"):
        yield each.kind, space, name
    elif each.kind == "Certificate":
        yield "Secret", space, str(each.at("spec", "secretName"))
    elif each.kind == "Cluster" and each.at("spec", "bootstrap", "initdb"):
        yield "Secret", space, f"{name}-app"
