"""`mesyx backup` and `mesyx restore`: a node, and what is needed to have it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mesyx_core.cli.command import absolute, ask, command, emit, working
from mesyx_core.cli.passphrase import given_passphrase
from mesyx_core.cli.run import PASSPHRASE
from mesyx_core.cli.show import nested


@command("mesyx backup /mnt/backup/mx1 --recipient age1yd3k…", table=True)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    metavar="AGE",
    help="Seal what only the node may know to this age recipient; may be repeated. Else it is under a passphrase.",
)
@PASSPHRASE
def backup(folder: Path, recipients: tuple[str, ...], passphrase_file: Path | None) -> None:
    """Copy all that this node is to FOLDER, while it runs.

    Messages are sealed there as they are here; the node's key and its config are sealed as well. A second backup to the
    same FOLDER copies what is new. Copy FOLDER wherever you like: to be restored, it must be whole.

    Not in it: the index of the mailboxes, which is made again from the log, and the keys of outgoing mail, which are
    to be erased for good.
    """
    given = {} if recipients else given_passphrase(passphrase_file, new=True)
    emit(ask("backup", {"folder": absolute(folder), "recipients": list(recipients), **given}), nested)


@command("mesyx restore /mnt/backup/mx1 /srv/mesyx --passphrase-file backup.passphrase", table=True)
@click.argument("backup_", metavar="BACKUP", type=click.Path(path_type=Path, file_okay=False))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--identity",
    "identities",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Age identity file for a backup that was sealed to a recipient; may be repeated. One under a passphrase asks "
    "for it.",
)
@PASSPHRASE
def restore(backup_: Path, folder: Path, identities: tuple[Path, ...], passphrase_file: Path | None) -> None:
    """Make the node again, in the new folder DIR, that BACKUP was taken of.

    The node that it was must not run any more: of two with one key, none sends until you have stopped one. What was
    taken in after the backup comes back from the other nodes; what was being sent is asked for once they have said
    what was sent since.
    """
    from mesyx_core.node.identities import read_identities, sealed_among
    from mesyx_core.node.restore import restore as make
    from mesyx_core.node.run import harden
    from mesyx_core.node.secrets import passphrase

    harden()
    phrase = ""
    if not identities or sealed_among(identities):
        given = given_passphrase(passphrase_file)
        phrase = given.get("passphrase") or passphrase(Path(given["passphrase_file"]))
    keys = [key for file in identities for key in read_identities(file, phrase)]
    result = working(lambda tell: make(backup_.absolute(), folder.absolute(), tell, keys, phrase))
    emit(result, _restored)


def _restored(result: dict[str, Any]) -> str:
    return f"{nested(result)}\nnext: mesyx run -c {result['config']}"
