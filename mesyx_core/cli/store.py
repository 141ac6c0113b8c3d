"""`mesyx store`: a person's stores, the nodes that hold them, and a gateway's addresses for them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mesyx_core.cli import members, offline, recovery
from mesyx_core.cli.command import absolute, ask, command, emit
from mesyx_core.cli.handing import KIT, QR, hand_out, made
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.run import OWNER_KEY, PASSPHRASE
from mesyx_core.cli.show import nested, plain, table
from mesyx_core.cli.signing import PROPOSAL, proposed
from mesyx_core.cli.values import Address, Duration, Name
from mesyx_core.cli.way import unlocking, way

NAME = click.argument("name", type=Name())


@click.group()
def store() -> None:
    """Make stores, add nodes to them, open and lock them."""


@command(
    "mesyx store create alice --passphrase-file alice.passphrase --kit alice-recovery.age", group=store, table=True
)
@NAME
@PASSPHRASE
@KIT
@QR
def create(name: str, passphrase_file: Path | None, kit: Path | None, qr: bool) -> None:
    """Make a store on this client: its owner key and its first keysets.

    Ends with the recovery kit: the keys, in an age file under the same passphrase. Keep it on paper or a stick; with
    it a lost laptop loses no mail. The node keeps it until this command has shown it: should that fail, run it again.
    """
    hand_out("store.create", {"name": name, **given_passphrase(passphrase_file, new=True)}, kit, qr, made)


@command("mesyx store kit alice --kit alice-recovery.age", group=store, name="kit", table=True)
@NAME
@KIT
@QR
def kit_(name: str, kit: Path | None, qr: bool) -> None:
    """Print the recovery kit that `mesyx store create` could not hand out.

    The node keeps it only until it has been printed, or written, once.
    """
    hand_out("store.kit", {"name": name}, kit, qr, made)


@command("mesyx store list", group=store, name="list", table=True)
def list_() -> None:
    """Show the stores that this node holds."""
    emit(ask("store.list"), lambda rows: table(rows, none="no stores; `mesyx store create NAME` makes one"))


@command("mesyx store show alice", group=store, table=True)
@NAME
def show(name: str) -> None:
    """Show a store's nodes, roles, keysets and what is open."""
    emit(ask("store.show", {"name": name}), nested)


@command("mesyx store add-node alice INVITATION", group=store, name="add-node", table=True)
@NAME
@click.argument("invitation")
@click.option(
    "--keys",
    type=click.Choice(["all", "short", "none"]),
    help="Private keys that another client gets: without the long-term ones (short), with them (all), or none; else"
    " short. Without a terminal it must be said for one that accepts mail, too.",
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    type=Address(),
    help="Of the granted addresses only these; may be repeated.",
)
@OWNER_KEY
@PROPOSAL
@PASSPHRASE
def add_node(
    name: str,
    invitation: str,
    keys: str | None,
    addresses: tuple[str, ...],
    owner_key: Path | None,
    proposal: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Let another node hold the store NAME. INVITATION is the line that `mesyx node invite` printed there.

    A node that was invited with the role client can read the store: it gets private keys, and is opened there with
    `mesyx store unlock NAME`.

    With --proposal, once what is to be signed is in effect, the same command again lets the node take it.

    Returns once that node accepts the store's addresses; exit code 5 says that it still waits, and why.
    """
    if keys is None:
        _check_client(invitation)
    arguments = {
        "name": name,
        "invitation": invitation,
        "keys": keys,
        "addresses": list(addresses) or None,
        "owner_key": absolute(owner_key),
        "proposal": absolute(proposal),
        "passphrase_file": absolute(passphrase_file),
    }
    emit(ask("store.add_node", arguments), _welcome)


def _check_client(invitation: str) -> None:
    """Whoever has not said which keys sees that the line asks for some: it may not be what it was taken for. A script
    sees nothing, and gives none to what would also take in mail, as a gateway does.
    """
    from mesyx_core.api import Refused
    from mesyx_core.exchange.invitation import decode_line

    roles = decode_line(invitation).roles
    if "client" not in roles:
        return
    if sys.stdin.isatty():
        click.confirm("This invitation is of a client: it gets private keys and can read mail. Go on?", abort=True)
    elif "accept" in roles:
        raise Refused(
            "this invitation is of a gateway that wants to be a client too: it would get private keys and could read "
            "all that it takes in",
            "if it may, say which keys it gets: `--keys short`, or `all`, or `none`; if it is to be a gateway only, "
            "ask for an invitation without the role client",
        )


def _welcome(result: Mapping[str, Any]) -> str:
    if waits := proposed(result):
        return "\n".join([*waits, "and then this command again"])
    lines = [f"it accepts mail for {plain(a)}" for a in result.get("addresses") or ()]
    if result.get("keys", "none") != "none":
        lines.append(f"it has got private keys ({plain(result['keys'])}); `mesyx store unlock` there opens them")
    return "\n".join([*lines, plain(result.get("welcome"))])


@command("mesyx store unlock alice --passphrase-file alice.passphrase --for 8h", group=store)
@NAME
@PASSPHRASE
@click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="An age identity file, stock or of an age plugin, that is a way to unlock it.",
)
@click.option("--desktop", is_flag=True, help="By the keyring of this desktop session.")
@click.option("--for", "seconds", type=Duration(), metavar="TIME", help="Lock it by itself after 30m, 8h …")
def unlock(name: str, passphrase_file: Path | None, identity: Path | None, desktop: bool, seconds: int | None) -> None:
    """Open the store's private keys in the running node, until it stops, `mesyx store lock`, or the TIME given.

    By the passphrase, or by what `mesyx store way add` has let in; the passphrase alone opens the owner key as well.
    """
    if (passphrase_file is not None) + (identity is not None) + desktop > 1:
        raise click.UsageError("give one of --passphrase-file, --identity and --desktop")
    by = unlocking(name, identity, desktop) if identity is not None or desktop else given_passphrase(passphrase_file)
    ask("store.unlock", {"name": name, "seconds": seconds, **by})
    click.echo(f"{name} is open")


@command("mesyx store lock alice", group=store)
@NAME
def lock(name: str) -> None:
    """Forget the store's private keys in the running node. Log-ins are told to come again later."""
    ask("store.lock", {"name": name})
    click.echo(f"{name} is locked")


for each in (*members.COMMANDS, *offline.COMMANDS, *recovery.COMMANDS):
    store.add_command(each)


@click.group()
def address() -> None:
    """On a gateway: the mail addresses it grants to stores."""


store.add_command(address)
store.add_command(way)
STORE = click.option("--store", "store_", metavar="NAME", help="The store; needed when the node holds several.")


@command("mesyx store address add alice@example.org --store alice", group=address)
@click.argument("address_", metavar="ADDRESS", type=Address())
@STORE
def add(address_: str, store_: str | None) -> None:
    """Grant ADDRESS to a store: mail for it is taken in from now on.

    To send as it too, its owner must have taken it up: name it to `mesyx node invite --address` instead, and add that
    invitation on the client.
    """
    ask("store.address.add", {"address": address_, "store": store_})
    click.echo(f"{address_} is granted")


@command("mesyx store address remove alice@example.org", group=address)
@click.argument("address_", metavar="ADDRESS", type=Address())
@STORE
def remove(address_: str, store_: str | None) -> None:
    """Take ADDRESS back; mail for it is refused from now on."""
    ask("store.address.remove", {"address": address_, "store": store_})
    click.echo(f"{address_} is taken back")


@command("mesyx store address list", group=address, name="list", table=True)
@STORE
def addresses(store_: str | None) -> None:
    """Show the granted addresses and whose they are."""
    emit(ask("store.address.list", {"store": store_}), lambda rows: table(rows, none="no addresses"))
