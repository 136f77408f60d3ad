"""What leaves for other eyes than the core's and the touchpoints' is masked."""

from __future__ import annotations

from collections.abc import Sequence

from infra.policies.policy import Policy, Says
from infra.rendered import Rendered, containers_of
from infra.topology import Topology

EXPORT = "export"
"""The role of a link by which data leaves: for reports, analysts, another system."""
_LABEL = "huidu.dev/export"


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Exports, and whatever monitoring is sent; then workloads that say they export."""
    for link in topology.links:
        if link.masked or link.data in ("none", "operational"):
            continue
        ends = [topology.zones[topology.components[end].zone].kind for end in (link.source, link.target)]
        if link.role == EXPORT or link.role.startswith(f"{EXPORT}-") or "monitoring" in ends:
            where = f"link {link.source} -> {link.target}"
            yield where, f"hands on {link.data} data as it is", "masked: true, or data: operational"
    for resource in rendered:
        labels = resource.at("metadata", "labels") or {}
        if labels.get(_LABEL) != "true":
            continue
        for container in containers_of(resource):
            words = [*(container.get("command") or ()), *(container.get("args") or ())]
            if "--masked" not in words:
                what = f"container {container.get('name')} exports without masking"
                yield resource.label, what, "run it with --masked"


POLICY = Policy(
    name="masking",
    what="Exports of customers' data, and what monitoring keeps, are masked",
    why="a report is read by people who need no names",
    source="implementation guides, compliance: dynamic masking; access by need",
    check=check,
)
