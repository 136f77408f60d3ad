"""The core as it is rendered for Kubernetes, with a real trytond: TLS, and probes that tell the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.rendered import Rendered
from tests.infra.authority import Authority
from tests.infra.conftest import free_ports

pytestmark = pytest.mark.server


def rendered() -> list[Rendered]:
    from infra.program import program
    from infra.render import render
    from infra.targets.kubernetes.settings import Settings
    from infra.targets.kubernetes.target import KubernetesTarget

    stable = Release(version="v1")
    desired = Desired(topology=hybrid_crm.TOPOLOGY, stable=stable, created="2026-01-01T00:00:00Z")
    return list(render(program(desired, KubernetesTarget(desired, Settings()))))


def one(resources: list[Rendered], kind: str, name: str) -> Rendered:
    return next(each for each in resources if (each.kind, each.at("metadata", "name")) == (kind, name))


@dataclass
class Core:
    """A trytond with the rendered configuration; only folders, port and database are this machine's."""

    folder: Path
    port: int
    container: dict[str, Any]

    def probe(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a probe's command as the kubelet would."""
        words = self.here(json.dumps(self.container[name]["exec"]["command"]))
        command = [sys.executable, *json.loads(words)[1:]]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    def here(self, text: str) -> str:
        return text.replace("/run/tls", str(self.folder)).replace("8000", str(self.port))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    trytond = Path(sys.executable).with_name("trytond")
    if not trytond.exists():
        pytest.skip("needs trytond: run `make setup`")
    folder = tmp_path_factory.mktemp("core")
    resources = rendered()
    container = one(resources, "Deployment", "core").at("spec", "template", "spec", "containers", 0)
    (port,) = free_ports(1)
    made = Core(folder, port, dict(container))
    Authority().into(folder, ["core.hybrid-crm-private.svc"])
    files = one(resources, "ConfigMap", "core").at("data")
    lines = made.here(files["trytond.conf"]).replace("0.0.0.0", "127.0.0.1").splitlines()
    # Without a database: what is asked of it here needs none.
    kept = [line for line in lines if not line.startswith(("reads =", "database_mixins ="))]
    text = "\n".join("uri = sqlite://" if line.startswith("uri =") else line for line in kept)
    (folder / "trytond.conf").write_text(text)
    (folder / "logging.conf").write_text(files["logging.conf"])
    with (folder / "log").open("wb") as log:
        command = [trytond, "-c", folder / "trytond.conf", "--logconf", folder / "logging.conf"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while made.probe("startupProbe").returncode:
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield made
    finally:
        process.kill()
        process.wait()


def test_it_is_ready_when_it_answers(core: Core) -> None:
    assert core.probe("readinessProbe").returncode == 0


def test_it_is_alive_until_a_day_after_its_certificate_was_renewed_at_the_latest(core: Core) -> None:
    """trytond reads it once; the kubelet then starts it anew, each pod at its own moment of the day."""
    assert core.probe("livenessProbe").returncode == 0
    Authority().into(core.folder, ["core.hybrid-crm-private.svc"])
    yesterday = time.time() - 86_400
    os.utime(core.folder / "tls.crt", (yesterday, yesterday))
    assert core.probe("livenessProbe").returncode != 0


def test_a_core_that_does_not_answer_is_not_ready(core: Core) -> None:
    other = Core(core.folder, free_ports(1)[0], core.container)
    assert other.probe("readinessProbe").returncode != 0
    assert other.probe("livenessProbe").returncode != 0


def test_the_password_of_the_databases_is_for_nobody_elses_eyes(tmp_path: Path) -> None:
    init = one(rendered(), "Deployment", "core").at("spec", "template", "spec", "initContainers", 0)
    for name, text in {"login/username": "tryton", "login/password": r"a:b\c"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "ways").mkdir()
    words = [each.replace("/run/database", str(tmp_path)) for each in init["command"]]
    subprocess.run([sys.executable, *words[1:]], check=True, timeout=30)
    passfile = tmp_path / "ways" / "pgpass"
    assert passfile.stat().st_mode & 0o777 == 0o600  # libpq takes no other
    assert passfile.read_text() == "*:*:*:tryton:" + r"a\:b\\c" + "\n"
