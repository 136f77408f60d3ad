"""The master's side of a run on a cluster, inside its pod: `huidu load verify`, then wait to be fetched.

    python -m loadtests.runners.inside PROFILE --workers N [--host URL] [--journeys FILE] [--files FOLDER]

The run is the very one of other machines (`--expect-workers`); nothing of it is judged otherwise here. When
it has ended, /tmp/run/done says so, and the folder stays until somebody has fetched it and deletes the pod.

    python -m loadtests.runners.inside --pack

prints the run's folder: a tar archive, compressed, as base64 in lines (an exec's stream is text).
"""

from __future__ import annotations

import argparse
import base64
import binascii
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import zlib
from pathlib import Path, PurePosixPath

from loadtests.runners.cluster_jobs import FILES, PORT, TOKEN

RUN = Path("/tmp/run")  # noqa: S108 - of the pod
_KEPT_SECONDS = 900.0
_MOST_BYTES = 2 * 1024**3


def pack(folder: Path) -> str:
    """The files in a folder and below, as text."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            archive.add(file, arcname=str(file.relative_to(folder)), recursive=False)
    return base64.encodebytes(held.getvalue()).decode("ascii")


def unpack(text: str, folder: Path) -> int:
    """What `pack` made, into a folder: plain files below it and nothing else. How many.

    Raises ValueError where it is none of that.
    """
    number, size = 0, 0
    try:
        raw = io.BytesIO(base64.b64decode(text.encode("ascii"), validate=False))
        with tarfile.open(fileobj=raw, mode="r:gz") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                content = archive.extractfile(member) if member.isfile() else None
                if content is None or path.is_absolute() or ".." in path.parts:
                    raise ValueError(f"{member.name!r} is no plain file of the run's folder")
                size += member.size
                if size > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES} bytes")
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
                number += 1
    except (tarfile.TarError, OSError, EOFError, zlib.error, binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"it is cut off or no archive: {error}") from None
    return number


def main(arguments: list[str] | None = None) -> int:
    """Run, say how it ended, wait."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.runners.inside")
    parser.add_argument("profile", nargs="?")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--host")
    parser.add_argument("--journeys")
    parser.add_argument("--files", type=Path, default=Path(FILES))
    parser.add_argument("--bind", default=f"0.0.0.0:{PORT}")  # network policies say who reaches it
    parser.add_argument("--token-file", default=f"{TOKEN}/token")
    parser.add_argument("--join-within", default="5m")
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--keep", type=float, default=_KEPT_SECONDS)
    parser.add_argument("--pack", action="store_true")
    given = parser.parse_args(arguments)
    if given.pack:
        sys.stdout.write(pack(given.run / "out"))
        return 0
    home = given.run / "home"
    home.mkdir(parents=True, exist_ok=True)
    if (given.files / "stack.json").exists():
        (home / "stack.json").write_bytes((given.files / "stack.json").read_bytes())
    command = [
        *(sys.executable, "-m", "huidu", "load", "verify", str(given.files / given.profile)),
        *("--expect-workers", str(given.workers), "--bind", given.bind, "--token-file", given.token_file),
        *("--join-within", given.join_within, "--out", str(given.run / "out")),
        *(("--host", given.host) if given.host else ()),
        *(("--journeys", str(given.files / given.journeys)) if given.journeys else ()),
    ]
    ended = threading.Event()
    process = subprocess.Popen(command, env=os.environ | {"HUIDU_HOME": str(home), "PYTHONSAFEPATH": "1"})

    def end(*_: object) -> None:
        ended.set()
        if process.poll() is None:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    code = process.wait()
    if (given.run / "out" / "verdict.json").exists():
        (given.run / "done").write_text(f"{code}\n", encoding="ascii")
        ended.wait(given.keep)
    return code


if __name__ == "__main__":
    sys.exit(main())
