"""A target that is down: an INVALID run with all its files, of every kind of run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from huidu.foundation.errors import Unreachable
from huidu.foundation.terminal import Terminal
from loadtests import campaigns, runs
from loadtests.runs import Asked

PROFILE = "channels: {web: {peak: 20/s, journey: {http: [{get: /}]}}}\nduration: 5s\n"
FILES = {"run.json", "ends.json", "verdict.json", "report.html", "junit.xml", "summary.md"}
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "home"))
    (tmp_path / "p.yaml").write_text(PROFILE)
    return Asked(str(tmp_path / "p.yaml"), NOBODY, out=tmp_path / "run")


@pytest.mark.parametrize("kind", ["verify", "functional", "surge", "soak"])
def test_every_kind_of_run_leaves_its_files(asked: Asked, kind: str) -> None:
    if kind == "functional":
        Path(asked.profile).write_text(f"suite: functional\n{PROFILE}")
    terminal = Terminal()
    summary, folder = (
        campaigns.surge(asked, "web", None, terminal)
        if kind == "surge"
        else campaigns.soak(asked, None, terminal)
        if kind == "soak"
        else runs.verify(asked, terminal)
    )
    assert summary.verdict == "INVALID" and summary.kind == kind
    assert "nobody answers" in summary.reasons[0] and "no load was offered" in summary.reasons[0]
    assert {each.name for each in folder.iterdir()} >= FILES
    assert json.loads((folder / "verdict.json").read_text())["verdict"] == "INVALID"
    assert summary.planned == summary.dropped > 0, "nothing was sent"


def test_a_search_ends_as_no_evidence(asked: Asked) -> None:
    result, folder = campaigns.search(asked, 1.0, 2.0, Terminal())
    assert result.word == "INVALID" and len(result.steps) == 1
    assert "nobody answers" in result.steps[0].reason
    assert (folder / "search.json").is_file() and (folder / "run-01" / "junit.xml").is_file()


def test_background_traffic_has_no_verdict_and_says_so_at_once(asked: Asked) -> None:
    with pytest.raises(Unreachable, match="nobody answers"):
        runs.offer(asked, 5.0, Terminal())
