"""The command `huidu`: the only importer of rooms, each imported when it is called."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from typing import Any

import click

from huidu.foundation.errors import HuiduError
from huidu.foundation.outcome import READER_GONE, Outcome

# Command -> (room's module, attribute, what it is for).
_COMMANDS = {
    "bench": ("rollout.bench.command", "bench", "The judge's bench: how often it errs, how soon it finds"),
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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Said here, for click would make exit code 1 of it: "proved bad".
            from huidu.foundation.terminal import nowhere

            nowhere(sys.stdout)
            raise SystemExit(READER_GONE) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, _, about) in sorted(_COMMANDS.items())])


@click.command(cls=_Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("huidu"), prog_name="huidu")
def huidu() -> None:
    """Gray release you can prove.

    Exit codes, the same for every command: 0 proved good, 1 proved bad, 2 usage or configuration,
    3 held (undecided, waiting, paused, interrupted), 4 not evidence; 141 the reader of the output went away.
    """


def main() -> None:
    """Run the command; a user's own mistake is told in words, never as a traceback."""
    try:
        code = huidu(standalone_mode=False)
    except HuiduError as error:
        click.echo(f"huidu: {error}", err=True)
        sys.exit(error.outcome.code)
    except click.ClickException as error:
        error.show()
        sys.exit(Outcome.USAGE.code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("huidu: interrupted", err=True)
        sys.exit(Outcome.HELD.code)
    if isinstance(code, int):
        sys.exit(code)


if __name__ == "__main__":
    main()
