"""What a user gets wrong is said in words, with exit code 2, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from huidu.foundation.errors import HuiduError
from huidu.foundation.outcome import Outcome
from infra.commands import stack


def refused(*words: str | Path) -> str:
    """What a command says that must be refused as a mistake of the user's."""
    ended = CliRunner().invoke(stack, [str(each) for each in words])
    assert isinstance(ended.exception, HuiduError), (ended.output, ended.exception)
    assert ended.exception.outcome is Outcome.USAGE
    return str(ended.exception)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "home"
    monkeypatch.setenv("HUIDU_HOME", str(found))
    return found


@pytest.mark.parametrize("command", ["status", "preview", "up", "drift"])
def test_a_home_that_is_a_file(home: Path, command: str) -> None:
    home.write_text("not a folder")
    said = refused(command)
    assert str(home) in said and "HUIDU_HOME" in said


@pytest.mark.parametrize("text", [b"", b"{", b"{}", b"\x9d\xff\x00"])
@pytest.mark.parametrize("command", ["status", "preview", "up", "drift"])
def test_a_record_of_what_is_wanted_that_is_damaged(home: Path, text: bytes, command: str) -> None:
    (home / "stack").mkdir(parents=True)
    (home / "stack/desired.json").write_bytes(text)
    said = refused(command)
    assert "desired.json" in said and "huidu stack down" in said
    assert CliRunner().invoke(stack, ["down"]).exit_code == 0
    assert not (home / "stack").exists()


def test_such_a_record_of_a_stack_elsewhere_is_not_taken_down_by_what_needs_it(home: Path) -> None:
    (home / "targets/kubernetes").mkdir(parents=True)
    (home / "targets/kubernetes/desired.json").write_text("{}")
    said = refused("down", "--target", "kubernetes")
    assert "remove it, then `huidu stack up --target kubernetes`" in said


@pytest.mark.parametrize("pid", ["999999999", "-5"])
def test_a_process_to_live_as_long_as_that_is_not_there(home: Path, pid: str) -> None:
    assert "--while" in refused("up", "--while", pid)
    assert not home.exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.yaml", None, "No such file"),
        ("binary.yaml", b"\xaa\x00\xff", "not UTF-8"),
        ("list.yaml", b"- a\n", "not a mapping"),
        ("ends.py", b"\nraise SystemExit(0)\n", "ends.py:2: SystemExit"),
        ("says.py", b"import sys\nsys.exit('no')\n", "says.py:2: SystemExit: no"),
        ("fails.py", b"import nothere\n", "ModuleNotFoundError"),
        ("binary.py", b"\xaa\x00\xff", "SyntaxError"),
        ("other.py", b"TOPOLOGY = 5\n", "no TOPOLOGY"),
    ],
)
def test_a_topology_that_is_none(
    home: Path, tmp_path: Path, name: str, text: bytes | None, said: str
) -> None:
    file, out = tmp_path / name, tmp_path / "out"
    if text is not None:
        file.write_bytes(text)
    assert said in refused("render", "--target", "kubernetes", "--out", out, "--topology", file)
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [("a file", "is a file"), ("a file/below", "Not a directory"), ("a" * 300, "File name too long")],
)
def test_a_folder_to_render_to_that_cannot_be(home: Path, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a file").write_text("mine")
    assert said in refused("render", "--target", "alicloud", "--out", tmp_path / name)
    assert (tmp_path / "a file").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ("render", "--target", "kubernetes", "--out", ""),
        ("render", "--target", "kubernetes", "--out", "x", "--settings", ""),
        ("up", "--topology", ""),
        ("preview", "--topology="),
        ("up", "--target", "kubernetes", "--settings", ""),
        ("up", "--exemptions", ""),
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """As a script leaves it whose variable is not set."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert " is empty" in refused(*words)
    assert not home.exists() and not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("down", "--target", "kubernetes", "--keep-data"), "--keep-data"),
        (("render", "--target", "kubernetes", "--out", "x", "--candidate", ""), "no version"),
    ],
)
def test_options_that_do_not_go_together(home: Path, words: tuple[str, ...], said: str) -> None:
    assert said in refused(*words)
    assert not home.exists()


def test_every_command_is_told_in_one_whole_line() -> None:
    told = CliRunner().invoke(stack, ["--help"], terminal_width=80).output.partition("Commands:")[2]
    assert "..." not in told
    assert [line.split()[0] for line in told.splitlines() if line] == sorted(stack.commands)
