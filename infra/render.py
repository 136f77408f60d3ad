"""What the program would ask for, without an engine, a cluster, a provider or credentials.

The program runs against Pulumi's mocks, in this process; each resource's inputs are what is rendered. For
Kubernetes that is the manifest itself; for a cloud the resource's type and its inputs.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import yaml

from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.workspace import write_atomic

KUBERNETES = "kubernetes:"
_MARK = ".huidu-render"
"""Lies in a folder that `write` filled, so that it may be filled again."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One resource.

    `group`: the provider it goes to (on Kubernetes one for each zone). `type`: Pulumi's token. `document`:
    the manifest, or for a cloud `{"type": token, "name": name, "inputs": inputs}`.
    """

    group: str
    type: str
    name: str
    document: dict[str, Any]

    @property
    def path(self) -> str:
        """Where it lies below the folder it is rendered to: `<zone>/<kind>-<name>.yaml`."""
        kind = self.document.get("kind") or self.type.rpartition(":")[2]
        name = self.document.get("metadata", {}).get("name", self.name)
        return f"{self.group}/{kind.lower()}-{re.sub('[^A-Za-z0-9._-]+', '-', name)}.yaml"


class _Listener(pulumi.runtime.Mocks):
    """Stands where the engine would: takes every resource's inputs and gives them back as its state."""

    def __init__(self) -> None:
        self.asked: list[Rendered] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        inputs = _whole(args.inputs)
        if args.custom and not args.typ.startswith("pulumi:"):
            group = (args.provider or "").rsplit("::", 2)[-2] if args.provider else args.typ.split(":")[0]
            manifest = args.typ.startswith(KUBERNETES)
            document = inputs if manifest else {"type": args.typ, "name": args.name, "inputs": inputs}
            self.asked.append(Rendered(group, args.typ, args.name, document))
        return f"{args.name}-id", args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise UsageError(f"rendering asks nobody, and the program called {args.token}")


def render(program: Callable[[], None]) -> tuple[Rendered, ...]:
    """Every resource the program declares, in the order of their paths. Raises what the program raises."""
    listener = _Listener()

    def run() -> None:
        pulumi.runtime.set_mocks(listener, preview=False)
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]

    # Pulumi's settings are context variables: this run's are gone afterwards.
    quiet = logging.getLogger("pulumi")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        contextvars.copy_context().run(run)
    finally:
        quiet.setLevel(level)
    rendered = sorted(listener.asked, key=lambda each: each.path)
    twice = [one.path for one, next in itertools.pairwise(rendered) if one.path == next.path]
    if twice:
        raise StateError("two resources of the program have one name", where=twice[0])
    return tuple(rendered)


def write(rendered: Sequence[Rendered], folder: Path) -> None:
    """One YAML file for each resource. Files of an earlier rendering go. Raises UsageError for a folder with
    anything else in it."""
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file", where=str(folder), remedy="name a folder")
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise UsageError(
            "is not empty and was not rendered by huidu",
            where=str(folder),
            remedy="name a new folder: what lies there would be mixed up with what is rendered",
        )
    earlier = (folder / _MARK).read_text(encoding="utf-8").split() if (folder / _MARK).exists() else []
    now = [each.path for each in rendered]
    for path in set(earlier) - set(now):
        (folder / path).unlink(missing_ok=True)
    for each in rendered:
        file = folder / each.path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text(each))
    write_atomic(folder / _MARK, "".join(f"{path}\n" for path in now))


def text(rendered: Rendered) -> str:
    """The document as YAML, the same for the same document."""
    order = ("apiVersion", "kind", "type", "name", "metadata")
    first = {key: rendered.document[key] for key in order if key in rendered.document}
    rest = {key: value for key, value in sorted(rendered.document.items()) if key not in first}
    return str(yaml.safe_dump({**first, **rest}, sort_keys=False, allow_unicode=True, width=110))


def _whole(value: Any) -> Any:
    """The same with whole numbers as such (Pulumi's wire knows floats only) and keys in order."""
    if isinstance(value, dict):
        return {key: _whole(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
