"""The line between the clouds as it is rendered for Kubernetes, run with real Envoys: who gets in, and who
does not. Only addresses and folders differ from what is rendered; names in certificates are those."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra import hybrid_crm
from infra.desired import Desired, Release
from infra.targets.kubernetes import ports, proxies
from infra.targets.kubernetes.link import CORE_PROXY, LINK
from tests.infra.authority import Authority
from tests.infra.conftest import Arm, free_ports, running_envoy

pytestmark = pytest.mark.server
CORE = "core.hybrid-crm-private.svc"


@dataclass
class Line:
    """Link and core proxy, running."""

    folder: Path
    authority: Authority
    link: int
    core_proxy: int
    metrics: int
    core: Arm

    def context(self, client: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "link" / "server" / "ca.crt"))
        if client:
            folder = self.folder / "link" / client
            context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        return context


def call(port: int, name: str, context: ssl.SSLContext, path: str = "/crm/rpc/") -> tuple[int, bytes]:
    """POST over TLS to a port of this machine whose certificate must bear `name`."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        connection = http.client.HTTPConnection(name)
        connection.sock = context.wrap_socket(plain, server_hostname=name)
        connection.request("POST", path, "{}")
        answer = connection.getresponse()
        return answer.status, answer.read()


def config_of(name: str) -> dict[str, str]:
    from infra.program import program
    from infra.render import render
    from infra.targets.kubernetes.settings import Settings
    from infra.targets.kubernetes.target import KubernetesTarget

    desired = Desired(
        topology=hybrid_crm.TOPOLOGY, stable=Release(version="v1"), created="2026-01-01T00:00:00Z"
    )
    for each in render(program(desired, KubernetesTarget(desired, Settings()))):
        if each.kind == "ConfigMap" and each.at("metadata", "name") == name:
            return dict(each.body["data"])
    raise AssertionError(name)


def on_this_machine(
    name: str, folder: Path, numbers: dict[int, int], hosts: list[str]
) -> tuple[dict[str, Any], int]:
    """The rendered configuration with this machine's folders and ports; its admin port."""
    moved = {proxies.FOLDER: folder, proxies.SERVER: folder / "server", proxies.CLIENT: folder / "client"}
    for file, text in config_of(name).items():
        for old, new in moved.items():
            text = text.replace(f'"{old}', f'"{new}')
        for host in hosts:
            text = text.replace(f'"address": "{host}"', '"address": "127.0.0.1"')
        text = text.replace('"address": "0.0.0.0"', '"address": "127.0.0.1"')
        for old_port, port in numbers.items():
            text = text.replace(f'"port_value": {old_port}', f'"port_value": {port}')
        (folder / file).write_text(text)
    return json.loads((folder / "envoy.json").read_text()), numbers[proxies.ADMIN]


@pytest.fixture(scope="module")
def line(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    program("envoy")
    folder = tmp_path_factory.mktemp("line")
    authority = Authority()
    authority.into(folder / "link" / "server", ["link.hybrid-crm-link.svc"])
    authority.into(folder / "link" / "client", ["link.hybrid-crm.client"])
    authority.into(folder / "core-proxy" / "server", ["core-proxy.hybrid-crm-private.svc"])
    authority.into(folder / "core-proxy" / "client", ["core-proxy.hybrid-crm.client"])
    authority.into(folder / "core", [CORE])
    core = Arm("core")
    server = core.serve()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "core" / "tls.crt", folder / "core" / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    link, proxy, link_admin, proxy_admin, link_shown, proxy_shown = free_ports(6)
    with ExitStack() as stack:
        stack.callback(server.shutdown)
        # Both listen on one port in their pods; here the link's is told from the one it calls by its order.
        numbers = {ports.SERVED["tryton"]: core.port, proxies.ADMIN: proxy_admin}
        numbers |= {CORE_PROXY: proxy, ports.ENVOY_METRICS: proxy_shown}
        config, admin = on_this_machine("core-proxy", folder / "core-proxy", numbers, [CORE])
        stack.enter_context(running_envoy(folder / "core-proxy", config, admin))
        numbers = {proxies.ADMIN: link_admin, ports.ENVOY_METRICS: link_shown, LINK: proxy}
        hosts = ["core-proxy.hybrid-crm-private.svc"]
        config, admin = on_this_machine("link", folder / "link", numbers, hosts)
        config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = link
        stack.enter_context(running_envoy(folder / "link", config, admin))
        yield Line(folder, authority, link, proxy, link_shown, core)


def test_an_event_goes_over_the_line_to_the_core(line: Line) -> None:
    assert call(line.link, "link.hybrid-crm-link.svc", line.context()) == (200, b"core")


def test_only_the_cores_rpc_is_let_through(line: Line) -> None:
    assert call(line.link, "link.hybrid-crm-link.svc", line.context(), "/other/rpc/")[0] == 404


def test_nobody_but_the_link_gets_into_the_private_zone(line: Line) -> None:
    name = "core-proxy.hybrid-crm-private.svc"
    assert call(line.core_proxy, name, line.context("client"))[0] == 200
    seen = len(line.core.seen)
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        call(line.core_proxy, name, line.context())
    line.authority.into(line.folder / "link" / "stranger", ["touchpoints.hybrid-crm.client"])
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        call(line.core_proxy, name, line.context("stranger"))
    assert len(line.core.seen) == seen


def test_a_certificate_of_another_authority_does_not_count(line: Line) -> None:
    Authority().into(line.folder / "link" / "foreign", ["link.hybrid-crm.client"])
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        call(line.core_proxy, "core-proxy.hybrid-crm-private.svc", line.context("foreign"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_tls_than_1_2_is_refused(line: Line) -> None:
    for port in (line.link, line.core_proxy):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
        ):
            context.wrap_socket(plain)


def test_prometheus_sees_metrics_and_nothing_else_of_the_admin_address(line: Line) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", line.metrics, timeout=10)
    statuses = {}
    for path in ("/stats/prometheus", "/ready", "/config_dump", "/quitquitquit", "/certs"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        statuses[path] = answer.status
    assert statuses == {
        "/stats/prometheus": 200,
        "/ready": 200,
        "/config_dump": 404,
        "/quitquitquit": 404,
        "/certs": 404,
    }


def test_a_renewed_certificate_is_served_without_a_restart(line: Line) -> None:
    """The kubelet puts a whole new folder in the place of the old one, by a rename inside the folder."""
    served = ssl.get_server_certificate(("127.0.0.1", line.link), timeout=10)
    fresh = line.folder / "fresh"
    line.authority.into(fresh, ["link.hybrid-crm-link.svc"])
    folder = line.folder / "link" / "server"
    for name in ("tls.key", "tls.crt"):
        shutil.copy(fresh / name, folder / f".{name}")
        (folder / f".{name}").rename(folder / name)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if ssl.get_server_certificate(("127.0.0.1", line.link), timeout=10) != served:
            break
        time.sleep(0.1)
    now = ssl.get_server_certificate(("127.0.0.1", line.link), timeout=10)
    assert now.strip() == (fresh / "tls.crt").read_text().strip() != served.strip()
