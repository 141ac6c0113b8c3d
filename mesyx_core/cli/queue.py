"""`mesyx queue`: messages on their way out."""

from __future__ import annotations

import click

from mesyx_core.cli.command import ask, command, emit
from mesyx_core.cli.show import table


@click.group()
def queue() -> None:
    """Messages on their way out."""


@command("mesyx queue list --json", group=queue, name="list", table=True)
def list_() -> None:
    """Show what is not sent yet, and what it waits for.

    A gateway knows messages by their ids alone: it keeps no addresses.
    """
    emit(ask("queue.list"), lambda rows: table(rows, none="nothing waits to be sent"))
