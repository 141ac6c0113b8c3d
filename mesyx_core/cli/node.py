"""`mesyx node invite`: on a server, let a store in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mesyx_core.cli.command import ask, command, emit
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.show import plain, shown
from mesyx_core.cli.values import ROLES, Address, Duration


@click.group()
def node() -> None:
    """What this node offers to others."""


@command("mesyx node invite --role accept --role exchange --address alice@example.org", group=node, table=True)
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    required=True,
    help="What this node may do for the store; may be repeated.",
)
@click.option(
    "--address", "addresses", multiple=True, type=Address(), help="A mail address that the store gets; may be repeated."
)
@click.option(
    "--expires",
    type=Duration(),
    default="7d",
    show_default=True,
    metavar="TIME",
    help="How long it can be used: 12h, 7d …",
)
@click.option("--qr", is_flag=True, help="Print the invitation as a QR code as well.")
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With the role client: the first line is the passphrase that private keys will be under here.",
)
def invite(
    roles: tuple[str, ...], addresses: tuple[str, ...], expires: int, qr: bool, passphrase_file: Path | None
) -> None:
    """Print an invitation, usable once; its last line goes to `mesyx store add-node` on the client.

    Whoever has the line can use it: send it over a channel that you trust.

    With the role client this node becomes another place to read the store. The private keys that it is given then stay
    under the passphrase that you choose here.
    """
    arguments = {"roles": list(roles), "addresses": list(addresses), "expires": expires}
    if "client" in roles:
        arguments |= given_passphrase(passphrase_file, new=True)
    elif passphrase_file is not None:
        raise click.UsageError("a passphrase is for the role client alone")
    result = ask("node.invite", arguments)
    emit(result, lambda _: _invitation(result, qr))


def _invitation(result: Mapping[str, Any], qr: bool) -> str:
    line = plain(result["invitation"])
    lines = [f"usable once, until {shown('expires', result.get('expires'))}:"]
    if qr:
        from mesyx_core.cli.qr import drawn

        lines.append(drawn(line))
    return "\n".join([*lines, line])
