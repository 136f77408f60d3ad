"""State on disk: half a file is never seen; an unwritable place is said in words before anything happens."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from huidu.foundation.errors import StateError
from huidu.foundation.workspace import Workspace, read_json, write_atomic


def test_state_goes_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUIDU_HOME", str(tmp_path / "h"))
    monkeypatch.setenv("HUIDU_CACHE", str(tmp_path / "c"))
    workspace = Workspace.from_env()
    assert workspace.stack_file == tmp_path / "h" / "stack.json"
    assert workspace.cache == tmp_path / "c"


def test_a_secret_is_written_for_its_owner_only(tmp_path: Path) -> None:
    write_atomic(tmp_path / "deep" / "secret", "s", mode=0o600)
    assert stat.S_IMODE((tmp_path / "deep" / "secret").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_no_remains(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "state.json"
    write_atomic(target, "old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_home_that_cannot_be_written_is_said_before_anything_happens(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="state cannot be written"):
        Workspace(tmp_path / "file" / "home", tmp_path).ensure_writable()


@pytest.mark.parametrize(("text", "says"), [(None, "missing"), ("{", "not JSON")])
def test_a_damaged_state_file_is_told_in_words(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "state.json").write_text(text)
    with pytest.raises(StateError, match=says):
        read_json(tmp_path / "state.json")
