"""Who somebody is: the operating system's user, or the owner of a token.

The file of tokens (0600) holds names and hashes, one `name: hash` a line; `huidu rollout token NAME` makes a
token, adds its hash, and writes the token itself to a file of its own, to be handed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pwd
import re
import secrets
from pathlib import Path

from huidu.foundation.errors import ConfigError, StateError, UsageError
from huidu.foundation.workspace import write_atomic
from rollout.plan.people import ActKind, People

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")

Proved = tuple[str, str]
"""(name, by what: `os` or `token`)"""


def os_user() -> str:
    """By the process's user id: variables of the environment are no proof."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return f"uid-{os.geteuid()}"


def proved(people: People, by: str | None, token: str | None) -> Proved:
    """Who acts: by a token, else this process's user; `by` must then be that one. Raises UsageError."""
    if token is None:
        name = os_user()
        if by is not None and by != name:
            raise UsageError(
                f"this process belongs to {name!r}, not to {by!r}",
                remedy="prove it with --token-file (a file that holds the person's token), or leave --by out",
            )
        return name, "os"
    if people.tokens is None:
        raise UsageError("the plan names no file of tokens", remedy="people: {tokens: FILE} in the plan")
    found = by_token(people.tokens, token)
    if not found or (by is not None and by != found):
        raise UsageError("that is not this person's token", remedy="ask whoever keeps the file of tokens")
    return found, "token"


def permit(people: People, kind: ActKind, name: str) -> None:
    """Raises UsageError where `name` may not do `kind`."""
    if not people.allowed(kind, name):
        raise UsageError(
            f"{name!r} may not {kind}", remedy=f"the plan gives that to: {', '.join(people.may[kind])}"
        )


def by_token(path: Path, token: str) -> str:
    """The name that the token belongs to, "" for nobody's. Raises ConfigError for a file others can read."""
    told = _hash(token)
    found = ""
    for name, known in _known(path).items():
        if hmac.compare_digest(told, known):
            found = name
    return found


def new_token(path: Path, name: str, handed: Path) -> None:
    """A new token for `name`, which replaces an older one; written to `handed`, 0600. Raises HuiduError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a name", remedy="letters, digits, dot, dash, underscore, @")
    token = secrets.token_urlsafe(32)
    known = _known(path) if path.exists() else {}
    known[name] = _hash(token)
    text = "".join(f"{each}: {value}\n" for each, value in sorted(known.items()))
    try:
        write_atomic(handed, token + "\n", mode=0o600)
        write_atomic(path, text, mode=0o600)
    except OSError as error:
        raise StateError(f"the token cannot be written: {error.strerror}", where=str(path)) from None


def _hash(token: str) -> str:
    # 32 random bytes need no slow hash: there is nothing to guess.
    return hashlib.sha256(token.strip().encode()).hexdigest()


def check_tokens(path: Path) -> None:
    """Raises ConfigError for a file that others can read, or that holds something else."""
    _known(path)


def secret_text(path: Path, what: str) -> str:
    """The text of a file that its owner alone may read; `what` it holds. Raises ConfigError."""
    try:
        if path.is_dir():
            raise ConfigError(f"this is a directory, not a file of {what}", file=path)
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"others can read this file of {what}", file=path, remedy=f"chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the file of {what} cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the file of {what} is not text", file=path) from None


def _known(path: Path) -> dict[str, str]:
    lines = secret_text(path, "tokens").splitlines()
    found = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, value = (part.strip() for part in line.partition(":"))
        if not _NAME.fullmatch(name) or not _HASH.fullmatch(value):
            raise ConfigError("not a token", file=path, line=number, expected="name: sha256 in hexadecimal")
        found[name] = value
    return found
