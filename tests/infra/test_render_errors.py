"""A rendering that fails says what failed, once, and nothing of how it was done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each renders the whole stack

# Every part that fails takes others with it, in Pulumi's event loop and in the threads that answer for it.
_PROGRAM = """
import gc, sys
import pulumi, pulumi_kubernetes as kubernetes
from infra.render import render

def program():
    provider = kubernetes.Provider("zone")
    for number in range(8):
        given = provider.id
        if number > 2 and sys.argv[1] == "input":
            given = given.apply(lambda _: int("what failed"))
        made = kubernetes.core.v1.ConfigMap(
            f"c{number}", metadata={"name": f"c{number}"}, data={"x": given},
            opts=pulumi.ResourceOptions(provider=provider),
        )
        if number > 2 and sys.argv[1] == "output":
            made.id.apply(lambda _: int("what failed"))
        if number == 5 and sys.argv[1] == "program":
            int("what failed")
        if number == 5 and sys.argv[1] == "question":
            pulumi.runtime.invoke("what failed", {})

for _ in range(3):
    try:
        render(program)
    except Exception as error:
        print("what failed" in str(error))
    gc.collect()
"""


@pytest.mark.parametrize("where", ["input", "output", "program", "question"])
def test_what_fails_in_a_program_is_raised_and_nothing_is_printed(where: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", _PROGRAM, where],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert (ended.stdout.split(), ended.stderr) == (["True"] * 3, "")


def test_rendering_for_clusters_that_cannot_reach_each_other_is_refused_in_words(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("zones: {private: {context: another}}\n")
    line = ["stack", "render", "--target", "kubernetes", "--settings", str(settings)]
    ended = subprocess.run(
        [sys.executable, "-m", "huidu", *line, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    said = ended.stderr.splitlines()
    assert said[0].startswith("huidu: link has links to zones on other clusters")
    assert said[1:] == ["  expected: zones: {link: {networks: [10.1.0.0/16]}}"]
