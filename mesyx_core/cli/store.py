"""`mesyx store`: a person's stores, the nodes that hold them, and a gateway's addresses for them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from mesyx_core.cli.command import absolute, ask, command, emit
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.run import OWNER_KEY, PASSPHRASE
from mesyx_core.cli.show import nested, plain, table
from mesyx_core.cli.values import Address, Name

NAME = click.argument("name", type=Name())


@click.group()
def store() -> None:
    """Make stores, add nodes to them, open and lock them."""


@command(
    "mesyx store create alice --passphrase-file alice.passphrase --kit alice-recovery.age", group=store, table=True
)
@NAME
@PASSPHRASE
@click.option(
    "--kit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the recovery kit there too."
)
@click.option("--qr", is_flag=True, help="Print the recovery kit as a QR code as well.")
def create(name: str, passphrase_file: Path | None, kit: Path | None, qr: bool) -> None:
    """Make a store on this client: its owner key and its first keysets.

    Ends with the recovery kit: the keys, in an age file under the same passphrase. Keep it on paper or a stick; with
    it a lost laptop loses no mail.
    """
    arguments = {"name": name, **given_passphrase(passphrase_file, new=True)}
    if kit is None:
        result = ask("store.create", arguments)
    else:
        with _created_file(kit) as file:  # before the store is made: a kit that cannot be written is shown only once
            result = ask("store.create", arguments)
            file.write(str(result["kit"]))
    emit(result, lambda _: _created(name, result, qr))


def _created(name: str, result: Mapping[str, Any], qr: bool) -> str:
    lines = [f"store {name}", f"id: {plain(result.get('id'))}", f"fingerprint: {plain(result.get('fingerprint'))}"]
    if qr:
        from mesyx_core.cli.qr import drawn

        lines.append(drawn(str(result.get("qr") or result["kit"])))
    lines += [
        "",
        "Keep this recovery kit where this machine's loss does not reach it:",
        "",
        str(result["kit"]).rstrip(),
    ]
    return "\n".join(lines)


@contextmanager
def _created_file(path: Path) -> Iterator[TextIO]:
    """A new file for this user alone, durable at the end; gone again if nothing could be put into it."""
    from mesyx_core.api.errors import Refused

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(
            f"{path} cannot be written ({error.strerror})", "no store was made; name a new file for the kit"
        ) from None
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            yield file
            file.flush()
            os.fsync(handle)
    except BaseException:
        if not path.stat().st_size:
            path.unlink()
        raise


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
    "--keys", type=click.Choice(["all", "short", "none"]), help="Private keys that a client node gets; else short."
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    type=Address(),
    help="Of the granted addresses only these; may be repeated.",
)
@OWNER_KEY
@PASSPHRASE
def add_node(
    name: str,
    invitation: str,
    keys: str | None,
    addresses: tuple[str, ...],
    owner_key: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Let another node hold the store NAME. INVITATION is the line that `mesyx node invite` printed there.

    Returns once that node accepts the store's addresses; exit code 5 says that it still waits, and why.
    """
    arguments = {
        "name": name,
        "invitation": invitation,
        "keys": keys,
        "addresses": list(addresses) or None,
        "owner_key": absolute(owner_key),
        "passphrase_file": absolute(passphrase_file),
    }
    emit(ask("store.add_node", arguments), _welcome)


def _welcome(result: Mapping[str, Any]) -> str:
    lines = [f"it accepts mail for {plain(a)}" for a in result.get("addresses") or ()]
    return "\n".join([*lines, plain(result.get("welcome"))])


@command("mesyx store unlock alice --passphrase-file alice.passphrase", group=store)
@NAME
@PASSPHRASE
def unlock(name: str, passphrase_file: Path | None) -> None:
    """Open the store's private keys in the running node, until it stops or `mesyx store lock`."""
    ask("store.unlock", {"name": name, **given_passphrase(passphrase_file)})
    click.echo(f"{name} is open")


@command("mesyx store lock alice", group=store)
@NAME
def lock(name: str) -> None:
    """Forget the store's private keys in the running node. Log-ins are told to come again later."""
    ask("store.lock", {"name": name})
    click.echo(f"{name} is locked")


@click.group()
def address() -> None:
    """On a gateway: the mail addresses it grants to stores."""


store.add_command(address)
STORE = click.option("--store", "store_", metavar="NAME", help="The store; needed when the node holds several.")


@command("mesyx store address add alice@example.org --store alice", group=address)
@click.argument("address_", metavar="ADDRESS", type=Address())
@STORE
def add(address_: str, store_: str | None) -> None:
    """Grant ADDRESS to a store; mail for it is accepted once the store's manifest takes it up."""
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
