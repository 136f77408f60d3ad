"""What tests of several rooms share: real external programs, and the rule that CI may not skip them.

HUIDU_REQUIRE=envoy,postgres,... turns a skip for want of one of these programs into a failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from huidu.foundation.workspace import Workspace

# A time limit for an example is a timed assertion: it fails on a busy machine and proves nothing elsewhere.
settings.register_profile("huidu", deadline=None)
settings.load_profile("huidu")

_REQUIRED = frozenset(filter(None, os.environ.get("HUIDU_REQUIRE", "").split(",")))


_MEASURING = ("loadtests", "main_job")
"""Folders whose tests measure what a load generator manages: one at a time, whatever runs beside them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`--dist loadgroup`: a file stays with one worker, and so do all tests that measure load."""
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group("load" if folder in _MEASURING else str(item.path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        missing = [name for name in _REQUIRED if f"needs {name}" in reason]
        if missing:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: {reason}, and HUIDU_REQUIRE names {missing[0]}"
    return report


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """The path of an external program by name, or a skip that names it."""

    def find(name: str) -> Path:
        from infra import toolchain

        for each in toolchain.all():
            if each.name == name:
                found = each.find(Workspace.from_env())
                if found is not None:
                    return Path(found.path)
        pytest.skip(f"needs {name}: run `make setup`")

    return find
