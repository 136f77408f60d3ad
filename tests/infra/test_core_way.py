"""The way to the core: the link, which can be cut, and the core's proxy, which lets only RPC through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.targets.local import core_proxy, link
from tests.infra.conftest import Arm, call, free_ports, running_envoy

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Arm, core_proxy.CoreProxySpec, Path]]:
    folder = tmp_path_factory.mktemp("core")
    arm = Arm("core")
    server = arm.serve()
    port, admin = free_ports(2)
    spec = core_proxy.CoreProxySpec(port, admin, arm.port)
    with running_envoy(folder, core_proxy.bootstrap(spec), admin):
        yield arm, spec, folder
    server.shutdown()
    server.server_close()


def test_only_the_cores_rpc_is_let_through(core: tuple[Arm, core_proxy.CoreProxySpec, Path]) -> None:
    arm, spec, _ = core
    assert call(spec.port, "/crm/rpc/", method="POST").body == b"core"
    seen = len(arm.seen)
    for method, path in (
        ("GET", "/crm/rpc/"),
        ("POST", "/other/rpc/"),
        ("POST", "/crm/rpc/../../other/rpc/"),
        ("POST", "/crm/rpc/%2e%2e/data/party"),
        ("GET", "/"),
        ("GET", "/crm/data/party.party"),
    ):
        assert call(spec.port, path, method=method).status in (400, 404), (method, path)
    assert len(arm.seen) == seen


def test_a_cut_link_refuses_and_a_mended_one_serves(core: tuple[Arm, core_proxy.CoreProxySpec, Path]) -> None:
    _, spec, folder = core
    port, admin = free_ports(2)
    between = link.bootstrap(link.LinkSpec(port, admin, spec.port))
    with running_envoy(folder, between, admin):
        assert call(port, "/crm/rpc/", method="POST").status == 200
    with pytest.raises(OSError, match="refused"):
        call(port, "/crm/rpc/", method="POST")
    with running_envoy(folder, between, admin):
        assert call(port, "/crm/rpc/", method="POST").status == 200
