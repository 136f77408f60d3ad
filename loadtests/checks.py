"""One rule, what it measured and what it allows: the sentence a verdict is made of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

# Each bound is wrong at most this often: 95 % confidence. A run that may be extended is looked at several
# times, and each look gets its part (Bonferroni).
ALPHA = 0.05

State = Literal["kept", "broken", "unproved", "invalid", "noted"]


class Check(BaseModel):
    """`kept` and `broken` are proved. `unproved`: too little evidence. `invalid`: the run itself is none.
    `noted`: said, and decides nothing. `scope`: "all", a channel,
    one of its journeys (web/web-lead), or "generator".
    `enough`: of an unproved limit, about how many seconds in all would decide."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str
    scope: str
    state: State
    measured: float | None
    allowed: float | None
    sentence: str
    enough: float | None = None
