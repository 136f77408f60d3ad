"""What leaves for other eyes than the core's and the touchpoints' is masked."""

from __future__ import annotations

from collections.abc import Sequence

from infra.policies.classes import own
from infra.policies.policy import Policy, Says
from infra.rendered import Rendered, containers_of
from infra.topology import Topology

_LABEL = "huidu.dev/export"


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Whatever is handed on to others than the stack's own parts (exports, reports, feeds: whatever the role
    is called), and what monitoring is sent; then workloads that say they export."""
    for link in topology.links:
        if link.masked or link.data in ("none", "operational"):
            continue
        ends = [topology.zones[topology.components[end].zone].kind for end in (link.source, link.target)]
        if not own(topology, link) or "monitoring" in ends:
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
