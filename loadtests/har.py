"""A browser's recording (HAR) becomes a journey: what har2locust takes from it, written for `--journeys`.

har2locust chooses the requests (no images, fonts, styles; `.urlignore` and `.headerignore` of the current
folder) and renders them through our template. Before that the recording is made fit for load: one origin,
no secrets, no headers of the browser's cache and connection, identifiers taken from the answers that gave
them instead of those that were recorded.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huidu.foundation.errors import ConfigError, HuiduError, MissingProgram, UsageError
from huidu.foundation.workspace import write_atomic

_TEMPLATE = Path(__file__).with_name("recorded.py.jinja2")
_SECONDS = 120.0
# What the browser says about its cache, its connection and itself: load has its own.
_BROWSERS = re.compile(
    r"^(:.*|host|connection|content-length|cookie|accept-encoding|user-agent|if-none-match|if-modified-since"
    r"|cache-control|pragma|priority|te|upgrade-insecure-requests|sec-.*)$",
    re.IGNORECASE,
)
_SECRET = re.compile(r"^(proxy-)?authorization$|token|api[-_]?key|secret|session|passw", re.IGNORECASE)
# Shorter values stand in many places by chance.
_SHORTEST_ID = 6


@dataclass(frozen=True, slots=True)
class Recorded:
    """A journey written: its name, the origin it was recorded at, how many requests of it, how many of the
    recording are left out, and the variables that must hold what was secret in it."""

    name: str
    origin: str
    requests: int
    left_out: int
    secrets: tuple[str, ...]


def record(har: Path, out: Path, name: str | None = None) -> Recorded:
    """Write `out`, a Python file of one journey, from the recording `har`.

    Raises MissingProgram without har2locust, ConfigError where `har` is no recording, UsageError where `out`
    exists.
    """
    if importlib.util.find_spec("har2locust") is None:
        raise MissingProgram(
            "har2locust is not installed, which reads browser recordings",
            remedy="pip install 'huidu[har]', or pip install har2locust==0.9.4",
        )
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="choose another --out")
    recording = _read(har)
    journey = name or re.sub(r"[^a-z0-9]+", "-", har.stem.lower()).strip("-") or "recording"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", journey):
        raise UsageError(f"--name {journey!r} is no name of a journey", remedy="letters, digits and dashes")
    origin, kept = prepared(recording, journey)
    if not kept:
        raise ConfigError("no request in it can be offered", file=har, expected="answered HTTP requests")
    text = _render({"log": {**recording["log"], "entries": kept}}, har)
    requests = text.count("visit.step(")
    secrets = tuple(sorted(set(re.findall(r'os\.environ\["(\w+)"\]', text.replace("'", '"')))))
    write_atomic(out, _header(har, origin, secrets) + text.strip() + "\n" + _needs(secrets))
    return Recorded(journey, origin, requests, len(recording["log"]["entries"]) - requests, secrets)


def _read(har: Path) -> dict[str, Any]:
    try:
        found = json.loads(har.read_text(encoding="utf-8-sig"))
        entries = found["log"]["entries"]
        for each in entries:
            urlsplit(each["request"]["url"]), each["request"]["method"], int(each["response"]["status"])
            dict.fromkeys(header["name"] + header["value"] for header in each["request"]["headers"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"is no HAR file: {type(error).__name__}: {error}"[:200],
            file=har,
            expected="what a browser's network panel saves (save all as HAR)",
        ) from None
    found["log"].setdefault("version", "1.2")
    return dict(found)


def prepared(har: dict[str, Any], journey: str) -> tuple[str, list[dict[str, Any]]]:
    """The origin of the first request, and its entries as the template wants them. Pure."""
    origin, kept = "", list[dict[str, Any]]()
    known: dict[str, str] = {}
    for entry in har["log"]["entries"]:
        request, status = entry["request"], int(entry["response"]["status"])
        parts = urlsplit(request["url"])
        own = f"{parts.scheme}://{parts.netloc}"
        if parts.scheme not in ("http", "https") or status < 100:
            continue  # data:, a socket, or never answered
        origin = origin or own
        if own != origin:
            continue
        answered = _object(entry["response"].get("content", {}).get("text"))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        posted = request.get("postData", {})
        body = _object(posted.get("text")) if "json" in posted.get("mimeType", "") else None
        kept.append(
            {
                **entry,
                "request": {**request, "headers": [_header_of(each) for each in _own_headers(request)]},
                "_journey": journey,
                "_function": "journey_" + journey.replace("-", "_"),
                "_name": f"{request['method'].upper()} {_titled(parts.path or '/', known)}",
                "_path": _text(path, known),
                "_json": None if body is None else _source(body, known),
                "_body": _text(posted["text"], known) if body is None and posted.get("text") else None,
                "_status": 200 if status == 304 else status,
                "_keys": list(answered or {}) if status < 300 else [],
            }
        )
        if status < 300:
            known |= {
                str(value): key
                for key, value in (answered or {}).items()
                if isinstance(value, str | int)
                and not isinstance(value, bool)
                and len(str(value)) >= _SHORTEST_ID
            }
    return origin, kept


def _object(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _own_headers(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in request["headers"] if not _BROWSERS.match(each["name"])]


def _header_of(header: dict[str, Any]) -> dict[str, Any]:
    """A header as it is sent; what looks like a secret comes from the environment."""
    name = str(header["name"])
    if not _SECRET.search(name):
        return {"name": name, "value": header["value"]}
    return {"name": name, "value": "secret", "_source": _secret(name)}


def _secret(name: str) -> str:
    return f"os.environ[{'HAR_' + re.sub(r'[^A-Za-z0-9]+', '_', name).upper()!r}]"


def _text(text: str, known: dict[str, str]) -> str:
    """Python for a path or a form: parts that an earlier answer gave are taken from that answer, secrets
    from the environment."""
    pieces, parts = list[str](), re.split(r"([/?&=])", text)
    for place, part in enumerate(parts):
        named = parts[place - 2] if place >= 2 and parts[place - 1] == "=" else ""
        if part in known:
            pieces.append(f"quote(str(found[{known[part]!r}]), safe='')")
        elif named and _SECRET.search(named):
            pieces.append(f"quote({_secret(named)}, safe='')")
        elif pieces and pieces[-1].startswith("text:"):
            pieces[-1] += part
        elif part:
            pieces.append(f"text:{part}")
    return " + ".join(repr(each[5:]) if each.startswith("text:") else each for each in pieces)


def _titled(path: str, known: dict[str, str]) -> str:
    """The step's name: all visits have the same, whatever the identifiers."""
    return "/".join(f"{{{known[part]}}}" if part in known else part for part in path.split("/"))


def _source(value: Any, known: dict[str, str]) -> str:
    """Python for a JSON value, as `_text`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_member(key, each, known)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_source(each, known) for each in value) + "]"
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value) in known:
        return f"found[{known[str(value)]!r}]"
    return repr(value)


def _member(key: str, value: Any, known: dict[str, str]) -> str:
    secret = isinstance(value, str) and value not in known and _SECRET.search(key)
    return _secret(key) if secret else _source(value, known)


def _render(har: dict[str, Any], file: Path) -> str:
    """har2locust, in a process of its own."""
    bin_folder = str(Path(sys.executable).parent)  # it calls ruff, which stands beside it
    path = os.pathsep.join([bin_folder, os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "recording.har"
        source.touch(mode=0o600)
        source.write_text(json.dumps(har), encoding="utf-8")
        command = [sys.executable, "-m", "har2locust", "--template", str(_TEMPLATE), str(source)]
        try:
            done = subprocess.run(
                command,
                env=os.environ | {"PYTHONSAFEPATH": "1", "PATH": path},
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise HuiduError(f"har2locust did not end within {_SECONDS:g} s", where=str(file)) from None
    if done.returncode != 0 or "JOURNEYS" not in done.stdout:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ConfigError(f"har2locust cannot read it: {last}"[:300], file=file)
    return done.stdout


def _needs(secrets: tuple[str, ...]) -> str:
    """What the plan looks for before anything is sent."""
    names = "".join(f"{name!r}, " for name in secrets).rstrip()
    return f"NEEDS = ({names})\n" if secrets else ""


def _header(har: Path, origin: str, secrets: tuple[str, ...]) -> str:
    needs = f" Needs {', '.join(secrets)} in the environment." if secrets else ""
    return f'"""Recorded at {origin} ({har.name}), read by har2locust.{needs}"""\n\n'
