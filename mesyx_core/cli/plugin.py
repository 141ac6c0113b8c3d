"""`mesyx plugin`: which plugins there are and whether they work; a new one, and what it must hold to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesyx_core.cli import exits
from mesyx_core.cli.command import command, emit, settings
from mesyx_core.cli.show import plain, table

if TYPE_CHECKING:
    pass

KINDS = ("ingress", "egress", "transport", "crypto", "filter", "access")


@click.group()
def plugin() -> None:
    """The installed plugins, and those that you write."""


@command("mesyx plugin list", group=plugin, name="list", table=True)
def list_() -> None:
    """Load every installed plugin and show its version, its roles, and why it does not work if so."""
    from mesyx_core.plugins import Registry

    rows = [
        {"name": p.name, "dist": p.dist, "version": p.version, "roles": p.roles, "state": p.state, "reason": p.reason}
        for p in Registry().list(imported=True)
    ]
    emit(rows, table)


@command("mesyx plugin new quiet --role filter", group=plugin)
@click.argument("name")
@click.option("--role", "roles", type=click.Choice(KINDS), multiple=True, required=True, help="What it is; repeat it.")
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), default=".", help="Where to make its folder."
)
def new(name: str, roles: tuple[Any, ...], folder: Path) -> None:
    """Write the project of a new plugin: code that works, and tests that certify it."""
    from mesyx_core.plugins.template import new as make

    project = make(name, roles, folder)
    click.echo(
        f"{plain(str(project))} is a plugin that works. Next:\n\n"
        f"    pip install -e '{plain(str(project))}[testing]'\n"
        f"    pytest {plain(str(project))}\n"
        f"    mesyx plugin check {plain(str(project))}"
    )


@command("mesyx plugin check quiet", group=plugin, table=True)
@click.argument("plugins", nargs=-1, metavar="[NAME|PATH]…")
def check(plugins: tuple[str, ...]) -> int:
    """Hold plugins to what they must be: installed ones by name, by default all, or a project by its folder, whose
    contract classes are run too. Ends with 1 when something is wrong."""
    rows = [row for each in plugins or _installed() for row in _checked(each)]
    wrong = [row for row in rows if row["result"] != "ok"]
    if settings().json:
        emit(rows, table)
    elif wrong:
        emit(wrong, table)
    summary = f"{len(rows) - len(wrong)} of {len(rows)} checks hold"
    click.echo(f"{summary}: {', '.join(dict.fromkeys(row['plugin'] for row in rows))}", err=settings().json)
    return exits.FAILED if wrong else exits.OK


def _installed() -> list[str]:
    from mesyx_core.plugins import Registry

    return Registry().names


def _checked(plugin: str) -> Iterator[dict[str, str]]:
    from mesyx_core.cli import inspection

    for finding in inspection.inspect(plugin):
        yield {"plugin": plugin, "check": finding.what, "result": finding.wrong or "ok"}
