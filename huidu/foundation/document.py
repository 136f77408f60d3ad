"""YAML files a person wrote, validated once, with errors that name file and line.

`load_document` reads YAML into a pydantic model. `Duration`, `Share` and `Rate` are floats that may be
written the way people write them: "500ms", "5 %", "100/s".
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from huidu.foundation.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"([+-]?\d+(?:\.\d+)?)"


def parse_duration(value: Any) -> Any:
    """Seconds from "500ms", "30s", "1m30s", "2h", or a plain number of seconds. Raises ValueError."""
    if not isinstance(value, str):
        return value
    parts = re.findall(rf"{_NUMBER}\s*(ms|s|min|m|h|d)\s*", value)
    if not parts or re.sub(rf"{_NUMBER}\s*(ms|s|min|m|h|d)\s*", "", value).strip():
        raise ValueError("expected a duration such as 500ms, 30s, 5m, 2h")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def parse_share(value: Any) -> Any:
    """A part of one from "5 %" or a plain number of 0 to 1. Raises ValueError."""
    if isinstance(value, str):
        match = re.fullmatch(rf"{_NUMBER}\s*%", value.strip())
        if match is None:
            raise ValueError("expected a share such as 5 % or 0.05")
        value = float(match.group(1)) / 100
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 <= value <= 1:
        raise ValueError("expected a share of 0 % to 100 % (a plain number is a part of one: 0.05 is 5 %)")
    return value


def parse_rate(value: Any) -> Any:
    """Events per second from "100/s", "600/min", "5/h", or a plain number per second. Raises ValueError."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(rf"{_NUMBER}\s*/\s*(s|min|m|h)", value.strip())
    if match is None:
        raise ValueError("expected a rate such as 100/s or 600/min")
    return float(match.group(1)) / _UNITS[match.group(2)]


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "examples": [example]}]})


class Misplaced(ValueError):
    """A model's complaint about parts that do not fit each other, at the one of them named by `loc`."""

    def __init__(self, text: str, loc: tuple[int | str, ...]) -> None:
        super().__init__(text)
        self.loc = loc


Duration = Annotated[float, BeforeValidator(parse_duration), _schema("30s")]
Share = Annotated[float, BeforeValidator(parse_share), _schema("5 %")]
Rate = Annotated[float, BeforeValidator(parse_rate), _schema("100/s")]


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, and reads `on`, `12:30` and dates as the text they are."""


# YAML 1.1 makes True of `on`, 750 of `12:30` and an object of a date; YAML 1.2 and people do not.
_SURPRISING = {"tag:yaml.org,2002:" + name for name in ("bool", "int", "timestamp", "value")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in _SURPRISING]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|false|True|False)\Z"), list("tfTF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+\Z"), list("-+0123456789"))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float, bool)):
            raise yaml.constructor.ConstructorError(
                None, None, "a key must be a plain word", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_document(path: Path | str, model: type[M]) -> M:
    """The document at `path` as a `model`. Raises ConfigError with file, line and what was expected."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", file=path, remedy="check the path") from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=path) from None
    return parse_document(text, model, path)


def parse_document(text: str, model: type[M], path: Path | str) -> M:
    """As `load_document`, from `text`; `path` is only named in errors."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        value = yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise ConfigError(f"not YAML: {error.problem or error.context}", file=path, line=line) from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise ConfigError(f"not YAML: {error}", file=path) from None
    if not isinstance(value, dict):
        raise ConfigError("is empty or not a mapping", file=path, line=1, expected="key: value lines")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _refused(error, node, model, path) from None


_MOST_TOLD = 8


def _refused(
    error: ValidationError, node: yaml.Node | None, model: type[BaseModel], path: Path | str
) -> ConfigError:
    """All that is wrong, from the top of the file down: one problem for each line, as the first of a line is
    often the reason of the others."""
    lines: dict[int, ErrorDetails] = {}
    for problem in error.errors(include_url=False):
        lines.setdefault(line_of(node, _place(problem)), problem)
    (line, first), *rest = sorted(lines.items(), key=lambda each: each[0])
    text, expected = _told(first, model)
    more = [f"{path}:{number}: {' '.join(filter(None, _told(each, model)))}" for number, each in rest]
    if len(more) > _MOST_TOLD:
        more[_MOST_TOLD:] = [f"and {len(more) - _MOST_TOLD} more"]
    return ConfigError(text, file=path, line=line, expected=expected, remedy="\n  ".join(more))


def _told(problem: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """What is wrong there, and what was expected."""
    loc = _place(problem)
    where = ".".join(str(part) for part in loc) or "document"
    message = _in_yaml(problem)
    expected = ""
    if problem["type"] == "extra_forbidden":
        known = known_keys(model, loc[:-1])
        message = f"unknown key {loc[-1]!r}"
        near = difflib.get_close_matches(str(loc[-1]), known, 1)
        expected = (f"did you mean {near[0]!r}? " if near else "") + (
            f"known here: {', '.join(known)}" if known else ""
        )
        where = ".".join(str(part) for part in loc[:-1])
    elif problem["type"] == "missing":
        message = f"{loc[-1]!r} is missing"
        where = ".".join(str(part) for part in loc[:-1])
    elif "input" in problem and isinstance(problem["input"], (str, int, float, bool)):
        message = f"{message} (found {problem['input']!r})"
    return (f"{where}: {message}" if where else message), expected


def _place(problem: ErrorDetails) -> tuple[int | str, ...]:
    """Where it stands: where the model that refused it says, else where pydantic does."""
    refused = problem.get("ctx", {}).get("error")
    return (*problem["loc"], *refused.loc) if isinstance(refused, Misplaced) else problem["loc"]


_LISTS = ("tuple_type", "list_type", "set_type", "frozen_set_type")
_MAPPINGS = ("dict_type", "model_type", "model_attributes_type", "mapping_type", "dataclass_type")


def _in_yaml(problem: ErrorDetails) -> str:
    """Pydantic's words, without the names of Python's types: a person wrote YAML."""
    if problem["type"] in _LISTS:
        return "expected a list: [a, b], or a line `- a` for each"
    if problem["type"] in _MAPPINGS:
        return "expected a mapping: {key: value}, or a line `key: value` for each"
    bound = next((key for key in _BOUNDS if key in problem.get("ctx", {})), "")
    if bound:
        limit, given = problem["ctx"][bound], problem.get("input")
        return f"must be {_BOUNDS[bound]} {_like(given, limit)}"
    message = problem["msg"].removeprefix("Value error, ").removesuffix(" after validation, not 0")
    return re.sub(r"^(Tuple|Dictionary) should", lambda kind: _WORDS[kind[1]] + " should", message)


_BOUNDS = {"le": "at most", "ge": "at least", "gt": "greater than", "lt": "less than"}


def _like(given: object, limit: float) -> str:
    """A limit in the unit in which the value was written: 604800 of "1000d" are seconds."""
    if not isinstance(given, str) or not isinstance(limit, (int, float)):
        return f"{limit}"
    if given.endswith("%"):
        return f"{limit * 100:g} %"
    if "/" in given:
        return f"{limit:g}/s"
    return f"{limit:g} s" if given[-1:].isalpha() else f"{limit:g}"


_WORDS = {"Tuple": "List", "Dictionary": "Mapping"}


def line_of(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    """The line (from 1) of the deepest part of `loc` that stands in the document."""
    line = 1 if node is None else node.start_mark.line + 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            match = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if match is None:
                continue  # pydantic names union members in its path too; they are no keys of the document
            line, node = match[0].start_mark.line + 1, match[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def line_in(text: str, loc: tuple[int | str, ...]) -> int:
    """The line of `loc` in the text of a document that was read without an error."""
    return line_of(yaml.compose(text, Loader=_Loader), loc)


def known_keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand at `loc` of a document of `model`; empty where that cannot be told."""
    schema: Any = model.model_json_schema()
    definitions = schema.get("$defs", {})
    for part in loc:
        schema = _step(schema, part, definitions)
    return sorted(_resolve(schema, definitions).get("properties", {}))


def _resolve(schema: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    while isinstance(schema, dict):
        if "$ref" in schema:
            schema = definitions.get(schema["$ref"].rsplit("/", 1)[-1], {})
        elif "anyOf" in schema:
            schema = next((each for each in schema["anyOf"] if each.get("type") != "null"), {})
        elif len(schema.get("allOf", [])) == 1:
            schema = schema["allOf"][0]
        else:
            return schema
    return {}


def _step(schema: Any, part: int | str, definitions: dict[str, Any]) -> Any:
    schema = _resolve(schema, definitions)
    if isinstance(part, int):
        return schema.get("items", {})
    return schema.get("properties", {}).get(part) or schema.get("additionalProperties") or {}
