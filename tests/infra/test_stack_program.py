"""The Pulumi program under Pulumi's mocks: what would be provisioned, and what its state holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from huidu.foundation.workspace import Workspace
from huidu.model.stack import Stack
from infra import stack_file
from infra.desired import Desired, Release
from infra.failover import alone, failed_over
from infra.hybrid_crm import TOPOLOGY
from infra.program import program
from infra.targets.local import kinds, provider
from infra.targets.local.secrets import Secrets
from infra.targets.local.site import Site
from infra.targets.local.target import LocalTarget
from infra.toolchain import Found

CREATED = "2026-01-01T00:00:00+00:00"


class Mocks(pulumi.runtime.Mocks):
    """Keeps what the program asks for."""

    def __init__(self) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        if args.typ.startswith("pulumi-python:"):
            self.inputs[args.name] = args.inputs
        return args.name, args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        return {}


def a_site(home: Path, desired: Desired) -> Site:
    ports = {name: 21000 + index for index, name in enumerate(kinds.port_names(TOPOLOGY))}
    names = kinds.programs(TOPOLOGY)
    programs = {name: Found(name, Path(f"/programs/{name}"), "1.2.3", "a test") for name in names}
    return Site(Workspace(home, home / "cache"), desired, ports, programs, Secrets(home / "secrets"))


def provisioned(home: Path, desired: Desired) -> dict[str, dict[str, Any]]:
    mocks = Mocks()
    pulumi.runtime.set_mocks(mocks, preview=False)

    @pulumi.runtime.test
    def run() -> None:
        program(desired, LocalTarget(a_site(home, desired)))()

    run()
    return mocks.inputs


@pytest.fixture
def stable() -> Desired:
    return Desired(topology=TOPOLOGY, stable=Release(version="v1"), created=CREATED)


def test_one_resource_for_each_component_that_should_stand(tmp_path: Path, stable: Desired) -> None:
    assert set(provisioned(tmp_path, stable)) == set(TOPOLOGY.standing(candidate=False))


def test_a_release_adds_the_candidates_arm_and_changes_nothing_else(tmp_path: Path, stable: Desired) -> None:
    before = provisioned(tmp_path, stable)
    after = provisioned(tmp_path, stable.with_candidate("v2", ("errors=5%", "sync=+60s")))
    assert set(after) - set(before) == {"touchpoints-candidate", "sync-candidate"}
    assert {name: after[name] for name in before} == before


def test_each_defect_goes_to_the_program_it_is_a_switch_of(tmp_path: Path, stable: Desired) -> None:
    inputs = provisioned(tmp_path, stable.with_candidate("v2", ("errors=5%", "sync=+60s")))
    assert "--defect errors=5%" in inputs["touchpoints-candidate"]["command"]
    assert "sync=" not in inputs["touchpoints-candidate"]["command"]
    assert "--defect sync=+60s" in inputs["sync-candidate"]["command"]
    assert "errors=" not in inputs["sync-candidate"]["command"]


def test_promotion_restarts_the_stable_arm_alone(tmp_path: Path, stable: Desired) -> None:
    beside = stable.with_candidate("v2", ())
    before, after = provisioned(tmp_path, beside), provisioned(tmp_path, beside.promoted())
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"touchpoints-stable", "sync-stable"}
    assert "--release v2" in after["touchpoints-stable"]["command"]


@pytest.mark.slow
def test_a_baseline_starts_together_with_the_candidate_and_leaves_it_alone_when_it_ends(
    tmp_path: Path, stable: Desired
) -> None:
    alone = provisioned(tmp_path, stable)
    three = provisioned(tmp_path, stable.with_candidate("v2", (), "10:00"))
    assert {name: three[name] for name in alone} == alone, "what serves is not touched"
    assert "--release v1" in three["touchpoints-baseline"]["command"]
    again = provisioned(tmp_path, stable.with_candidate("v2", (), "11:00"))
    assert {name for name in three if three[name] != again[name]} == {
        "touchpoints-candidate",
        "touchpoints-baseline",
    }, "asked for again, both are started anew"
    promoted = provisioned(tmp_path, stable.with_candidate("v2", (), "10:00").promoted())
    assert "touchpoints-baseline" not in promoted
    assert promoted["touchpoints-candidate"] == three["touchpoints-candidate"], (
        "it serves everybody just then"
    )


def test_a_failover_restarts_neither_the_new_primary_nor_the_core(tmp_path: Path, stable: Desired) -> None:
    before = provisioned(tmp_path, stable)
    after = provisioned(
        tmp_path,
        stable.model_copy(update={"topology": failed_over(TOPOLOGY, "core-db", "core-db-standby")}),
    )
    assert {name: each for name, each in before.items() if name != "core-db"} == after


def test_a_primary_waits_for_its_standby_unless_that_was_given_up(tmp_path: Path, stable: Desired) -> None:
    commands = {name: each["command"] for name, each in provisioned(tmp_path, stable).items()}
    assert "synchronous_commit=remote_apply" in commands["core-db"]
    assert 'synchronous_standby_names=FIRST 1 ("core-db-standby")' in commands["core-db"]
    assert "synchronous_standby_names= " in commands["core-db-standby"]
    without = stable.model_copy(update={"topology": alone(TOPOLOGY, "core-db", "core-db-standby")})
    commands = {name: each["command"] for name, each in provisioned(tmp_path, without).items()}
    assert "synchronous_standby_names= " in commands["core-db"]
    assert "core-db-standby" not in commands


def test_only_the_stable_worker_drains_what_others_left(tmp_path: Path, stable: Desired) -> None:
    inputs = provisioned(tmp_path, stable.with_candidate("v2", ()))
    assert "--drain-abandoned" in inputs["sync-stable"]["command"]
    assert "--drain-abandoned" not in inputs["sync-candidate"]["command"]


def test_no_secret_reaches_pulumis_state(tmp_path: Path, stable: Desired) -> None:
    state = json.dumps(provisioned(tmp_path, stable.with_candidate("v2", ())))
    kept = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert len(kept) >= 5
    for name, text in kept.items():
        secret = text.strip().rsplit(":", 1)[-1] if name.endswith(".pgpass") else text.strip()
        assert secret not in state, name
        assert (tmp_path / "secrets" / name).stat().st_mode & 0o777 == 0o600


def test_asked_twice_the_program_says_the_same(tmp_path: Path, stable: Desired) -> None:
    assert provisioned(tmp_path, stable) == provisioned(tmp_path, stable)


def test_everything_listens_on_loopback(tmp_path: Path, stable: Desired) -> None:
    for name, inputs in provisioned(tmp_path, stable.with_candidate("v2", ())).items():
        assert "//127.0.0.1:" in inputs["address"], name
        assert "0.0.0.0" not in inputs["command"], name


def test_stack_json_names_what_stands_and_only_links_between(tmp_path: Path, stable: Desired) -> None:
    target = LocalTarget(a_site(tmp_path, stable))
    stack_file.compose(stable, "local", target.describe(stable)).write(tmp_path / "stack.json")
    found = Stack.read(tmp_path / "stack.json")
    names = {each.name for each in found.components}
    assert names == set(TOPOLOGY.standing(candidate=False))
    assert all({link.source, link.target} <= names for link in found.links)
    assert (found.releases.candidate, found.releases.baseline) == (None, None)
    assert set(found.cohorts) == {"high", "standard", "anonymous"}


SAME = {
    "version": "v1",
    "address": "http://127.0.0.1:1",
    "command": "run",
    "files": {"a": "1"},
    "seeds": {},
    "section": "s",
    "home": "/h",
    "state": provider.RUNNING,
}


@pytest.mark.parametrize(
    ("seen", "wanted", "changes"),
    [
        ({}, {}, False),
        ({"seeds": None}, {}, False),
        ({"state": "stopped"}, {}, True),
        ({"files": {"a": "missing"}}, {}, True),
        ({}, {"version": "v2"}, True),
        ({}, {"command": "run --other"}, True),
        ({"section": "edited"}, {}, True),
        ({}, {"cache": "/elsewhere"}, False),
    ],
)
def test_what_asks_for_a_restart(seen: dict[str, Any], wanted: dict[str, Any], changes: bool) -> None:
    found = provider.LocalProvider().diff("x", SAME | seen, SAME | wanted)
    assert found.changes is changes
    assert not found.replaces


def test_another_home_is_another_component() -> None:
    found = provider.LocalProvider().diff("x", SAME, SAME | {"home": "/other"})
    assert found.replaces == ["home"]
