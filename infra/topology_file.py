"""Topologies in files: YAML with line numbers, or a Python file with a `TOPOLOGY`; checked when read."""

from __future__ import annotations

import runpy
from pathlib import Path

import yaml

from huidu.foundation.document import line_of, parse_document
from huidu.foundation.errors import ConfigError
from infra.topology import Topology
from infra.topology_check import problems


def load_topology(path: Path) -> Topology:
    """The topology in a YAML file, or the `TOPOLOGY` of a Python file. Raises ConfigError (file, line)."""
    if path.suffix == ".py":
        return _from_python(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path, remedy="check the path") from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=path, expected="YAML, or a file *.py") from None
    topology = parse_document(text, Topology, path)
    for place, what, expected in problems(topology):
        line = line_of(yaml.compose(text, Loader=yaml.SafeLoader), place)
        raise ConfigError(what, file=path, line=line, expected=expected)
    return topology


def _from_python(path: Path) -> Topology:
    if not path.is_file():
        raise ConfigError("no such file", file=path, remedy="check the path")
    try:
        topology = runpy.run_path(str(path)).get("TOPOLOGY")
    except (Exception, SystemExit) as error:  # the user's own code
        trace = error.__traceback__
        line = None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == str(path):
                line = trace.tb_lineno
            trace = trace.tb_next
        raise ConfigError(f"{type(error).__name__}: {error}", file=path, line=line) from None
    if not isinstance(topology, Topology):
        raise ConfigError("has no TOPOLOGY", file=path, expected="TOPOLOGY = infra.topology.Topology(...)")
    for place, what, expected in problems(topology):
        where = ".".join(str(part) for part in place)
        raise ConfigError(f"{where}: {what}", file=path, expected=expected)
    return topology
