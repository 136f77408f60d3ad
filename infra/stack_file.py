"""stack.json: the one file other rooms know of a stack."""

from __future__ import annotations

from huidu.foundation.workspace import Workspace
from huidu.model.stack import Component, Customers, Link, Releases, Stack
from infra.desired import Desired
from infra.targets.protocol import Description
from infra.topology import Arm


def compose(desired: Desired, target: str, description: Description) -> Stack:
    """What was wanted and where the target put it, as one document."""
    topology = desired.topology
    standing = description.components
    return Stack(
        name=topology.name,
        target=target,
        created=desired.created,
        edge=description.edge,
        cohorts=dict(description.cohorts),
        prometheus=description.prometheus,
        core=description.core,
        tokens=description.tokens,
        customers=Customers(count=topology.customers.count, high=topology.customers.high),
        releases=Releases(
            stable=desired.stable.version,
            candidate=_version(desired, "candidate"),
            baseline=_version(desired, "baseline"),
        ),
        components=tuple(
            Component(
                name=name,
                zone=topology.components[name].zone,
                kind=topology.components[name].kind,
                address=address,
                version=version,
                about=topology.components[name].about,
            )
            for name, (address, version) in standing.items()
        ),
        links=tuple(
            Link(source=each.source, target=each.target, label=each.label)
            for each in topology.links
            if each.source in standing and each.target in standing
        ),
        generators=description.generators,
    )


def _version(desired: Desired, arm: Arm) -> str | None:
    release = desired.release(arm)
    return release.version if release else None


def write(workspace: Workspace, stack: Stack) -> None:
    """Replace the file in one piece."""
    stack.write(workspace.stack_file)


def remove(workspace: Workspace) -> None:
    """No stack stands here any more."""
    workspace.stack_file.unlink(missing_ok=True)
