"""Markdown -> draft: where the steps stand and what is written there. Knows no rules: check.py does.

A step is a fenced block whose first line says `step=ID`, under a heading, followed by a list of
`Key: value` items. Everything else is prose. Line numbers count from 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

_KEY = re.compile(r"\s*([A-Za-z][A-Za-z -]*?)\s*:\s*")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a reader has to put right: line, what is wrong, what was expected there."""

    line: int
    what: str
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One `Key: value` of the list: `text` is the value as written, `code` its `code spans` in order."""

    line: int
    key: str
    text: str
    code: tuple[str, ...]
    plain: str
    """The value without its code spans: the words between them."""


@dataclass(slots=True)
class Block:
    """One fenced block that claims to be a step."""

    line: int
    attributes: dict[str, str]
    title: str
    commands: tuple[tuple[int, str], ...]
    items: list[Item] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A runbook as written; `problems` are those of the form itself."""

    title: str = ""
    about: str = ""
    blocks: list[Block] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def parse(text: str) -> Draft:
    """Any text gives a draft; what cannot be understood stands in its problems."""
    draft = Draft()
    tokens = MarkdownIt("commonmark").parse(text)
    heading, listing = "", None
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = tokens[index + 1].content
            if not draft.title and token.tag == "h1":
                draft.title, heading = heading, ""
        elif token.type == "paragraph_open" and token.level == 0 and not draft.about and not draft.blocks:
            draft.about = " ".join(tokens[index + 1].content.split())
        elif token.type == "fence":
            block = _block(token, heading, draft.problems)
            if block is not None:
                draft.blocks.append(block)
                listing = _list_after(tokens, index)
        elif listing is not None and index == listing[0]:
            _items(tokens[listing[0] : listing[1]], draft.blocks[-1], draft.problems)
            listing = None
    return draft


def _first_line(token: Token) -> int:
    return 1 + (token.map[0] if token.map else 0)


def _block(token: Token, heading: str, problems: list[Problem]) -> Block | None:
    """The step that this fence is; None for an example, which has no `word=value` in its first line."""
    line = _first_line(token)
    words = token.info.split()[1:] if "=" not in token.info.split(" ")[0] else token.info.split()
    if not any("=" in word for word in words):
        return None
    attributes: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key != "step" or not equals or not value or key in attributes:
            problems.append(Problem(line, f"unknown attribute {word!r} of a block", "```sh step=ID"))
        else:
            attributes[key] = value
    return Block(line, attributes, heading, tuple(_command_lines(token.content, line + 1)))


def _command_lines(content: str, line: int) -> list[tuple[int, str]]:
    """The commands of a block, one per line; a backslash at the end continues on the next line."""
    commands: list[tuple[int, str]] = []
    pending, begun = "", line
    for offset, text in enumerate(content.split("\n")):
        stripped = text.strip()
        if not pending:
            begun = line + offset
        if stripped.endswith("\\"):
            pending += stripped[:-1].rstrip() + " "
            continue
        whole = (pending + stripped).strip()
        pending = ""
        if whole and not whole.startswith("#"):
            commands.append((begun, whole))
    if pending.strip():
        commands.append((begun, pending.strip()))
    return commands


def _list_after(tokens: list[Token], fence: int) -> tuple[int, int] | None:
    """Where the list directly after the block begins and ends."""
    start = fence + 1
    if start >= len(tokens) or tokens[start].type != "bullet_list_open":
        return None
    level = tokens[start].level
    for index in range(start + 1, len(tokens)):
        if tokens[index].type == "bullet_list_close" and tokens[index].level == level:
            return start, index
    return None


def _items(tokens: list[Token], block: Block, problems: list[Problem]) -> None:
    base = tokens[0].level
    for index, token in enumerate(tokens):
        if token.type != "list_item_open" or token.level != base + 1:
            continue
        line = _first_line(token)
        inline = next((each for each in tokens[index : index + 3] if each.type == "inline"), None)
        item = None if inline is None else _item(inline, line)
        if item is None:
            problems.append(Problem(line, "an item of a step's list has no key", "Key: value"))
        else:
            block.items.append(item)


def _item(inline: Token, line: int) -> Item | None:
    children = inline.children or []
    content = " ".join(inline.content.split())
    match = _KEY.match(content)
    if match is None or not children or children[0].type != "text":
        return None
    code = tuple(child.content for child in children if child.type == "code_inline")
    words = "".join(" " if "break" in child.type else child.content for child in children if _is_text(child))
    plain = " ".join(words.split())
    plain = plain[len(match.group(1)) :].lstrip(" :")
    return Item(line, match.group(1).strip().lower(), content[match.end() :].strip(), code, plain)


def _is_text(token: Token) -> bool:
    return token.type == "text" or "break" in token.type
