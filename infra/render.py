"""What the program would ask for, without an engine, a cluster, a provider or credentials.

The program runs against Pulumi's mocks, in this process; each resource's inputs are what is rendered. For
Kubernetes that is the manifest itself; for a cloud the resource's type and its inputs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pulumi
import yaml

from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.workspace import write_atomic
from infra.rendered import Rendered

KUBERNETES = "kubernetes:"
_MARK = ".huidu-render"
"""Lies in a folder that `write` filled, so that it may be filled again."""
_AT_ONCE = 4  # Threads that answer the program; what they do is computing.


_ANSWERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "alicloud:cen/transitRouter:TransitRouter": ("transitRouterId",),
        "alicloud:cen/transitRouterRouteTable:TransitRouterRouteTable": ("transitRouterRouteTableId",),
        "alicloud:cen/transitRouterVpcAttachment:TransitRouterVpcAttachment": ("transitRouterAttachmentId",),
        "alicloud:cen/transitRouterPeerAttachment:TransitRouterPeerAttachment": (
            "transitRouterAttachmentId",
        ),
        "alicloud:cs/managedKubernetes:ManagedKubernetes": ("securityGroupId",),
        "alicloud:ecs/eipAddress:EipAddress": ("ipAddress",),
        "alicloud:vpc/natGateway:NatGateway": ("snatTableIds",),
    }
)
"""What a cloud tells of a resource when it is made, and others are given. What stands here is rendered as
"<kind> <name> <what>"; what does not would be left out of whoever needs it."""


def _told(args: pulumi.runtime.MockResourceArgs, what: str) -> str:
    return f"{args.typ.rpartition(':')[2]} {args.name} {what}"


class _Listener(pulumi.runtime.Mocks):
    """Stands where the engine would: takes every resource's inputs and gives them back as its state."""

    def __init__(self) -> None:
        self.asked: list[Rendered] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        inputs = _whole(args.inputs)
        if args.custom and not args.typ.startswith("pulumi:"):
            # A target has one provider for each zone, and calls it so.
            zone = args.provider.rsplit("::", 2)[-2] if args.provider else args.typ.split(":")[0]
            self.asked.append(Rendered(args.typ, args.name, zone, inputs))
        if args.typ.startswith(KUBERNETES):
            return f"{args.name}-id", args.inputs
        return _told(args, "id"), {key: _told(args, key) for key in _ANSWERS.get(args.typ, ())} | args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise UsageError(f"rendering asks nobody, and the program called {args.token}")


def path(rendered: Rendered) -> str:
    """Where it lies below the folder it is rendered to: `<zone>/<kind>-<name>.yaml`.

    Namespaces come first by name: `kubectl apply -R -f` takes the files in this order.
    """
    first = "00-" if rendered.kind == "Namespace" else ""
    name = rendered.at("metadata", "name") or rendered.name.removeprefix(f"{rendered.zone}/")
    return f"{rendered.zone}/{first}{rendered.kind.lower()}-{re.sub('[^A-Za-z0-9._-]+', '-', name)}.yaml"


def render(program: Callable[[], None]) -> tuple[Rendered, ...]:
    """Every resource the program declares, in the order of their paths. Raises what the program raises."""
    listener = _Listener()
    # Pulumi's settings are context variables, and its event loop is the thread's: with this thread both go.
    with concurrent.futures.ThreadPoolExecutor(1, "render") as thread:
        thread.submit(_run, program, listener).result()
    rendered = sorted(listener.asked, key=path)
    twice = [path(one) for one, other in itertools.pairwise(rendered) if path(one) == path(other)]
    if twice:
        raise StateError("two resources of the program have one name", where=twice[0])
    return tuple(rendered)


def _run(program: Callable[[], None], listener: _Listener) -> None:
    quiet = logging.getLogger("pulumi")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        with _event_loop():
            pulumi.runtime.set_mocks(listener, preview=False)
            pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    finally:
        quiet.setLevel(level)


@contextlib.contextmanager
def _event_loop() -> Iterator[None]:
    """This thread's event loop, and those of the threads it hands work to. They end with the block."""
    loop = asyncio.new_event_loop()
    lent: list[asyncio.AbstractEventLoop] = []

    def lend() -> None:
        # Pulumi makes a loop in a thread that has none, and closes none: Python complains when it goes.
        lent.append(asyncio.new_event_loop())
        asyncio.set_event_loop(lent[-1])

    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(_AT_ONCE, "render", initializer=lend))
    # One failure fails all that waits for it. The first is raised; asyncio would print each of the others.
    loop.set_exception_handler(lambda *_: None)
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        for each in (loop, *lent):
            each.close()


def write(rendered: Sequence[Rendered], folder: Path) -> None:
    """One YAML file for each resource. Files of an earlier rendering go. Raises UsageError for a folder with
    anything else in it."""
    try:
        _refuse_others(folder)
        _fill(rendered, folder)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror or error}",
            where=str(error.filename or folder),
            remedy="name a folder that can be made",
        ) from None


def _refuse_others(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file", where=str(folder), remedy="name a folder")
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise UsageError(
            "is not empty and was not rendered by huidu",
            where=str(folder),
            remedy="name a new folder: what lies there would be mixed up with what is rendered",
        )


def _fill(rendered: Sequence[Rendered], folder: Path) -> None:
    earlier = (folder / _MARK).read_text(encoding="utf-8").split() if (folder / _MARK).exists() else []
    now = [path(each) for each in rendered]
    for gone in set(earlier) - set(now):
        (folder / gone).unlink(missing_ok=True)
    for each in rendered:
        file = folder / path(each)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text(each))
    write_atomic(folder / _MARK, "".join(f"{file}\n" for file in now))


def text(rendered: Rendered) -> str:
    """The document as YAML, the same for the same document."""
    document = dict(rendered.body)
    if not rendered.type.startswith(KUBERNETES):
        document = {"type": rendered.type, "name": rendered.name, "inputs": document}
    order = ("apiVersion", "kind", "type", "name", "metadata")
    first = {key: document[key] for key in order if key in document}
    rest = {key: value for key, value in sorted(document.items()) if key not in first}
    return str(yaml.safe_dump({**first, **rest}, sort_keys=False, allow_unicode=True, width=110))


def _whole(value: Any) -> Any:
    """The same with whole numbers as such (Pulumi's wire knows floats only) and keys in order."""
    if isinstance(value, dict):
        return {key: _whole(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
