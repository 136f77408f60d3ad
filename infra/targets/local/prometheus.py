"""Prometheus' configuration and rules: what is scraped every second, objectives and their burn rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One scraped process: the label `component`, `host:port`, and the metrics path (Envoy: /stats/prometheus)."""

    component: str
    address: str
    path: str = "/metrics"


def config(targets: Sequence[Target], rules_file: Path) -> dict[str, Any]:
    """prometheus.yml (write as YAML or JSON: JSON is YAML)."""
    raise NotImplementedError


def rules() -> dict[str, Any]:
    """The rules file: recording rules with Sloth's names, and burn-rate alerts."""
    raise NotImplementedError


def command(binary: Path, folder: Path, port: int) -> list[str]:
    """The command line of a Prometheus on 127.0.0.1:`port` that reads `folder`/prometheus.yml and keeps its data there."""
    raise NotImplementedError
