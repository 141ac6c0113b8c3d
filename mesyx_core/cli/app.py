"""The root command: finds the command by its words, and turns every error into a line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from mesyx_core.cli import exits
from mesyx_core.cli.command import Settings, config_option

PACKAGE: Final = "mesyx_core.cli"
COMMANDS: Final = {
    "init": "setup",
    "run": "run",
    "status": "watch",
    "doctor": "watch",
    "reload": "run",
    "config": "config",
    "store": "store",
    "node": "node",
    "keyset": "keyset",
    "login": "login",
    "account": "account",
    "queue": "queue",
    "backup": "backup",
    "restore": "backup",
    "recover": "recover",
    "trace": "watch",
    "plugin": "plugin",
    "demo": "run",
    "completion": "setup",
}
"""Command to the module that has it as an attribute of the same name, in the order of `--help`."""


class Root(click.Group):
    """Our own commands first; another first word names a plugin, which is imported only then."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our own, in the order in which they are needed. Plugins are not imported to be listed."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of ours, or the group of a plugin's commands."""
        if cmd_name in COMMANDS:
            found = getattr(importlib.import_module(f"{PACKAGE}.{COMMANDS[cmd_name]}"), cmd_name)
            assert isinstance(found, click.Command)
            return found
        if ctx.resilient_parsing:
            return None
        from mesyx_core.cli.foreign import plugin_commands

        return plugin_commands(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the command that was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args and not args[0].startswith("-"):
                raise click.UsageError(f"no command {args[0]!r}{_meant(args[0])}", ctx) from None
            raise error


def _meant(word: str) -> str:
    import difflib

    found = difflib.get_close_matches(word, COMMANDS, n=1)
    return f"; did you mean {found[0]!r}?" if found else "; no installed plugin has it either"


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"mesyx {version('mesyx')}")
        context.exit()


@click.command(cls=Root, params=[config_option()], context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
@click.pass_context
def root(context: click.Context) -> None:
    """Takes in messages, seals each at once, carries them to your own nodes and serves them to your own programs.

    \b
    mesyx demo                shows a whole cluster at work, on this machine alone
    mesyx COMMAND --help      explains a command, with an example
    """
    context.ensure_object(Settings)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; the exit code. Never raises and never shows a traceback."""
    settings = Settings()
    try:
        result = root.main(list(arguments), prog_name="mesyx", standalone_mode=False, obj=settings)
        sys.stdout.flush()
    except click.exceptions.Abort:
        click.echo("mesyx: stopped", err=True)
        return exits.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return exits.USAGE if isinstance(error, click.UsageError) else exits.FAILED
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: `mesyx … | head`
        return exits.OK
    except SystemExit as left:  # click leaves so after completing a word
        return left.code if isinstance(left.code, int) else exits.OK
    except BaseException as error:  # the last resort: whatever it was, the person reads one line
        from mesyx_core.cli.failure import report

        return report(error, settings)
    return result if isinstance(result, int) else exits.OK
