"""`mesyx store restore`, `succeed` and `merge`: a store whose owner has lost a machine, a key, or the thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from mesyx_core.cli.command import absolute, ask, command, emit
from mesyx_core.cli.handing import QR, hand_out, made
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.run import PASSPHRASE
from mesyx_core.cli.show import plain
from mesyx_core.cli.signing import proposed, signing
from mesyx_core.cli.values import Name

NAME = click.argument("name", type=Name())
KITS = click.option(
    "--kit",
    "kits",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    required=True,
    metavar="FILE",
    help="The recovery kit; may be repeated, the newest first.",
)
NEW_KIT = click.option(
    "--new-kit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the new recovery kit there too.",
)


@command("mesyx store restore alice-recovery.age --from https://mx1.example.org:8443 --new-kit new.age", table=True)
@click.argument("kit", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--from", "places", multiple=True, metavar="URL", help="A node that holds the store; else those that the kit names."
)
@click.option("--lost", metavar="NODE", help="The node that is lost, by name or key; else the one other client.")
@click.option("--name", type=Name(), help="What the store is called here; else as in the kit.")
@PASSPHRASE
@NEW_KIT
@QR
def restore(
    kit: tuple[Path, ...],
    places: tuple[str, ...],
    lost: str | None,
    name: str | None,
    passphrase_file: Path | None,
    new_kit: Path | None,
    qr: bool,
) -> None:
    """Bring a store back onto this client from its recovery KIT and a node that still holds it.

    For a laptop that is lost: this node joins the store, the owner key and all keys that the laptop had are exchanged,
    and the laptop is removed. All mail comes back that long-term keys open. Several kits are given newest first. Ends
    with a new kit, under the same passphrase, which is also the store's on this node. Destroy the old one then: it has
    what is the owner key from now on.
    """
    arguments = {
        "kits": [_text(each) for each in kit],
        "places": list(places),
        "lost": lost,
        "name": name,
        **given_passphrase(passphrase_file),
    }
    hand_out("store.restore", arguments, new_kit, qr, _restored)


@command("mesyx store succeed alice --kit alice-recovery.age --new-kit new.age", table=True)
@NAME
@KITS
@click.option(
    "--kit-passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The kit's passphrase, where it is another than the store's here.",
)
@PASSPHRASE
@NEW_KIT
@QR
def succeed(
    name: str,
    kits: tuple[Path, ...],
    kit_passphrase_file: Path | None,
    passphrase_file: Path | None,
    new_kit: Path | None,
    qr: bool,
) -> None:
    """Have the next owner key, which is on paper only, take the place of the store's owner key.

    For an owner key that somebody else may have: from then on it decides nothing any more. Ends with a new kit, which
    has the key after this one; destroy the old one.
    """
    arguments = {
        "name": name,
        "kits": [_text(each) for each in kits],
        "kit_passphrase_file": absolute(kit_passphrase_file),
        **given_passphrase(passphrase_file),
    }
    hand_out("store.succeed", arguments, new_kit, qr, lambda _: [f"{name} has another owner key"])


@command("mesyx store merge alice", table=True)
@NAME
@signing
def merge(name: str, by: Mapping[str, str]) -> None:
    """Make one manifest of two that were signed at the same time.

    Until then only what both allow is in effect. Nodes, keysets and clients that either has added stay, what either has
    taken away goes; of what both have changed stays what both allow.
    """
    emit(
        ask("store.merge", {"name": name, "by": by}),
        lambda result: "\n".join(proposed(result)) or f"{name}: manifest {plain(result['manifest'])}",
    )


def _restored(result: Mapping[str, Any]) -> list[str]:
    gone = result.get("removed")
    return [*made(result), f"removed: {plain(gone)}" if gone else "no node was removed"]


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")[: 1 << 17]
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"{path} cannot be read as a recovery kit") from None


COMMANDS: Final = (restore, succeed, merge)
