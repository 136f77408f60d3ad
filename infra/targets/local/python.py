"""What all components written in Python share: their environment, and their release."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from huidu.foundation.errors import HuiduError, StateError
from infra.desired import Release
from infra.targets.local.process import launcher
from infra.targets.local.site import Site

# The user's own folder must not shadow ours (`crm` may be the name of a package of his).
ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
    "LANG": "C.UTF-8",
    # The same whoever asks: what differs here would restart the component.
    "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
}


def release(site: Site, name: str) -> Release:
    """What runs in this component's arm."""
    found = site.desired.release(site.desired.topology.components[name].arm or "stable")
    if found is None:
        raise StateError(f"no release is wanted for {name}")
    return found


def run_once(name: str, about: str, command: list[str], seconds: float) -> None:
    """Run a one-shot program of the component `name` to its end. Raises HuiduError with its last words."""
    try:
        done = subprocess.run(
            [*launcher("-", int(signal.SIGKILL)), *command],
            capture_output=True,
            text=True,
            timeout=seconds,
            env=ENVIRONMENT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HuiduError(f"{about} took longer than {seconds:.0f} s", where=name) from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no word"]
        raise HuiduError(f"{about} failed: {last[0]}", where=name)
