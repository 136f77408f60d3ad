"""What the CRM's programs are told and can mean nothing is refused at once, in words."""

from __future__ import annotations

import subprocess
import sys

import pytest

_TOUCHPOINTS = ("crm.touchpoints", "--release", "v1")
_MONITOR = ("crm.synchronisation", "monitor")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((*_TOUCHPOINTS, "--listen", "127.0.0.1:0", "--database", "garbage"), "no connection string"),
        ((*_TOUCHPOINTS, "--listen", "nowhere", "--database", "dbname=x"), "'nowhere' is not HOST:PORT"),
        ((*_TOUCHPOINTS, "--listen", "127.0.0.1:99999", "--database", "dbname=x"), "is not HOST:PORT"),
        ((*_MONITOR, "--metrics", "127.0.0.1:0", "--database", "hots=127.0.0.1"), "no connection string"),
        (("crm.touchpoints.schema", "--database", "garbage"), "no connection string"),
    ],
)
def test_a_connection_string_that_is_none_is_no_database_that_is_away(
    command: tuple[str, ...], said: str
) -> None:
    """Served degraded for ever it would look like an outage."""
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
