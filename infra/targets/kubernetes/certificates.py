"""Certificates by cert-manager: the public name's, and those with which parts of the stack know each other.

One authority for all zones. Where they stand on one cluster the stack makes it itself; where they stand on
several, the settings name an issuer that is on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from huidu.foundation.errors import ConfigError
from infra.targets.kubernetes.place import Manifest, Place

_API = "cert-manager.io/v1"
_DAYS_90, _DAYS_30, _YEARS_5 = "2160h", "720h", "43800h"


def declare(place: Place) -> None:
    """The stack's own authority. Raises ConfigError where zones on several clusters have none in common."""
    if place.settings.certificates.internal_issuer:
        return
    zones = tuple(place.topology.zones)
    if not all(place.together(zones[0], zone) for zone in zones):
        raise ConfigError(
            "zones stand on different clusters and know no authority in common",
            expected="certificates: {internal_issuer: a ClusterIssuer that is on all of them}",
        )
    zone, name = zones[0], _authority(place)
    namespace = place.settings.certificates.cert_manager_namespace
    place.put(zone, _issuer(f"{name}-root", {"selfSigned": {}}))
    certificate: Manifest = {
        "apiVersion": _API,
        "kind": "Certificate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "isCA": True,
            "commonName": f"{place.topology.name} authority",
            "secretName": name,
            "duration": _YEARS_5,
            # Renewed, it is the same authority: with another key, what it signs next would be refused by
            # whoever still has the certificate of before (cert-manager 1.18 makes a new key by default).
            "privateKey": _key() | {"rotationPolicy": "Never"},
            "issuerRef": _reference(f"{name}-root", "ClusterIssuer"),
        },
    }
    place.put(zone, certificate)
    place.put(zone, _issuer(name, {"ca": {"secretName": name}}))


def public(place: Place, zone: str, name: str, hosts: Sequence[str]) -> pulumi.Resource:
    """The certificate customers see, by the issuer of the settings or else by the stack's own authority."""
    chosen = place.settings.certificates
    reference = _reference(chosen.issuer, chosen.issuer_kind) if chosen.issuer else _internal(place)
    return place.put(zone, _leaf(name, hosts, ["server auth"], reference), name)


def leaf(
    place: Place,
    zone: str,
    name: str,
    hosts: Sequence[str],
    server: bool,
    labels: Mapping[str, str] | None = None,
) -> pulumi.Resource:
    """A certificate by which one part of the stack knows another.

    The Secret of the same name holds tls.crt, tls.key and the authority's ca.crt. `server`: for who is
    called, else for who calls. `labels`: of the Secret, for an operator that watches it.
    """
    usage = "server auth" if server else "client auth"
    manifest = _leaf(name, hosts, [usage], _internal(place))
    if labels:
        manifest["spec"]["secretTemplate"] = {"labels": dict(labels)}
    return place.put(zone, manifest, name)


def login(place: Place, zone: str, name: str, user: str, labels: Mapping[str, str]) -> pulumi.Resource:
    """A certificate with which a database lets in `user`, in a Secret as `leaf` makes it."""
    manifest = _leaf(name, (), ["client auth"], _internal(place), user)
    manifest["spec"]["secretTemplate"] = {"labels": dict(labels)}
    return place.put(zone, manifest, name)


def _leaf(
    name: str, hosts: Sequence[str], usages: Sequence[str], reference: Manifest, common_name: str = ""
) -> Manifest:
    return {
        "apiVersion": _API,
        "kind": "Certificate",
        "metadata": {"name": name},
        "spec": {
            "secretName": name,
            "commonName": common_name or hosts[0][:64],
            **({"dnsNames": list(hosts)} if hosts else {}),
            "duration": _DAYS_90,
            "renewBefore": _DAYS_30,
            "usages": ["digital signature", "key encipherment", *usages],
            "privateKey": _key() | {"rotationPolicy": "Always"},
            "issuerRef": reference,
        },
    }


def _key() -> Manifest:
    return {"algorithm": "ECDSA", "size": 256}


def _issuer(name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": _API, "kind": "ClusterIssuer", "metadata": {"name": name}, "spec": spec}


def _internal(place: Place) -> Manifest:
    return _reference(
        place.settings.certificates.internal_issuer or _authority(place),
        "ClusterIssuer",
    )


def _authority(place: Place) -> str:
    return f"{place.topology.name}-authority"


def _reference(name: str, kind: str) -> Manifest:
    return {"group": "cert-manager.io", "kind": kind, "name": name}
