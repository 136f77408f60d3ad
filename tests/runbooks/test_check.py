"""What a runbook must say before any of it is run, and that whatever is wrong is told with its line."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.cli import huidu
from huidu.foundation.errors import ConfigError, HuiduError
from huidu.foundation.outcome import Outcome
from runbooks.commands import find
from runbooks.engine.changing import CHANGING
from runbooks.engine.check import examine, load, read
from runbooks.engine.parse import parse
from runbooks.engine.procedure import Kind
from runbooks.engine.words import resolve

BOOK = Path("book.md")


def book(*items: str, command: str = "huidu doctor", info: str = "sh step=one") -> str:
    return "\n".join(["# Title", "", "## Do it", "", f"```{info}", command, "```", "", *items, ""])


GOOD = ("- Changes: nothing", "- Expect: good")


def test_a_runbook_is_read_as_it_is_written() -> None:
    text = book(
        "- Changes: the world",
        "- Expect: bad or 7, shows `rolled back` and `100 %`",
        "- Within: 1m30s",
        "- Verify: `huidu stack status --json` shows `v1`",
        "- Verify: `huidu doctor`",
        "- Undo: `huidu stack down`",
        "- Otherwise: look at `huidu stack status`, then ask somebody",
        command="huidu stack up \\\n  --while ${RUN_PID}\n# a remark\nhuidu stack release v2 --defect locks",
    )
    step = read(text, BOOK).steps[0]
    assert [command.words for command in step.commands] == [
        ("huidu", "stack", "up", "--while", "${RUN_PID}"),
        ("huidu", "stack", "release", "v2", "--defect", "locks"),
    ]
    assert [command.line for command in step.commands] == [6, 9]
    assert (step.title, step.line, step.kind) == ("Do it", 5, Kind.NORMAL)
    assert step.expect == (Outcome.BAD.code, 7)
    assert step.shows == ("rolled back", "100 %")
    assert step.within == 90
    assert [probe.shows for probe in step.verify] == [("v1",), ()]
    assert step.undo[0].words == ("huidu", "stack", "down")
    assert step.otherwise == "look at `huidu stack status`, then ask somebody"


def test_code_that_is_no_step_is_prose() -> None:
    text = book(*GOOD) + "\n```sh\nrm -rf /\n```\n\n```\nanything\n```\n"
    assert [step.id for step in read(text, BOOK).steps] == ["one"]


CHANGES = ("- Changes: the world", "- Expect: good")

REFUSED = [
    ("no verification", book(*CHANGES, "- Undo: `huidu stack down`"), 5, "no verification"),
    ("no undo", book(*CHANGES, "- Verify: `huidu stack status`"), 5, "no undo"),
    ("undo none without a reason", book(*CHANGES, "- Undo: none"), 11, "Undo is not understood"),
    ("no expectation", book("- Changes: nothing"), 5, "which outcome is expected"),
    ("does not say what it changes", book("- Expect: good"), 5, "what it changes"),
    ("a list that is missing", book("Prose."), 5, "which outcome is expected"),
    ("unknown attribute", book(*GOOD, "- Expct: good"), 11, "unknown attribute 'Expct'"),
    ("attribute twice", book(*GOOD, "- Expect: bad"), 11, "stands twice"),
    ("item without key", book(*GOOD, "- `something`"), 11, "has no key"),
    ("unknown outcome", book("- Changes: nothing", "- Expect: fine"), 10, "unknown outcome 'fine'"),
    ("exit code too large", book("- Changes: nothing", "- Expect: 256"), 10, "unknown outcome '256'"),
    ("no outcome", book("- Changes: nothing", "- Expect: shows `x`"), 10, "no outcome"),
    ("text without shows", book("- Changes: nothing", "- Expect: good `x`"), 10, "not understood"),
    ("time limit", book(*GOOD, "- Within: soon"), 11, "not a time limit"),
    ("endless", book(*GOOD, "- Within: 0s"), 11, "not a time limit"),
    ("unknown kind", book(*GOOD, "- Kind: sometimes"), 11, "unknown kind"),
    ("unknown flag", book(*GOOD, "- When: full moon"), 11, "unknown when"),
    ("background without readiness", book(*GOOD, "- Kind: background"), 5, "when it is ready"),
    ("readiness of a normal step", book(*GOOD, "- Ready: shows `x`"), 11, "only a background step"),
    ("verification without command", book(*GOOD, "- Verify: look at it"), 11, "Verify is not understood"),
    ("unknown background reference", book(*GOOD, "- Stops: traffic"), 5, "'traffic' is no background step"),
    ("after without always", book(*GOOD, "- After: one"), 5, "After is for clean-up steps"),
    ("leaves no file", book(*GOOD, "- Leaves: much"), 11, "Leaves is not understood"),
    ("leaves an unknown variable", book(*GOOD, "- Leaves: `${X}/a`"), 11, "unknown variable ${X}"),
    ("a shell's pipe", book(*GOOD, command="huidu doctor | head"), 6, "'|' is for a shell"),
    ("a shell's substitution", book(*GOOD, command="kill $(cat pid)"), 6, "for a shell"),
    ("unknown variable", book(*GOOD, command="echo ${HOME}"), 6, "unknown variable ${HOME}"),
    ("bare variable", book(*GOOD, command="echo $HUIDU_HOME"), 6, "a variable is written ${NAME}"),
    ("open quote", book(*GOOD, command="echo 'x"), 6, "no closing quotation"),
    ("no command", book(*GOOD, command="# nothing"), 5, "has no command"),
    ("harmless? no", book(*GOOD, command="huidu stack down"), 9, "`huidu stack down` changes something"),
    (
        "harmless? not with that option",
        book(*GOOD, command="huidu rollout serve --port 8765 --run"),
        9,
        "`huidu rollout serve --run` changes something",
    ),
    ("a name that is no name", book(*GOOD, info="sh step=Ö/.."), 5, "cannot be a name"),
    ("misspelt attribute of the block", book(*GOOD, info="sh stepp=one"), 5, "unknown attribute 'stepp=one'"),
    ("second attribute of the block", book(*GOOD, info="sh step=one mutates=1"), 5, "unknown attribute"),
    ("duplicate id", book(*GOOD) + "\n" + book(*GOOD), 16, "stands already at line 5"),
    ("no heading", "\n".join(["```sh step=one", "huidu doctor", "```", "", *GOOD]), 1, "no heading"),
    ("no step at all", "# Title\n\nOnly words.\n", 1, "no step"),
]


@pytest.mark.parametrize(
    ("text", "line", "what"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_what_is_unsafe_or_unclear_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    _, problems = examine(parse(text), BOOK, "")
    assert any(problem.line == line and what in problem.what for problem in problems), problems
    with pytest.raises(ConfigError) as caught:
        read(text, BOOK)
    assert caught.value.outcome is Outcome.USAGE
    assert f"book.md:{line}: " in str(caught.value)


def test_every_command_of_huidu_is_known_to_change_something_or_to_change_nothing() -> None:
    """A command that is added has to be put into one of the two, or a runbook may call it harmless."""
    harmless = {
        *("bench controller", "bench judge", "bench switch", "doctor", "gate", "report go-live"),
        *(
            "journal export",
            "journal verify",
            "load bench",
            "load check",
            "load compare",
            "load record",
            "load report",
        ),
        *("rollout alerts", "rollout check", "rollout explain", "rollout history", "rollout observe"),
        *("rollout page", "rollout rehearse", "rollout replay", "rollout serve", "rollout skip"),
        *("rollout status", "runbook check", "runbook list"),
        *("stack drift", "stack preview", "stack render", "stack status"),
    }
    context = click.Context(huidu)
    every = set[str]()
    for name in huidu.list_commands(context):
        command = huidu.get_command(context, name)
        inner = command.list_commands(context) if isinstance(command, click.Group) else None
        every |= {name} if inner is None else {f"{name} {each}" for each in inner}
    changing = {each for each in CHANGING if "--" not in each}
    assert not changing & harmless
    assert changing | harmless == every
    assert all(each.split(" --")[0] in harmless for each in CHANGING if "--" in each)


def test_everything_wrong_is_told_at_once() -> None:
    text = book("- Changes: the world", "- Expct: good", command="huidu doctor | head")
    with pytest.raises(ConfigError) as caught:
        read(text, BOOK)
    told = str(caught.value)
    assert all(f"book.md:{line}: " in told for line in (5, 6, 10))
    assert "did you mean Expect?" in told


def test_what_a_clean_up_step_follows_must_stand_before_it() -> None:
    always = book(*GOOD, "- Kind: always", "- After: two", info="sh step=clean")
    with pytest.raises(ConfigError, match="'two' is no step before it"):
        read(book(*GOOD) + "\n" + always, BOOK)
    fine = always.replace("After: two", "After: one")
    assert read(book(*GOOD) + "\n" + fine, BOOK).steps[1].after == ("one",)


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        read(text, BOOK)
    except HuiduError as error:
        assert "book.md" in str(error)


PIECES = """# T
## H
```sh step=a
```
```sh step=b x=
huidu stack up
- Expect: good
- Expect: `x`
- Expect: ²
* Expect: bad or 3
- Changes: nothing
- Kind: background
- Ready: shows
- Verify: `'`
  - Undo: none
- Stops: a
- Within: 9999999d
- Within: 1e400s
- Within: -1s
- :
-
1. x
> ```sh step=q
\\

    code"""
FRAGMENTS = st.sampled_from([*PIECES.split("\n"), "\x00"])


@given(st.lists(FRAGMENTS, max_size=30).map("\n".join))
def test_pieces_of_runbooks_in_any_order_are_read_or_refused(text: str) -> None:
    try:
        read(text, BOOK)
    except HuiduError as error:
        assert "book.md" in str(error)


@pytest.mark.parametrize(
    "path", sorted(Path(find("go-live")).parent.glob("*.md")), ids=lambda path: path.stem
)
def test_the_runbooks_that_ship_are_in_order(path: Path) -> None:
    book = load(path)
    assert all(
        step.verify and (step.undo or step.kind) for step in book.steps if step.changes and not step.ready
    )


def test_the_files_that_a_shipped_runbook_names_are_there() -> None:
    package = find("go-live").parents[1]
    values = dict.fromkeys(["HUIDU_HOME", "RUN", "RUN_DIR", "RUN_PID", "KEEPER_PID"], "x")
    named = set()
    for step in load(find("go-live")).steps:
        for command in step.commands:
            words = resolve(command, values, Path("/nonexistent"), package)
            named |= {word for word in words if word.endswith(".yaml")}
    assert len(named) == 3
    assert all(Path(word).is_file() for word in named), named


def test_a_file_beside_the_user_wins_over_the_packaged_one(tmp_path: Path) -> None:
    package, here = tmp_path / "package", tmp_path / "here"
    for folder in (package, here):
        (folder / "rollout/plans").mkdir(parents=True)
    (package / "rollout/plans/demo.yaml").touch()
    command = load(find("go-live")).steps[0].commands[0]
    named = type(command)(1, "", ("huidu", "rollout/plans/demo.yaml"))
    assert resolve(named, {}, here, package)[-1] == str(package / "rollout/plans/demo.yaml")
    (here / "rollout/plans/demo.yaml").touch()
    assert resolve(named, {}, here, package)[-1] == "rollout/plans/demo.yaml"


def test_a_runbook_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.md")
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "binary.md")
    with pytest.raises(HuiduError, match="go-live"):
        find("go-alive")
