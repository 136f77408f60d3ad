"""A candidate that serves customers is not exchanged for another one under a rollout's feet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from huidu.foundation.errors import UsageError
from huidu.foundation.workspace import Workspace
from infra import commands
from infra.commands import stack
from infra.desired import Desired, Release
from infra.hybrid_crm import TOPOLOGY
from infra.lifecycle import Change, Lifecycle, route_file
from infra.targets.local import edge_routes, site

SHARE = 0.019
Asked = list[Release | None]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A home whose candidate v5 (of 1 % errors) serves 1.9 % of a cohort; every candidate asked for after."""
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path))
    workspace = Workspace.from_env()
    runs = Desired(topology=TOPOLOGY, stable=Release(version="v1"), created="now")
    desired = runs.with_candidate("v5", ("errors=1%",))
    for file in (site.root(workspace) / "site.json", route_file(workspace, TOPOLOGY)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    desired.write(site.desired_file(workspace))
    serve(workspace, SHARE)
    found: Asked = []

    def release(self: Lifecycle, change: Any, action: str) -> Change:
        found.append(change(self.desired()).candidate)
        return Change((), 0, 0.0)

    monkeypatch.setattr(Lifecycle, "release", release)
    monkeypatch.setattr(commands, "report", lambda *told: None)
    return found


def serve(workspace: Workspace, share: float) -> None:
    document = edge_routes.routes("secret")
    for route in document["resources"][0]["virtual_hosts"][0]["routes"]:
        if route["name"] == "cohort-high":
            mine = round(share * 10_000)
            given = {"touchpoints-candidate-high": mine, "touchpoints-stable-high": 10_000 - mine}
            for each in route["route"]["weighted_clusters"]["clusters"]:
                each["weight"] = given.get(each["name"], 0)
    route_file(workspace, TOPOLOGY).write_text(json.dumps(document))


def release(*words: str) -> Result:
    return CliRunner().invoke(stack, ["release", *words])


@pytest.mark.parametrize(
    "words", [("v6",), ("v6", "--defect", "errors=1%"), ("v5",), ("v5", "--defect", "errors=9%")]
)
def test_another_is_refused_while_the_one_there_serves(asked: Asked, words: tuple[str, ...]) -> None:
    ended = release(*words)
    assert isinstance(ended.exception, UsageError) and asked == []
    assert "1.90%" in ended.exception.what and "'v5'" in ended.exception.what
    assert "rollout abort" in ended.exception.remedy


def test_the_same_candidate_again_is_none_other(asked: Asked) -> None:
    assert release("v5", "--defect", "errors=1%").exit_code == 0
    assert asked == [Release(version="v5", defects=("errors=1%",))]


def test_it_is_exchanged_by_force_and_where_it_serves_nobody(asked: Asked) -> None:
    assert release("v6", "--force").exit_code == 0
    serve(Workspace.from_env(), 0.0)
    assert release("v7").exit_code == 0
    assert [each.version for each in asked if each] == ["v6", "v7"]
