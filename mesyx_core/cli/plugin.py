"""`mesyx plugin`: which plugins there are and whether they work."""

from __future__ import annotations

import click

from mesyx_core.cli.command import command, emit
from mesyx_core.cli.show import table


@click.group()
def plugin() -> None:
    """The installed plugins."""


@command("mesyx plugin list", group=plugin, name="list", table=True)
def list_() -> None:
    """Load every installed plugin and show its version, its roles, and why it does not work if so."""
    from mesyx_core.plugins import Registry

    rows = [
        {"name": p.name, "dist": p.dist, "version": p.version, "roles": p.roles, "state": p.state, "reason": p.reason}
        for p in Registry().list(imported=True)
    ]
    emit(rows, table)
