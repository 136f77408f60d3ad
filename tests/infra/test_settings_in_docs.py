"""The settings that the documents show: whoever copies them gets a stack, not a refusal."""

from __future__ import annotations

import datetime
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.policies import judge
from infra.program import program
from infra.render import render
from infra.targets import known
from infra.targets.cloud.settings import CloudSettings
from infra.targets.kubernetes.settings import Settings
from infra.wanted import wanted

# The cloud's SDK warns of its own old names when it is loaded.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.slow,  # each renders the whole stack
]
DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```yaml\n((?s:.*?))^```|(?<=\n\n)((?: {4,}.*\n)+)", re.MULTILINE)
FIELDS = {"kubernetes": set(Settings.model_fields), "alicloud": set(CloudSettings.model_fields)}


def shown() -> Iterator[tuple[str, str, str]]:
    """Document, target and text of each block, fenced or indented, with the keys of a target's settings."""
    for document in sorted(DOCS.glob("*.md")):
        for match in BLOCK.finditer(document.read_text(encoding="utf-8")):
            text = textwrap.dedent(match[1] or match[2])
            try:
                found: Any = yaml.safe_load(text)
            except yaml.YAMLError:
                continue
            if isinstance(found, dict) and found:
                for target, fields in FIELDS.items():
                    if set(found) <= fields:
                        yield document.name, target, text


SHOWN = list(shown())


def test_the_documents_show_settings() -> None:
    assert {(document, target) for document, target, _ in SHOWN} >= {
        ("kubernetes.md", "kubernetes"),
        ("infra.md", "alicloud"),
    }
    assert len([document for document, *_ in SHOWN if document == "kubernetes.md"]) >= 2


@pytest.mark.parametrize(("document", "target", "text"), SHOWN)
def test_settings_of_a_document_render(document: str, target: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    desired = wanted(None, "v2")
    rendered = render(program(desired, known.make(target, desired, file)))
    assert judge(desired.topology, rendered, (), datetime.date(2026, 11, 22)).refused == ()
