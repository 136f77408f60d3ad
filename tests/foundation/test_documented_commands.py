"""Every command that the documents name exists, with every option they give it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from huidu.cli import huidu

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES += sorted(ROOT.glob("runbooks/*.md"))
_ENDS = re.compile(r"\s#|[|;`]|&&|\s&|\s>|\\$|  +[a-zé]")


def _commands(text: str) -> Iterator[tuple[int, str]]:
    """(line, what follows `huidu`): in code that stands indented, fenced, or between backticks."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            if found := re.match(r"\s*(?:[-$] )?(?:!?\s*)huidu (?=[a-z-])", line):
                yield number, _ENDS.split(line[found.end() :])[0]
        else:
            for each in re.findall(r"`huidu ([a-z-][^`]*)`", line):
                yield number, _ENDS.split(each)[0]


def _wrong(words: list[str]) -> str:
    """What of a command line does not exist, "" where all does."""
    command: click.Command = huidu
    context = click.Context(huidu)
    while isinstance(command, click.Group) and words and not words[0].startswith(("-", "[")):
        inner = command.get_command(context, words[0])
        if inner is None:
            return "" if words[0].isupper() or "|" in words[0] else f"no command {words[0]!r}"
        command, words = inner, words[1:]
    known = {opt for each in command.params for opt in each.opts} | {"--help", "-h", "--version"}
    given = [re.sub(r"[=\]),.:].*", "", word.lstrip("[(")) for word in words]
    lost = [each for each in given if each.startswith("--") and len(each) > 2 and each not in known]
    return f"{command.name}: no option {', '.join(lost)}" if lost else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_documented_command_and_option_exists(page: Path) -> None:
    found = [
        f"{page.name}:{number}: huidu {said}: {wrong}"
        for number, said in _commands(page.read_text(encoding="utf-8"))
        if (wrong := _wrong(said.split()))
    ]
    assert not found, "\n".join(found)


def test_the_documents_are_full_of_commands_and_a_wrong_one_is_seen() -> None:
    number = sum(1 for page in PAGES for _ in _commands(page.read_text(encoding="utf-8")))
    assert number > 200
    assert _wrong(["load", "verfy", "demo"]) and _wrong(["load", "verify", "demo", "--hots", "x"])
    assert not _wrong(["gate", "[--load", "RUN]", "[--junit", "FILE]"])
