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
from xdist.scheduler import LoadScopeScheduling

from huidu.foundation.workspace import Workspace

# A time limit for an example is a timed assertion: it fails on a busy machine and proves nothing elsewhere.
settings.register_profile("huidu", deadline=None)
settings.load_profile("huidu")

_REQUIRED = frozenset(filter(None, os.environ.get("HUIDU_REQUIRE", "").split(",")))


_MEASURING = ("tests/loadtests/", "tests/main_job/")
"""Their tests measure what a load generator manages: one at a time, whatever runs beside them."""


class _FileByFile(LoadScopeScheduling):
    """Tests over several workers: a file stays with one of them, and so do all tests that measure load."""

    def _split_scope(self, nodeid: str) -> str:
        return "load" if nodeid.startswith(_MEASURING) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    measuring = config.option.markexpr in ("server and not drill", "server", "drill")
    return _FileByFile(config, log) if measuring else None


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
