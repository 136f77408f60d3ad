"""A path as an option of a command. An empty one is what an unset variable in a script leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from huidu.foundation.errors import UsageError


class PathOption(click.Path):
    """As click's, but `''` is refused: it would mean the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A Path. Raises UsageError, click.BadParameter."""
        if value == "":
            name = param.opts[0] if param else "the path"
            raise UsageError(f"{name} is empty", remedy="give a path; the current folder is `.`")
        return super().convert(value, param, ctx)


PATH = PathOption()
