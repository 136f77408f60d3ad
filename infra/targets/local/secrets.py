"""The stack's secrets: generated once, in files only their owner can read, handed on as paths."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from huidu.foundation.errors import StateError
from huidu.foundation.workspace import write_atomic

PASSPHRASE = "pulumi.passphrase"  # noqa: S105 - a file's name
TOKEN_KEY = "token.key"  # noqa: S105
JWKS = "token.jwks"
TESTERS = "testers.secret"
CORE_ADMIN = "core-admin.password"
CORE_SYNC = "core-sync.password"


class Secrets:
    """The files in one folder (0700). Each is made when it is first asked for and never changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """The file `name` (0600) with a generated secret of 256 bits as URL-safe text. Raises StateError."""
        path = self.folder / name
        if not path.exists():
            key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            self._write(path, key)
        return path

    def read(self, name: str) -> str:
        """The secret itself; never to be printed or put on a command line."""
        return self.path(name).read_text(encoding="utf-8").strip()

    def passfile(self, name: str, role: str) -> Path:
        """The file `name` in PostgreSQL's password file format, for the login `role` on 127.0.0.1."""
        path = self.folder / name
        if not path.exists():
            self._write(path, f"127.0.0.1:*:*:{role}:{secrets.token_urlsafe(32)}\n")
        return path

    def password(self, name: str, role: str) -> str:
        """The password in `passfile(name, role)`."""
        return self.passfile(name, role).read_text(encoding="utf-8").strip().rsplit(":", 1)[1]

    def keep(self, name: str, text: str) -> Path:
        """Write `text`, derived from a secret, as the file `name` (0600)."""
        path = self.folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            self._write(path, text)
        return path

    def _write(self, path: Path, text: str) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            write_atomic(path, text, mode=0o600)
        except OSError as error:
            raise StateError(f"a secret cannot be written: {error.strerror}", where=str(path)) from None
