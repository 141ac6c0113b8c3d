"""`mesyx login`: app passwords for people's programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mesyx_core.cli.command import ask, command, emit
from mesyx_core.cli.show import plain, table
from mesyx_core.cli.values import Address, Name


@click.group()
def login() -> None:
    """App passwords, one for each program that reads or sends."""


@command("mesyx login add alice --label thunderbird", group=login, table=True)
@click.argument("store", metavar="NAME", type=Name())
@click.option("--label", type=Name(), default="default", show_default=True, help="What the log-in is for.")
@click.option(
    "--identity",
    "identities",
    multiple=True,
    type=Address(),
    metavar="ADDRESS",
    help="Let it send as this address alone, with any +tag; may be repeated. Else as all that the store is granted.",
)
def add(store: str, label: str, identities: tuple[str, ...]) -> None:
    """Make an app password for the store NAME; the last word printed. It is not shown again."""
    emit(ask("login.add", {"store": store, "label": label, "identities": list(identities) or None}), _made)


def _made(result: Mapping[str, Any]) -> str:
    return f"user {plain(result['user'])}\npassword {plain(result['password'])}"


@command("mesyx login list", group=login, name="list", table=True)
@click.argument("store", metavar="[NAME]", required=False, type=Name())
def list_(store: str | None) -> None:
    """Show which log-ins there are, never their passwords."""
    emit(ask("login.list", {"store": store}), lambda rows: table(rows, none="no log-ins"))


@command("mesyx login remove alice thunderbird", group=login)
@click.argument("store", metavar="NAME", type=Name())
@click.argument("label", type=Name())
def remove(store: str, label: str) -> None:
    """Revoke the log-in LABEL of the store NAME."""
    ask("login.remove", {"store": store, "label": label})
    click.echo(f"{label} can no longer log in to {store}")
