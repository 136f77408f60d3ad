"""Exceptions to policies: written down, with a reason and an end; an expired one excuses nothing."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from huidu.foundation.document import load_document
from infra.policies.policy import Finding

LONGEST = datetime.timedelta(days=366)
"""How far from today an exemption may end."""


class Exemption(BaseModel):
    """`resource`: as the refusal names it; `*` stands for any part of it. `until`: the last day it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    policy: str
    resource: str = Field(min_length=1)
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10)]
    until: datetime.date

    def covers(self, finding: Finding) -> bool:
        """Whether it is about that, expired or not."""
        return self.policy == finding.policy and fnmatchcase(finding.resource, self.resource)

    def whatever(self, zones: Iterable[str]) -> bool:
        """Whether it names nothing: it covers a part, a link, a resource of a zone, called anyhow."""
        anyhow = ("zz", "link zz -> zz", *(f"{zone}/Zz zz" for zone in zones))
        return any(fnmatchcase(name, self.resource) for name in anyhow)


class Exemptions(BaseModel):
    """A file of exemptions."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    exemptions: tuple[Exemption, ...]


def load_exemptions(path: Path | None) -> tuple[Exemption, ...]:
    """Those in the file, none without one. Raises ConfigError (file, line)."""
    return load_document(path, Exemptions).exemptions if path else ()
