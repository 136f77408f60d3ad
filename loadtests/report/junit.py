"""JUnit XML for CI: one case per rule and scope. Broken is a failure, no evidence an error, never a pass."""

from __future__ import annotations

import re
from xml.etree import ElementTree as XML

from loadtests.summary import Summary

# What XML 1.0 cannot hold.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(summary: Summary) -> str:
    """The document. The case `verdict` carries the run's word, so that no reader sees green on INVALID."""
    suite = XML.Element("testsuite", name=_text(f"huidu load {summary.kind}: {summary.profile}"))
    suite.set("timestamp", summary.started)
    suite.set("time", f"{summary.duration:g}")
    _case(suite, "run", "verdict", _VERDICTS[summary.verdict], "; ".join(summary.reasons[:5]))
    for check in summary.checks:
        _case(suite, check.scope, check.rule, _STATES[check.state], check.sentence)
    for kind in ("failure", "error", "skipped"):
        number = len(suite.findall(f"testcase/{kind}"))
        suite.set({"failure": "failures", "error": "errors"}.get(kind, kind), str(number))
    suite.set("tests", str(len(suite.findall("testcase"))))
    root = XML.Element("testsuites")
    root.append(suite)
    XML.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + XML.tostring(root, encoding="unicode") + "\n"


_VERDICTS = {"PASS": "", "FAIL": "failure", "INVALID": "error"}
_STATES = {"kept": "", "broken": "failure", "unproved": "error", "invalid": "error", "noted": "skipped"}


def _case(suite: XML.Element, scope: str, rule: str, outcome: str, sentence: str) -> None:
    case = XML.SubElement(suite, "testcase", classname=_text(f"load.{scope}"), name=_text(rule))
    if outcome:
        XML.SubElement(case, outcome, message=_text(sentence))
    else:
        XML.SubElement(case, "system-out").text = _text(sentence)


def _text(value: str) -> str:
    return _FORBIDDEN.sub("?", value)
