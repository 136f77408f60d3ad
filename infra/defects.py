"""Defects of a release, for demonstrations: how each is written, and whose switch it is.

What they do stands with the programs that have them (docs/crm.md). Their forms stand here a second time,
since nobody imports the CRM: a defect that its program would refuse is refused before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from huidu.foundation.errors import UsageError

_NUMBER = r"\d+(?:\.\d+)?"
_PERCENT = rf"(?P<share>{_NUMBER})\s*%"


@dataclass(frozen=True, slots=True)
class Form:
    """How a defect is written: for the machine, and an example for people."""

    pattern: str
    example: str


TOUCHPOINTS: Mapping[str, Form] = {
    "errors": Form(rf"errors={_PERCENT}", "errors=5%"),
    "latency": Form(rf"latency=\+{_NUMBER}(ms|s)@{_PERCENT}", "latency=+800ms@20%"),
    "conversion": Form(rf"conversion=-{_PERCENT}", "conversion=-30%"),
    "locks": Form("locks", "locks"),
    "all": Form("all", "all"),
}
SYNCHRONISATION: Mapping[str, Form] = {"sync": Form(rf"sync=\+{_NUMBER}(ms|s|m)", "sync=+60s")}
_FORMS = {**TOUCHPOINTS, **SYNCHRONISATION}
EXAMPLES = ", ".join(form.example for form in _FORMS.values())


def checked(texts: Iterable[str]) -> tuple[str, ...]:
    """The defects as their programs accept them. Raises UsageError for one that they would refuse."""
    stripped = tuple(text.strip() for text in texts)
    for text in stripped:
        form = _FORMS.get(text.partition("=")[0])
        if form is None:
            raise UsageError(f"there is no defect {text!r}", remedy=f"one or more of {EXAMPLES}")
        found = re.fullmatch(form.pattern, text)
        if found is None:
            raise UsageError(f"{text!r} is no defect", remedy=f"it is written like {form.example}")
        if float(found.groupdict().get("share") or 0) > 100:
            raise UsageError(f"{text!r} is no defect: a share is at most 100 %")
    return stripped


def options(defects: Iterable[str], mine: Mapping[str, Form]) -> tuple[str, ...]:
    """The `--defect` options of the program whose switches `mine` are."""
    chosen = (defect for defect in defects if defect.partition("=")[0] in mine)
    return tuple(word for defect in chosen for word in ("--defect", defect))
