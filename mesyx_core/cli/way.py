"""`mesyx store way`, and the ways by which `mesyx store unlock` gets at the key.

All that needs a person, a program or a desktop session happens here, in the command; the node is handed what came out.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesyx_core.cli.command import ask, command, emit
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.run import PASSPHRASE
from mesyx_core.cli.show import plain, table
from mesyx_core.cli.values import Name

if TYPE_CHECKING:
    from mesyx_core.node.ways import Way

NAME = click.argument("name", type=Name())
LIMIT = 1 << 20


@click.group()
def way() -> None:
    """What unlocks a store besides its passphrase. The owner key stays under the passphrase alone."""


@command("mesyx store way add alice --recipient age1yubikey1q… --label 'the key on my ring'", group=way, table=True)
@NAME
@click.option("--recipient", metavar="AGE1…", help="Whoever holds its private half: age1…, or a plugin's.")
@click.option("--desktop", is_flag=True, help="The keyring of this desktop session; needs mesyx[keyring].")
@click.option("--label", default="", metavar="TEXT", help="What it is called in the list.")
@PASSPHRASE
def add(name: str, recipient: str | None, desktop: bool, label: str, passphrase_file: Path | None) -> None:
    """Let something else than the passphrase unlock NAME on this node."""
    if (recipient is None) != desktop:
        raise click.UsageError("give --recipient or --desktop")
    given = {"name": name, "label": label, "desktop": desktop, **given_passphrase(passphrase_file)}
    result = ask("store.way.add", {**given, "recipient": recipient or _kept(name)})
    emit(result, lambda row: f"{plain(row['label'])} unlocks {name}")


def _kept(name: str) -> str:
    from mesyx_core.node import desktop

    return desktop.keep(_store(name))


def _store(name: str) -> str:
    """Its id, in hex."""
    return str(ask("store.show", {"name": name})["id"])


@command("mesyx store way list alice", group=way, name="list", table=True)
@NAME
def list_(name: str) -> None:
    """Show what unlocks NAME besides its passphrase."""
    rows = [{key: row[key] for key in ("id", "kind", "label", "recipient")} for row in _listed(name)]
    emit(rows, lambda rows: table([_short(row) for row in rows], none="only the passphrase"))


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "recipient": row["recipient"] if len(row["recipient"]) <= 64 else f"{row['recipient'][:40]}…"}


@command("mesyx store way remove alice 'the key on my ring'", group=way)
@NAME
@click.argument("way_", metavar="WAY")
def remove(name: str, way_: str) -> None:
    """Take WAY, named by its label or id, away: it unlocks NAME no more."""
    gone = ask("store.way.remove", {"name": name, "way": way_})
    if gone["kind"] == "desktop":
        from mesyx_core.node import desktop

        desktop.forget(str(gone["store"]))
    click.echo(f"{plain(gone['label'])} unlocks {name} no more")


def unlocking(name: str, identity: Path | None, desktop: bool) -> dict[str, str]:
    """The argument of `store.unlock` that a way other than the passphrase gives. Raises Refused."""
    from mesyx_core.api.errors import Refused
    from mesyx_core.node import ways
    from mesyx_core.vault import age

    listed = _listed(name)
    found = [_way(row) for row in listed if (row["kind"] == "desktop") == desktop]
    if not found:
        what = "the desktop's keyring" if desktop else "an identity file"
        raise Refused(f"{what} is no way to unlock {name}", f"add it, by the passphrase: mesyx store way add {name} …")
    lines = [_from_desktop(str(listed[0]["store"]))] if desktop else _lines(identity)
    try:
        return {"identity": ways.opened(found, lines, Terminal())}
    except age.AgeError as error:
        raise Refused("what unlocks this store is damaged, or not the right key", "use another way") from error


def _listed(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ask("store.way.list", {"name": name})
    return rows


def _way(row: Mapping[str, Any]) -> Way:
    from mesyx_core.node.ways import Way

    return Way(row["id"], row["kind"], row["recipient"], row["label"], base64.b64decode(row["file"]))


def _from_desktop(store: str) -> str:
    from mesyx_core.api.errors import Refused
    from mesyx_core.node import desktop

    found = desktop.identity(store)
    if not found:
        raise Refused(
            "the desktop's keyring holds nothing for this store", "add it again: mesyx store way add --desktop"
        )
    return found


def _lines(path: Path | None) -> Sequence[str]:
    """The keys in an age identity file, one a line; of a file under a passphrase, that is asked for."""
    from mesyx_core.api.errors import Refused
    from mesyx_core.vault import age

    assert path is not None
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT)
        if data.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")):
            data = age.decrypt_passphrase(data, given_passphrase(None)["passphrase"])
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror})", "name an age identity file") from None
    except UnicodeDecodeError:
        lines = []
    except age.AgeError:
        raise Refused(f"{path}: wrong passphrase, or damaged", "give the one that it was made with") from None
    found = [line for line in lines if line.startswith(("AGE-SECRET-KEY-", "AGE-PLUGIN-"))]
    if not found:
        raise Refused(f"{path} holds no age identity", "a key is a line AGE-SECRET-KEY-… or AGE-PLUGIN-…")
    return found


class Terminal:
    """The person at this terminal, for plugins; nobody, where there is none."""

    def tell(self, text: str) -> None:
        click.echo(text, err=True)

    def ask(self, text: str, secret: bool) -> str | None:
        return str(click.prompt(text, hide_input=secret, err=True)) if _attended() else None

    def confirm(self, text: str, yes: str, no: str) -> bool | None:
        return click.confirm(f"{text} ({yes}{f' / {no}' if no else ''})", err=True) if _attended() else None


def _attended() -> bool:
    import sys

    return sys.stdin.isatty()
