"""The Pulumi program: a topology becomes resources, one per component, in order, through a target."""

from __future__ import annotations

from collections.abc import Callable

import pulumi

from infra.desired import Desired
from infra.targets.protocol import Target


def program(desired: Desired, target: Target) -> Callable[[], None]:
    """The inline program for the Automation API (and for Pulumi's mocks)."""

    def run() -> None:
        target.declare_whole()
        declared: dict[str, pulumi.Resource] = {}
        for name in desired.standing():
            after = [declared[each] for each in desired.topology.components[name].after if each in declared]
            declared[name] = target.declare(name, after)
        pulumi.export("topology", desired.topology.name)
        pulumi.export("target", target.name)
        pulumi.export("stable", desired.stable.version)
        for arm in ("candidate", "baseline"):
            release = desired.release(arm)
            pulumi.export(arm, release.version if release else None)

    return run
