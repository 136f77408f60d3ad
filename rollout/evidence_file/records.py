"""What a file holds, once it was understood. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from huidu.model.evidence import Interval

VERSION = 1


@dataclass(frozen=True, slots=True)
class Header:
    """What it was judged with: hash of the plan's text, version of the judge, dispersion per gate, and the
    strata that were compared, those without any request too: how many there are is part of the bet.
    `level`: of a service gate, the rate before the release. `baseline`: whom the candidate was compared with,
    "stable" or "fresh" ("" where nobody said)."""

    plan: str = ""
    judge: str = ""
    dispersion: Mapping[str, float] = field(default_factory=dict)
    strata: tuple[str, ...] = ()
    baseline: str = ""
    level: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mark:
    """The share was changed at `t` (Unix seconds): "since the last step" begins again."""

    t: float
    share: float


@dataclass(frozen=True, slots=True)
class Recording:
    """A file that was understood; `records` in the order of the file, `lines` where each of them stands."""

    header: Header | None
    records: tuple[Interval | Mark, ...]
    lines: tuple[int, ...] = ()

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """The evidence alone."""
        return tuple(record for record in self.records if isinstance(record, Interval))
