"""All policies over one stack: what is against them, what is excused, and the refusal."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.errors import ConfigError, UsageError
from infra.policies import (
    availability,
    backups,
    classes,
    encryption,
    exposure,
    known,
    masking,
    residency,
    sizing,
    tls,
)
from infra.policies.exemption import LONGEST, Exemption, load_exemptions
from infra.policies.policy import Finding, Policy
from infra.rendered import Rendered
from infra.topology import Topology

POLICIES: tuple[Policy, ...] = (
    residency.POLICY,
    tls.POLICY,
    sizing.POLICY,
    exposure.POLICY,
    encryption.POLICY,
    backups.POLICY,
    availability.POLICY,
    masking.POLICY,
    classes.POLICY,
    known.POLICY,
)


@dataclass(frozen=True, slots=True)
class Judged:
    """`refused`: with what is to be said beside it (an expired exemption); `excused`: by which exemption;
    `idle`: exemptions that nothing needs any more."""

    refused: tuple[tuple[Finding, str], ...]
    excused: tuple[tuple[Finding, Exemption], ...]
    idle: tuple[Exemption, ...]

    def notes(self) -> tuple[str, ...]:
        """What a person should hear although nothing is refused."""
        excused = (f"excused until {by.until} ({by.reason}): {finding}" for finding, by in self.excused)
        idle = (f"no longer needed: {each.resource}'s exemption from {each.policy}" for each in self.idle)
        return (*excused, *idle)


class PolicyRefused(UsageError):
    """The stack is against a policy; nothing was changed."""

    def __init__(self, judged: Judged) -> None:
        lines = [f"{finding}{f'; {beside}' if beside else ''}" for finding, beside in judged.refused]
        count = f"{len(lines)} things are" if len(lines) > 1 else "one thing is"
        super().__init__(
            f"{count} against policy, nothing was changed\n" + "\n".join(f"  - {line}" for line in lines),
            remedy="mend each, or write an exemption with a reason and an end date (docs/infra.md)",
        )
        self.judged = judged


def judge(
    topology: Topology,
    rendered: Sequence[Rendered],
    exemptions: Sequence[Exemption],
    today: datetime.date,
) -> Judged:
    """Every policy over the topology and what a target would make of it. Pure."""
    found = [each for policy in POLICIES for each in policy.findings(topology, rendered)]
    refused, excused = [], []
    for finding in found:
        covering = [each for each in exemptions if each.covers(finding)]
        holding = next((each for each in covering if today <= each.until), None)
        if holding is not None:
            excused.append((finding, holding))
        else:
            ended = max((each.until for each in covering), default=None)
            refused.append((finding, f"its exemption ended on {ended}" if ended else ""))
    idle = tuple(each for each in exemptions if not any(each.covers(finding) for finding in found))
    return Judged(tuple(refused), tuple(excused), idle)


def refuse(
    topology: Topology, rendered: Sequence[Rendered], exemptions: Path | None, today: datetime.date
) -> Judged:
    """`judge` with a file of exemptions. Raises PolicyRefused, and ConfigError where the file is wrong."""
    written = load_exemptions(exemptions)
    names = {policy.name for policy in POLICIES}
    for each in written:
        if each.policy not in names:
            raise ConfigError(
                f"unknown policy {each.policy!r}",
                file=exemptions,
                expected=f"one of {', '.join(sorted(names))}",
            )
        if each.whatever(topology.zones):
            raise ConfigError(
                f"{each.resource!r} excuses whatever there is, and whatever comes",
                file=exemptions,
                expected="a resource as the refusal names it; * for a part of its name",
            )
        if each.until > today + LONGEST:
            raise ConfigError(
                f"{each.resource}'s exemption from {each.policy} ends on {each.until}",
                file=exemptions,
                expected=f"{today + LONGEST} at the latest: to be looked at again once a year",
            )
    judged = judge(topology, rendered, written, today)
    if judged.refused:
        raise PolicyRefused(judged)
    return judged
