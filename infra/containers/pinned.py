"""The part of requirements.lock that one image needs: with the pins and the hashes as they stand there.

    python pinned.py --lock requirements.lock [--project pyproject.toml [--extra NAME]...] [PACKAGE]... > lock

The lock holds everything of everybody (tests, compilers, the local stack); an image holds the packages it
names, and what those need. Who needs what is told by the comments that `uv pip compile` writes ("via").
Standard library only: it runs in the first stage of a build, before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pin:
    """Lines of one requirement (a package may have several, by Python version), and who needs it."""

    text: str
    via: frozenset[str]


def name_of(requirement: str) -> str:
    """The package of a requirement, spelled as in the lock: `psycopg[binary,pool]>=3` is `psycopg`."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;@]", requirement.strip(), maxsplit=1)[0]).lower()


def read(lock: str) -> dict[str, Pin]:
    """The lock by package. Raises ValueError where a pin has no hash."""
    pins: dict[str, Pin] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", "\n" + lock):
        lines = [line for line in block.strip("\n").splitlines() if line.strip()]
        if not lines or lines[0].startswith("#"):
            continue
        wanted = [line for line in lines if not line.lstrip().startswith("#")]
        if not any("--hash=" in line for line in wanted):
            raise ValueError(f"{lines[0]!r} has no hash")
        said = " ".join(line.lstrip(" #") for line in lines if line.lstrip().startswith("#"))
        via = frozenset(name_of(word) for word in said.split() if word != "via" and not word.startswith("("))
        name = name_of(lines[0])
        known = pins.get(name, Pin("", frozenset()))
        pins[name] = Pin(known.text + "\n".join(wanted) + "\n", known.via | via)
    return pins


def picked(pins: Mapping[str, Pin], roots: Iterable[str]) -> dict[str, Pin]:
    """`roots` and all that they need. Raises ValueError for a root that the lock does not have."""
    kept = {name_of(root) for root in roots}
    if unknown := sorted(kept - pins.keys()):
        raise ValueError(f"not in the lock: {', '.join(unknown)}")
    while more := {name for name, pin in pins.items() if name not in kept and pin.via & kept}:
        kept |= more
    return {name: pin for name, pin in pins.items() if name in kept}


def wanted_by(project: str, extras: Iterable[str]) -> list[str]:
    """What pyproject.toml (its text) asks for, with those extras. Raises KeyError for an unknown extra."""
    found = tomllib.loads(project)["project"]
    return [*found["dependencies"], *(each for extra in extras for each in _extra(found, extra))]


def _extra(project: Mapping[str, Mapping[str, list[str]]], extra: str) -> list[str]:
    return project["optional-dependencies"][extra]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--project", type=Path, help="also what this pyproject.toml needs")
    parser.add_argument("--extra", action="append", default=[], help="and this extra of it")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE")
    given = parser.parse_args(arguments)
    try:
        roots = list(given.packages)
        if given.project is not None:
            roots += wanted_by(given.project.read_text(encoding="utf-8"), given.extra)
        kept = picked(read(given.lock.read_text(encoding="utf-8")), roots)
    except (OSError, ValueError, KeyError) as error:
        print(f"pinned: {error}", file=sys.stderr)
        return 2
    sys.stdout.write("".join(pin.text for _, pin in sorted(kept.items())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
