"""Custom resource definitions of the operators the stack rests on, out of their own Go modules.

Go fetches the modules (no code of theirs is run), their hashes are compared with the ones pinned here, and
the definitions are kept in the cache as one JSON file each: reading them again costs no YAML.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import yaml

from huidu.foundation.errors import MissingProgram
from huidu.foundation.workspace import Workspace
from infra.toolchain import cache, go, work
from infra.toolchain.program import Found, Program, Say


@dataclass(frozen=True, slots=True)
class Module:
    """Where definitions come from: a Go module, its version and hash as in go.sum, a folder of YAML in it."""

    path: str
    version: str
    sum: str
    folder: str


MODULES = (
    Module(
        "sigs.k8s.io/gateway-api",
        "v1.4.0",
        "h1:ZwlNM6zOHq0h3WUX2gfByPs2yAEsy/EenYJB78jpQfQ=",
        "config/crd/standard",
    ),
    Module(
        "github.com/envoyproxy/gateway",  # 1.6 is the one made for Gateway API 1.4.
        "v1.6.0",
        "h1:AWKXQpvnNs6vqSeDgSwOyqMKlPircGXvw97mkfcDh/w=",
        "charts/gateway-helm/crds/generated",
    ),
    Module(
        "github.com/cloudnative-pg/cloudnative-pg",
        "v1.27.0",
        "h1:mp0zlYO4vKAJmQdArWORWKr1lmB4Hj8JeBQGX5RBnpg=",
        "config/crd/bases",
    ),
    Module(
        "github.com/cloudnative-pg/plugin-barman-cloud",  # ObjectStore: where a Cluster's backups lie.
        "v0.15.0",
        "h1:gNVytrzzYUE08wxLDrjfJqy1FPPSFkMe1OEr4s4pVI0=",
        "config/crd/bases",
    ),
    Module(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        "example/prometheus-operator-crd",
    ),
    Module(
        "github.com/cert-manager/cert-manager",
        "v1.18.2",
        "h1:H2P75ycGcTMauV3gvpkDqLdS3RSXonWF2S49QGA1PZE=",
        "deploy/crds",
    ),
)
_PATIENCE = 15 * 60.0


def find(workspace: Workspace) -> Found | None:
    """The definitions in the cache. The path is a folder of JSON files; the version their modules' digest."""
    home = _home(workspace)
    return Found("crds", home, home.name, "cache") if home.is_dir() else None


def obtain(workspace: Workspace, say: Say) -> Found:
    """The definitions, found or fetched (35 MB, 15 s). Raises MissingProgram."""
    return cache.found_or_made(
        "the custom resource definitions",
        _home(workspace),
        find=lambda: find(workspace),
        make=lambda folder: _fetch(workspace, folder, say),
        by_hand=BY_HAND,
        say=say,
    )


def load(folder: Path) -> tuple[dict[str, Any], ...]:
    """Every definition in the folder that `find` gives, by name."""
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))


def definitions(text: str) -> tuple[dict[str, Any], ...]:
    """The custom resource definitions in a YAML file, without what is meant for Helm to fill in."""
    found: list[dict[str, Any]] = []
    for document in yaml.load_all(text, Loader=_Loader):
        if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition":
            metadata = document["metadata"]
            labels = metadata.pop("labels", None) or {}
            if kept := {key: value for key, value in labels.items() if "{{" not in str(value)}:
                metadata["labels"] = kept
            found.append(document)
    return tuple(found)


def _home(workspace: Workspace) -> Path:
    pinned = json.dumps([astuple(module) for module in MODULES])
    return workspace.cache / "crds" / hashlib.sha256(pinned.encode()).hexdigest()[:8]


def _fetch(workspace: Workspace, folder: Path, say: Say) -> None:
    toolchain = go.obtain(workspace, say)
    say(f"fetching custom resource definitions: {len(MODULES)} Go modules (35 MB)")
    # Go's own check of the hashes asks a server that a mirror of modules may not have; ours asks nobody.
    env = go.environment(workspace) | {"GOSUMDB": "off"}
    wanted = [f"{module.path}@{module.version}" for module in MODULES]
    said = work.run(
        [toolchain.path, "mod", "download", "-json", *wanted],
        seconds=_PATIENCE,
        env=env,
        cwd=folder,
        beat=lambda gone, _: say(f"fetching custom resource definitions: {gone:.0f} s"),
    )
    places = {each["Path"]: each for each in _objects(said)}
    for module in MODULES:
        place = places[module.path]
        if place["Sum"] != module.sum:
            raise MissingProgram(f"{module.path} is not what was pinned: {place['Sum']}", remedy=BY_HAND)
        _keep(sorted((Path(place["Dir"]) / module.folder).glob("*.yaml")), folder)
    go.clean(workspace, toolchain)


def _keep(files: Iterable[Path], folder: Path) -> None:
    for file in files:
        for document in definitions(file.read_text(encoding="utf-8")):
            target = folder / f"{document['metadata']['name']}.json"
            target.write_text(json.dumps(document), encoding="utf-8")


def _objects(text: str) -> list[dict[str, Any]]:
    """JSON objects that follow each other, with anything else Go may have said between them."""
    decoder, found, at = json.JSONDecoder(), [], text.find("\n{") if not text.startswith("{") else 0
    while at >= 0:
        document, at = decoder.raw_decode(text, text.index("{", at))
        found.append(document)
        at = text.find("\n{", at)
    return found


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML refuses a bare `=`, which stands in some descriptions' lists of operators."""

    yaml_constructors = yaml.SafeLoader.yaml_constructors | {
        "tag:yaml.org,2002:value": yaml.SafeLoader.construct_yaml_str
    }


BY_HAND = "reach a Go module proxy (GOPROXY), then `huidu doctor --obtain --kubernetes`"
PROGRAM = Program("crds", "custom resource definitions for tests", find, obtain, BY_HAND)
