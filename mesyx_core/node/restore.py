"""A node made again from a backup, in a new folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mesyx_core.api.errors import Misconfigured, Refused
from mesyx_core.config import parse
from mesyx_core.journal.copying import copy_in
from mesyx_core.node import backup
from mesyx_core.node.durable import make_folder, sync_folder, write_durably
from mesyx_core.node.progress import Tell
from mesyx_core.vault import age

LONGEST: Final = 1 << 20
"""Bytes of an identity file."""


def restore(source: Path, folder: Path, tell: Tell, identities: Sequence[age.Identity] = (), phrase: str = "") -> Any:
    """Make the folder of a node that a backup was taken of. Durable on return; stopped before, the folder has no config
    and is no node. Raises Refused, Misconfigured, Temporary."""
    about = backup.about(source)
    kept = opened(source, identities, phrase)
    if folder.exists() and any(folder.iterdir()):
        raise Refused(f"{folder}: is not empty", "name a new folder; move what is there away if that is the place")
    state = folder / "state"
    journal = state / "journal"
    url = _database_url(source, folder, kept.config)  # before anything is made, should this config be refused
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        state.mkdir(mode=0o700)
        journal.mkdir(mode=0o700)
        backup.copy_new(source / "blobs", journal / "blobs", tell, "bodies")
        backup.mirror(source / "keys", state / "keys")
        for path, data in kept.state.items():
            make_folder((state / path).parent)
            write_durably(state / path, data)
        _database(source, journal, url, tell)
        write_durably(folder / backup.CONFIG, kept.config)  # last: before, this is no node
        for each in (state, folder):
            sync_folder(each)
    except OSError as error:
        raise backup.cannot(folder, error) from error
    return {
        "config": str(folder / backup.CONFIG),
        "name": about.get("name", ""),
        "node": about.get("node", ""),
        "time": about.get("time", 0),
        "bring along": backup.elsewhere(folder / backup.CONFIG),
    }


def _database_url(source: Path, folder: Path, text: bytes) -> str:
    """Where the config has the journal. Raises Misconfigured, also for a state that is outside of the folder."""
    try:
        config = parse(text.decode(), folder / backup.CONFIG)
    except UnicodeDecodeError:
        raise Refused("the backup's config is damaged", "take another backup") from None
    if config.state != folder / "state":
        raise Misconfigured(
            f"the node's state was outside of its folder, in {config.state}",
            f'restore is for state = "state"; copy {source / "journal.db"} by hand, or restore on the same machine',
        )
    return config.node.database.get_secret_value()


def _database(source: Path, journal: Path, url: str, tell: Tell) -> None:
    """The journal where the config has it: in the state folder, or in a database of its own that has to be empty."""
    backup.copy_file(source / backup.DATABASE, journal / backup.DATABASE)
    if url != "sqlite":
        copy_in(journal, url, lambda done, of: tell("entries", done, of))
        (journal / backup.DATABASE).unlink()
    sync_folder(journal)


def opened(source: Path, identities: Sequence[age.Identity], phrase: str) -> backup.Kept:
    """What a backup holds under seal. Takes about a second with a passphrase. Raises Refused."""
    path = source / backup.SEALED
    try:
        data = path.read_bytes()
        return backup.decode_kept(age.decrypt(data, identities) if identities else age.decrypt_passphrase(data, phrase))
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror})", "the backup is not whole; take another") from error
    except age.NoMatch as error:
        raise Refused(
            "this does not open the backup", "give the passphrase, or --identity with the key, that it was made with"
        ) from error
    except age.AgeError as error:
        raise Refused(f"{path}: is damaged", "take another backup") from error
