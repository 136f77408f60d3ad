"""Findings as JUnit XML, the dialect that GitHub's actions, GitLab and Jenkins read. Pure.

Proved bad is a `failure`; held and not evidence are an `error` (nobody was proved wrong, and nothing was
proved right); what decides nothing is `skipped`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from huidu.foundation.outcome import Outcome
from rollout.gate.findings import Finding

_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (section 2.2), not even escaped."""


def junit(findings: Sequence[Finding]) -> str:
    """One test suite per subject, one test case per finding."""
    suites = []
    for subject in dict.fromkeys(finding.subject for finding in findings):
        cases = [finding for finding in findings if finding.subject == subject]
        suites.append(
            f"<testsuite name={_attribute('huidu ' + subject)} {_counts(cases)} "
            f'time="{sum(case.seconds for case in cases):.3f}">\n'
            + "".join(_case(case) for case in cases)
            + "</testsuite>\n"
        )
    body = "".join(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {_counts(findings)}>\n{body}</testsuites>\n'


def _counts(cases: Sequence[Finding]) -> str:
    failures = sum(case.outcome is Outcome.BAD for case in cases)
    errors = sum(case.outcome in (Outcome.HELD, Outcome.NOT_EVIDENCE, Outcome.USAGE) for case in cases)
    skipped = sum(case.outcome is None for case in cases)
    return f'tests="{len(cases)}" failures="{failures}" errors="{errors}" skipped="{skipped}"'


def _case(case: Finding) -> str:
    start = (
        f"<testcase classname={_attribute('huidu.' + case.subject.replace(' ', '.'))} "
        f'name={_attribute(case.name)} time="{case.seconds:.3f}">'
    )
    message = _attribute(case.sentence)
    if case.outcome is Outcome.GOOD:
        return f"{start}<system-out>{escape(_legal(case.sentence))}</system-out></testcase>\n"
    if case.outcome is None:
        return f"{start}<skipped message={message}/></testcase>\n"
    tag, kind = ("failure", "bad") if case.outcome is Outcome.BAD else ("error", case.outcome.name.lower())
    return f'{start}<{tag} type="{kind}" message={message}/></testcase>\n'


def _attribute(text: str) -> str:
    return quoteattr(_legal(text))


def _legal(text: str) -> str:
    return _UNSPEAKABLE.sub("\N{REPLACEMENT CHARACTER}", text)
