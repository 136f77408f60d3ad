"""Whether a service's database is still the one it was prepared for.

A database whose data were lost is made anew, and empty: without a word its services would go on, healthy and
without their tables. Each making has a name, in a file among the data, which a standby's copy brings along.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from huidu.foundation.workspace import write_atomic
from infra.targets.local.site import Site
from infra.toolchain import postgres

_MADE = "huidu.made"
_PREPARED = "prepared-for"


def name(data: Path) -> None:
    """Name what was just made in a data folder."""
    # PostgreSQL's own user copies it for a standby.
    write_atomic(data / _MADE, f"{uuid.uuid4()}\n")
    postgres.adopt(data / _MADE)


def note(site: Site, service: str) -> None:
    """`service` has just prepared its database."""
    write_atomic(site.folder(service) / _PREPARED, _made(site, service))


def deviation(site: Site, service: str) -> str:
    """That a running service's database is gone, or is another one than it prepared; "" for neither."""
    return "" if _read(site.folder(service) / _PREPARED) == _made(site, service) else "its tables are gone"


def _made(site: Site, service: str) -> str:
    return _read(site.folder(site.upstream(service, "database")) / "data" / _MADE)


def _read(file: Path) -> str:
    """What it says; nothing where it is not there, as before makings had names."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
