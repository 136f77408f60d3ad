"""Files that people write: what they may say, and how they are told what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from huidu.foundation.document import Duration, Misplaced, Rate, Share, load_document, parse_document
from huidu.foundation.errors import ConfigError


class Stage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    share: Share
    bake: Duration = 0.0


class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    stages: list[Stage] = []
    gates: dict[str, Stage] = {}
    words: tuple[str, ...] = ()
    limit: Duration = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Plan:
        for number, stage in enumerate(self.stages):
            if stage.bake > self.limit > 0:
                raise Misplaced("longer than the limit", ("stages", number, "bake"))
        return self


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration, "500ms", 0.5),
        (Duration, "30s", 30.0),
        (Duration, "1m30s", 90.0),
        (Duration, "2 h", 7200.0),
        (Duration, 7, 7.0),
        (Share, "5 %", 0.05),
        (Share, "0.1%", 0.001),
        (Share, 0.05, 0.05),
        (Rate, "100/s", 100.0),
        (Rate, "600/min", 10.0),
    ],
)
def test_quantities_are_read_the_way_people_write_them(kind: object, text: object, value: float) -> None:
    assert TypeAdapter(kind).validate_python(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Duration, "soon"),
        (Duration, "5 parsecs"),
        (Share, "120 %"),
        (Share, 5),
        (Share, "-1 %"),
        (Rate, "fast"),
    ],
)
def test_nonsense_quantities_are_refused(kind: object, text: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("name: a\nstagse: []\n", 2, "did you mean 'stages'"),
        ("name: a\nstages:\n- share: 5 %\n- share: 150 %\n", 4, "share of 0 % to 100 %"),
        ("name: a\nstages:\n- share: 5 %\n  bkae: 3s\n", 4, "did you mean 'bake'"),
        ("name: a\ngates:\n  errors:\n    bake: 3s\n", 3, "'share' is missing"),
        ("name: a\nname: b\n", 2, "stands twice"),
        ("name: [a\n", 2, "not YAML"),
        ("- a\n- b\n", 1, "not a mapping"),
        ("", 1, "not a mapping"),
        ("name: a\nwords: b\n", 2, "words: expected a list: [a, b]"),
        ("name: a\nstages: 3\n", 2, "stages: expected a list: [a, b]"),
        ("name: a\ngates: [b]\n", 2, "gates: expected a mapping: {key: value}"),
        ("name: a\nstages: [3]\n", 2, "stages.0: expected a mapping"),
        ("name: a\nlimit: 1s\nstages:\n- share: 5 %\n  bake: 3s\n", 5, "stages.0.bake: longer than"),
    ],
)
def test_every_mistake_names_file_line_and_what_was_expected(text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, Plan, "plan.yaml")
    assert says in str(caught.value)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"plan.yaml:{line}: ")


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_document(tmp_path / "absent.yaml", Plan)


@pytest.mark.parametrize("word", ["on", "yes", "12:30", "2026-11-21"])
def test_words_that_yaml_1_1_would_turn_into_something_else_stay_words(word: str) -> None:
    assert parse_document(f"name: {word}\n", Plan, "p").name == word


@given(st.text())
def test_no_text_whatsoever_ends_in_anything_but_a_plan_or_a_configuration_error(text: str) -> None:
    try:
        parse_document(text, Plan, "plan.yaml")
    except ConfigError as error:
        assert "plan.yaml" in str(error)


class Bounded(BaseModel):
    model_config = ConfigDict(extra="forbid")
    duration: Annotated[Duration, Field(le=604_800)] = 1.0
    rate: Annotated[Rate, Field(gt=0)] = 1.0
    share: Annotated[Share, Field(le=0.5)] = 0.1
    workers: Annotated[int, Field(ge=1)] = 1
    words: Annotated[list[str], Field(min_length=1)] = ["a"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("duration: 1000d", "duration: must be at most 604800 s (found '1000d')"),
        ("rate: 0/s", "rate: must be greater than 0/s (found '0/s')"),
        ("share: 60 %", "share: must be at most 50 % (found '60 %')"),
        ("workers: 0", "workers: must be at least 1 (found 0)"),
        ("words: []", "words: List should have at least 1 item"),
    ],
)
def test_a_limit_is_told_in_the_unit_in_which_the_value_was_written(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_document(line + "\n", Bounded, "p.yaml")
    assert str(caught.value) == f"p.yaml:1: {says}"


def test_everything_that_is_wrong_is_told_with_its_line() -> None:
    """Else a file is mended one mistake and one run at a time."""
    with pytest.raises(ConfigError) as caught:
        parse_document("workers: 0\nduration: soon\nwrds: [a]\n", Bounded, "p.yaml")
    told = str(caught.value).splitlines()
    assert (caught.value.line, told[0]) == (1, "p.yaml:1: workers: must be at least 1 (found 0)")
    assert any(each.strip().startswith("p.yaml:2: duration: expected a duration") for each in told)
    assert any("p.yaml:3: unknown key 'wrds' did you mean 'words'?" in each for each in told)
    many = "\n".join(f"unknown_{number}: 1" for number in range(30))
    with pytest.raises(ConfigError, match="and 21 more"):
        parse_document(many, Bounded, "p.yaml")
