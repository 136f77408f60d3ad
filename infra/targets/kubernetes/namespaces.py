"""A namespace for each zone, in which only pods run that Kubernetes' strictest profile admits."""

from __future__ import annotations

from infra.targets.kubernetes.place import Place

_PROFILE = "restricted"


def declare(place: Place) -> None:
    """Every zone's namespace; everything else of a zone waits for it."""
    for name, zone in place.topology.zones.items():
        labels = {f"pod-security.kubernetes.io/{mode}": _PROFILE for mode in ("enforce", "audit", "warn")}
        about = {"huidu/zone": name, "huidu/exposure": zone.kind}
        place.put(
            name,
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": place.namespace(name), "labels": labels | about},
            },
        )
