"""The control plane for tests and the operators' definitions: found, verified, and never obtained unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from huidu.foundation.errors import MissingProgram
from huidu.foundation.workspace import Workspace
from infra import doctor
from infra.toolchain import control_plane, crds, go, work
from infra.toolchain.program import Found

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: things.example
  labels:
    {labels}
spec:
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        enum:
        - =
        - '{{value}}'
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home", tmp_path / "cache")


def quiet(text: str) -> None:
    pass


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class TestControlPlane:
    def test_on_path_all_five_must_lie_together_and_fit(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        for name in control_plane.PROGRAMS:
            assert control_plane.find(workspace) is None
            script(tmp_path / "bin" / name, "echo Kubernetes v1.34.7")
        server = tmp_path / "bin" / "kube-apiserver"
        assert control_plane.find(workspace) == Found("kubernetes", server, "1.34.7", "PATH")
        script(server, "echo Kubernetes v1.29.0")
        assert control_plane.find(workspace) is None

    def test_without_go_it_says_what_to_install(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def none(workspace: Workspace, say: object) -> Found:
            raise MissingProgram("Go could not be fetched")

        monkeypatch.setattr(go, "obtain", none)
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(MissingProgram, match="Go could not be fetched") as caught:
            control_plane.obtain(workspace, quiet)
        assert "kube-scheduler" in caught.value.remedy
        assert control_plane.find(workspace) is None

    def test_every_module_built_from_is_pinned_by_hash(self) -> None:
        folder = Path(control_plane.__file__).with_name("control-plane")
        for modules, needed in (
            (folder, ("k8s.io/kubernetes v1.34.1", "go.etcd.io/etcd/server/v3 v3.6.4")),
            (folder / "kwok", ("sigs.k8s.io/kwok v0.7.0",)),
        ):
            hashes = (modules / "go.sum").read_text()
            assert all(f"{each} h1:" in hashes for each in needed)


class TestDefinitions:
    @pytest.mark.parametrize(
        ("labels", "kept"),
        [
            ("app: '{{ template \"name\" . }}'", None),
            ("app: '{{ .Release.Name }}'\n    part: crds", {"part": "crds"}),
            ("part: crds", {"part": "crds"}),
        ],
    )
    def test_what_helm_would_fill_in_is_left_out(self, labels: str, kept: dict[str, str] | None) -> None:
        (found,) = crds.definitions(DEFINITION.replace("{labels}", labels))
        assert found["metadata"].get("labels") == kept
        assert found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["enum"][0] == "="

    def test_other_documents_in_a_file_are_left_out(self) -> None:
        assert crds.definitions("kind: ConfigMap\n---\n# only a remark\n---\n- a\n- list\n") == ()

    def test_what_go_fetched_is_kept_by_name_and_found_again(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetch(tmp_path, monkeypatch)
        assert crds.find(workspace) is None
        found = crds.obtain(workspace, quiet)
        assert crds.find(workspace) == found
        (document,) = crds.load(found.path)
        assert document["metadata"] == {"name": "things.example"}

    def test_a_module_that_is_not_the_pinned_one_is_refused(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetch(tmp_path, monkeypatch, sum="h1:somethingelse=")
        with pytest.raises(MissingProgram, match="not what was pinned: h1:somethingelse="):
            crds.obtain(workspace, quiet)
        assert crds.find(workspace) is None


def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: str) -> None:
    """Instead of Go: modules of one file each, and the lines that Go prints about them."""
    said = ["go: downloading one\n"]
    for module in crds.MODULES:
        folder = tmp_path / "modules" / module.path
        file = folder / module.folder / "things.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(DEFINITION.replace("{labels}", "app: '{{ .Release.Name }}'"))
        line: dict[str, Any] = {"Path": module.path, "Sum": module.sum, "Dir": str(folder)}
        said.append(json.dumps(line | {key.capitalize(): value for key, value in changed.items()}, indent=1))
        said.append("\ngo: downloading another\n")

    def download(line: list[str | Path], **options: object) -> str:
        assert "download" in line
        return "".join(said)

    monkeypatch.setattr(go, "obtain", lambda workspace, say: Found("go", Path("go"), "1.26", "PATH"))
    monkeypatch.setattr(go, "clean", lambda workspace, found: None)
    monkeypatch.setattr(work, "run", download)


class TestDoctor:
    def test_it_is_listed_but_neither_missed_nor_made_unasked(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def never(workspace: Workspace, say: object) -> Found:
            raise AssertionError("obtained though nobody asked for it")

        monkeypatch.setattr(doctor, "examine", lambda workspace, obtain, say: [])
        monkeypatch.setattr(go, "obtain", never)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        for obtain in (False, True):
            findings = {each.name: each for each in doctor.run(workspace, obtain, quiet=False)}
            assert findings["kubernetes"].ok and findings["crds"].ok
            assert "huidu doctor --obtain --kubernetes" in findings["kubernetes"].remedy
        assert "is missing" not in capsys.readouterr().err

    def test_asked_for_it_is_missing_with_the_reason(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def none(workspace: Workspace, say: object) -> Found:
            raise MissingProgram("Go could not be fetched")

        monkeypatch.setattr(doctor, "examine", lambda workspace, obtain, say: [])
        monkeypatch.setattr(go, "obtain", none)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        findings = doctor.run(workspace, obtain=True, quiet=True, kubernetes=True)
        assert {each.name: each.ok for each in findings} == {"crds": False, "kubernetes": False}
        said = " ".join(capsys.readouterr().err.split())
        assert f"kubernetes is missing: the Kubernetes {control_plane.KUBERNETES} control plane could" in said
