"""The command `huidu`: the only importer of rooms, each imported when it is called."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, TextIO, cast

import click

from huidu.foundation.errors import HuiduError
from huidu.foundation.outcome import READER_GONE, Outcome
from huidu.foundation.streams import Unfailing, nowhere

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

# Command -> (room's module, attribute, what it is for).
_COMMANDS = {
    "bench": ("rollout.bench.command", "bench", "Measure the judge, a switch of traffic, the controller"),
    "doctor": ("infra.commands", "doctor", "External programs: found where, or how to get them"),
    "gate": (
        "rollout.gate.command",
        "gate",
        "For CI: the verdict of a rollout or a load run, as exit code and JUnit",
    ),
    "journal": ("rollout.journal_command", "journal", "Verify or export a journal"),
    "load": ("loadtests.commands", "load", "Prove the system under load"),
    "report": ("runbooks.commands", "report", "One page about a go-live"),
    "rollout": ("rollout.commands", "rollout", "Shift traffic by customer, gated on evidence"),
    "runbook": ("runbooks.commands", "runbook", "Procedures that a person reads and the machine runs"),
    "stack": ("infra.commands", "stack", "Provision and watch the hybrid CRM stack"),
}


@contextlib.contextmanager
def _reader_gone() -> Iterator[None]:
    """Said here, for click would make exit code 1 of it: "proved bad"."""
    try:
        yield
    except BrokenPipeError:
        nowhere(sys.stdout)
        raise SystemExit(READER_GONE) from None


class _Rooms(click.Group):
    """Imports a room only when its command is called, so that `huidu rollout` needs no Pulumi."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _COMMANDS, 1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reader_gone():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_gone():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, _, about) in sorted(_COMMANDS.items())])


_BEGIN = """\b
To begin, on this machine:
  huidu stack up                      a CRM to try everything on
  huidu load verify demo              proved under load, or not
  huidu runbook run go-live           the whole main job (without `stack up`)
With a service of your own:
  huidu load verify PROFILE --host URL
  huidu rollout check PLAN
"""


# Help as wide as the terminal: at 80 columns every second line of a group's help is cut.
@click.command(
    cls=_Rooms,
    epilog=_BEGIN,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 140},
)
@click.version_option(version("huidu"), prog_name="huidu")
def huidu() -> None:
    """Gray release you can prove.

    Exit codes, the same for every command: 0 proved good, 1 proved bad, 2 usage or configuration,
    3 held (undecided, waiting, paused, interrupted), 4 not evidence; 141 the reader of the output went away.
    """


def main() -> None:
    """Run the command; a user's own mistake is told in words, never as a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us (`2>&-`)
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as we live
    told = sys.stderr
    sys.stderr = cast("TextIO", Unfailing(told))
    try:
        code = _outcome()
    except SystemExit as end:
        code = end.code
    for stream in (sys.stdout, told):
        code = _written(stream, code)
    sys.exit(code)


def _outcome() -> Any:
    """Exit code. Never 1 but by a command's own word: that says "proved bad"."""
    try:
        return huidu(standalone_mode=False)
    except HuiduError as error:
        _tell(f"huidu: {error}")
        code = error.outcome.code
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        code = Outcome.USAGE.code
    except (click.Abort, KeyboardInterrupt):
        _tell("huidu: interrupted")
        code = Outcome.HELD.code
    except Exception as error:
        code = _unexpected(error)
    return code


def _unexpected(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        _tell(
            f"huidu: {error.filename or 'standard output'}: cannot be written: {error.strerror}\n"
            "  free some space; what was decided until then stands in the files of HUIDU_HOME"
        )
        return Outcome.USAGE.code
    _tell(traceback.format_exc())
    _tell(
        "huidu: this is a mistake in huidu itself, and no verdict (exit 4)\n"
        "  please report it with the lines above"
    )
    return Outcome.NOT_EVIDENCE.code


def _tell(text: str) -> None:
    """On standard error, or nowhere: the exit code counts, whoever reads."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _written(stream: IO[str], code: Any) -> Any:
    """`code`, unless what stands in `stream` cannot be written: Python would end with 120 then, or with 1."""
    try:
        stream.flush()
    except BrokenPipeError:
        nowhere(stream)
        return READER_GONE
    except (OSError, ValueError):
        nowhere(stream)
        return Outcome.USAGE.code if stream is sys.stdout and not code else code
    return code


if __name__ == "__main__":
    main()
