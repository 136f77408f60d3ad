"""A summary for a pull request: the word, why, and the numbers by channel."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loadtests.summary import Summary

_MOST_REASONS = 8
_SIGNS = {"PASS": "✅", "FAIL": "❌", "INVALID": "⚠️"}


def markdown(summary: Summary, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The text. `headers`, `rows`: the table by channel."""
    lines = [f"### {_SIGNS[summary.verdict]} Load {summary.kind}: {summary.verdict}", ""]
    lines += [f"- {_plain(reason)}" for reason in summary.reasons[:_MOST_REASONS]]
    if len(summary.reasons) > _MOST_REASONS:
        lines.append(f"- and {len(summary.reasons) - _MOST_REASONS} more, in the report")
    lines += ["", _row(headers), _row(["---", *["---:"] * (len(headers) - 1)])]
    lines += [_row([_plain(cell) for cell in row]) for row in rows]
    if summary.failures:
        lines += ["", "Why visits failed:", ""]
        lines += [
            f"- {each.number} x {_plain(f'{each.channel}, {each.step or each.journey}: {each.reason}')}"
            for each in summary.failures[:5]
        ]
    facts = f"{summary.host}, {summary.profile}, {summary.duration:g} s from {summary.started}"
    return "\n".join([*lines, "", f"<sub>{_plain(facts)}</sub>", ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """What a server answered must not become markup: no tags, no links, no new lines, no cells."""
    return re.sub(r"([\\`*_\[\]<>|#@])", r"\\\1", text.replace("\n", " ").replace("\r", " "))
