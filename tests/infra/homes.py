"""A stack as its user has it: a HUIDU_HOME and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import requests

from huidu.model.stack import Stack
from infra.targets.local import launch

PROGRAMS = ("pulumi", "envoy", "postgres", "prometheus", "supervisord", "trytond")


@dataclass
class Home:
    """A HUIDU_HOME and the command line in it."""

    path: Path

    def huidu(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            self.line(*words),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if not done.stdout else "")

    def healthy(self) -> bool:
        done = subprocess.run(
            self.line("status"), env=self.environment(), capture_output=True, timeout=60, check=False
        )
        return done.returncode == 0

    def line(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "huidu.cli", "stack", *words]

    def environment(self) -> dict[str, str]:
        return os.environ | {"HUIDU_HOME": str(self.path), "PYTHONSAFEPATH": "1"}

    @property
    def stack(self) -> Stack:
        return Stack.read(self.path / "stack.json")

    def pid(self, component: str) -> int | None:
        found = launch.read_record(self.path / "stack" / "pids" / component)
        return found[0] if found else None

    def pids(self) -> dict[str, int | None]:
        return {each.name: self.pid(each.name) for each in self.stack.components}

    def processes(self) -> list[str]:
        """Every process that has this home in its command line or environment."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if any(str(self.path) in word for word in words) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {' '.join(words)[:150]}")
            except psutil.Error:
                continue
        return found

    def states(self) -> dict[str, str]:
        """What `status` says of each component: "" where it is healthy."""
        done = subprocess.run(
            self.line("status", "--json"),
            env=self.environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return {each["name"]: each["problem"] for each in json.loads(done.stdout)}

    def sql(self, server: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask a server of the core's database as its superuser; what this writes waits for no standby."""
        ports = json.loads((self.path / "ports.json").read_text())
        with psycopg.connect(
            host="127.0.0.1",
            port=ports[server],
            dbname="crm",
            user="postgres",
            passfile=str(self.path / "secrets/core-db-superuser.pgpass"),
            connect_timeout=5,
            autocommit=True,
            options="-c synchronous_commit=local",
        ) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def leads(self, count: int = 1) -> set[str | None]:
        """Register leads through the edge; the releases that answered."""
        answers = [
            requests.post(
                f"{self.stack.edge.url}/web/leads",
                json={"name": "A", "email": f"a{index}@example.com", "interest": "x"},
                timeout=10,
            )
            for index in range(count)
        ]
        assert {each.status_code for each in answers} == {201}
        return {each.headers.get("x-release") for each in answers}


def until(condition: Callable[[], Any], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)
