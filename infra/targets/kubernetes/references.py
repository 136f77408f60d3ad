"""Which Secrets and ConfigMaps a manifest names, by the shapes in which Kubernetes and operators write such a
reference: who names one more need not say so here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_HOLDERS = {
    "secret": "Secret",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
    "configMap": "ConfigMap",
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
}
"""Keys of a pod's volumes and variables, and what stands below them."""
_LISTS = ("imagePullSecrets", "certificateRefs", "caCertificateRefs", "credentialRefs")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "imagePullSecrets": (".dockerconfigjson",),
    "certificateRefs": ("tls.crt", "tls.key"),
    "caCertificateRefs": ("ca.crt",),
    "credentialRefs": ("key",),
    "valueRef": ("jwks",),
}
"""What is read of it, where the reference itself does not say so."""
_OWN_SAY = ("metadata", "data", "binaryData", "stringData", "status")
_MAY_BE_MISSING = frozenset({("Alertmanager", "configSecret")})
"""Whoever reads it goes on without it: nobody is told then."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`kind`: Secret or ConfigMap. `namespace`: empty where it is that of who names it. `keys`: what is read
    of it, as far as that is known."""

    kind: str
    namespace: str
    name: str
    keys: tuple[str, ...] = ()


def references(body: Mapping[str, Any]) -> Iterator[Reference]:
    """What a manifest reads and cannot do without, in the order it stands there. Pure.

    Not what a Certificate or an issuer names: cert-manager makes the one, and holds the other.
    """
    if body.get("kind") in ("Certificate", "Issuer", "ClusterIssuer"):
        return
    for key, value in body.items():
        if key not in _OWN_SAY:
            yield from _below(str(body.get("kind")), key, value)


def _below(owner: str, key: str, value: Any) -> Iterator[Reference]:
    if isinstance(value, list | tuple):
        for each in value:
            yield from _below(owner, key, each)
    elif isinstance(value, Mapping):
        found = _named(key, value)
        if found is not None:
            if not value.get("optional"):
                yield found
            return
        for inner, each in value.items():
            yield from _below(owner, str(inner), each)
    elif isinstance(value, str) and value and (key.endswith("Secret") or key == "secretName"):
        yield from () if (owner, key) in _MAY_BE_MISSING else (Reference("Secret", "", value),)


def _named(key: str, value: Mapping[str, Any]) -> Reference | None:
    """What a mapping names that stands under `key`, or None where it is no reference."""
    name = value.get("name") or value.get("secretName")
    if not isinstance(name, str):
        return None
    space = str(value.get("namespace") or "")
    if value.get("kind") in ("Secret", "ConfigMap"):
        return Reference(str(value["kind"]), space, name, _KEYS.get(key, ()))
    if key in _HOLDERS:
        items = tuple(str(item["key"]) for item in value.get("items") or ())
        return Reference(_HOLDERS[key], space, name, (str(value["key"]),) if "key" in value else items)
    if value.keys() == {"name", "key"}:  # as operators write it: Cluster, ObjectStore, Prometheus
        return Reference("Secret", space, name, (str(value["key"]),))
    if "kind" not in value and (key in _LISTS or key.endswith(("Secret", "CertificateRef"))):
        return Reference("Secret", space, name, _KEYS.get(key, ()))
    return None
