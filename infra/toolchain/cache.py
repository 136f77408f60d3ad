"""The cache: what is missing is fetched or built by one at a time, and takes its place at once and whole."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from huidu.foundation.errors import Locked, MissingProgram, StateError
from infra.toolchain import work
from infra.toolchain.program import Found, Say

_PATIENCE = 45 * 60.0  # The longest thing obtained, Pulumi built on one slow core, is given this long.


def found_or_made(
    what: str,
    home: Path,
    *,
    find: Callable[[], Found | None],
    make: Callable[[Path], None],
    by_hand: str,
    say: Say,
) -> Found:
    """What `find` finds, or finds once `make` has filled a folder that becomes `home`.

    `what`: for people ("Pulumi 3.259.0"). `make` may raise MissingProgram or work.Failed. Raises
    MissingProgram, and as `place`.
    """
    found = find()
    if found:
        return found
    with place(home, say) as folder:
        if folder is not None:
            try:
                make(folder)
            except (MissingProgram, work.Failed) as error:
                raise MissingProgram(f"{what} could not be obtained: {error.what}", remedy=by_hand) from None
    found = find()
    if found is None:
        raise MissingProgram(f"{what} in {home} does not run here", remedy=by_hand)
    return found


@contextlib.contextmanager
def place(target: Path, say: Say) -> Iterator[Path | None]:
    """Make the folder `target`: yields a temporary one that becomes `target` when the block ends well.

    Yields None where `target` already stands (somebody else has just made it). Waits for somebody else who
    makes it now. Raises Locked after 45 minutes, StateError where the cache cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.parent / f".{target.name}.lock")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            say(f"another huidu is making {target.name}; waiting for it")
            lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise Locked(
            "another huidu still holds the lock", where=str(target), remedy="see what it does"
        ) from None
    except OSError as error:
        raise _unwritable(target, error) from None
    with lock:
        if target.exists():
            yield None
            return
        partial = target.parent / f".{target.name}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
            partial.rename(target)
        except OSError as error:
            raise _unwritable(target, error) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unwritable(target: Path, error: OSError) -> StateError:
    return StateError(
        f"the cache cannot be written: {error.strerror or error}",
        where=str(error.filename or target),
        remedy="free some space, or set HUIDU_CACHE to a folder that can be written",
    )
