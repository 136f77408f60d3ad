"""Exceptions to policies: written down, with a reason and an end; an expired one excuses nothing."""

from __future__ import annotations

import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from huidu.foundation.document import load_document
from infra.policies.policy import Finding


class Exemption(BaseModel):
    """`resource`: as the refusal names it; `*` stands for any part of it. `until`: the last day it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    policy: str
    resource: str = Field(min_length=1)
    reason: str = Field(min_length=10)
    until: datetime.date

    def covers(self, finding: Finding) -> bool:
        """Whether it is about that, expired or not."""
        return self.policy == finding.policy and fnmatchcase(finding.resource, self.resource)


class Exemptions(BaseModel):
    """A file of exemptions."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    exemptions: tuple[Exemption, ...]


def load_exemptions(path: Path | None) -> tuple[Exemption, ...]:
    """Those in the file, none without one. Raises ConfigError (file, line)."""
    return load_document(path, Exemptions).exemptions if path else ()
