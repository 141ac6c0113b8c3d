"""`mesyx recover`: mail out of whatever is left of a node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mesyx_core.cli import exits
from mesyx_core.cli.command import command, emit, working
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.run import PASSPHRASE
from mesyx_core.cli.show import nested

FILE = click.Path(path_type=Path, dir_okay=False)


@command("mesyx recover /mnt/old-server/state ./mail --identity alice-recovery.age", table=True)
@click.argument("state", type=click.Path(path_type=Path, file_okay=False))
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--identity",
    "identities",
    multiple=True,
    type=FILE,
    metavar="FILE",
    help="Age identity file, or a recovery kit; may be repeated. One under a passphrase asks for it.",
)
@PASSPHRASE
@click.option("--mbox", is_flag=True, help="Write mbox files instead of Maildirs.")
@click.option("--store", "store", default="", metavar="NAME", help="Only this store, by name or fingerprint.")
def recover(
    state: Path, folder: Path, identities: tuple[Path, ...], passphrase_file: Path | None, mbox: bool, store: str
) -> int:
    """Write all mail that can be opened of a copy of any node's STATE into FOLDER, as Maildir or mbox.

    STATE is a node's folder, its state folder, or a backup: of the gateway, a client, or a node that only exchanges. No
    node runs, and nothing in it is changed. Keys come from identity files and recovery kits, and from STATE's own
    keyring where a passphrase is given.

    Exit code 1 says that not all of it could be opened; what is missing is named.
    """
    from mesyx_core.node.identities import read_identities, sealed_among
    from mesyx_core.node.recover import Recovery, complete
    from mesyx_core.node.recover import recover as work
    from mesyx_core.node.run import harden
    from mesyx_core.node.secrets import passphrase

    harden()
    phrase = ""
    if passphrase_file is not None or not identities or sealed_among(identities):
        given = given_passphrase(passphrase_file)
        phrase = given.get("passphrase") or passphrase(Path(given["passphrase_file"]))
    keys = [key for file in identities for key in read_identities(file, phrase)]
    job = Recovery(
        source=state.absolute(),
        target=folder.absolute(),
        form="mbox" if mbox else "maildir",
        identities=keys,
        phrase=phrase,
        only=store,
    )
    done = working(lambda tell: work(replace(job, tell=tell)))
    emit(done, _report)
    return exits.OK if complete(done) else exits.FAILED


def _report(done: list[dict[str, Any]]) -> str:
    return "\n\n".join(nested(each) for each in done)
