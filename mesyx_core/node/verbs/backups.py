"""`mesyx backup`: everything that the node is, while it runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from mesyx_core.api import Refused
from mesyx_core.node import backup as copy
from mesyx_core.node.clock import now
from mesyx_core.node.durable import sync_folder
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.progress import Tell
from mesyx_core.node.secrets import given
from mesyx_core.vault import age

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def backup(
    node: Node,
    folder: str,
    tell: Tell,
    recipients: Sequence[str] = (),
    passphrase_file: str | None = None,
    passphrase: str | None = None,
) -> Any:
    """A backup in a new folder, or the one there brought up to date. What only this node may know is sealed to the
    recipients, else under the passphrase. Durable on return; stopped before, the former backup is still whole.
    """
    place = Path(folder)
    state = node.home.state
    if place == state or state in place.parents:
        raise Refused(f"{place}: lies within the node's own state", "name a folder elsewhere, best on another disk")
    phrase = None if recipients else await given(passphrase_file, passphrase)
    kept = await run_sync(copy.collect, node.config.file, state)
    sealed = await run_sync(_sealed, kept.encode(), recipients, phrase)
    entries = 0

    def told(done: int, of: int) -> None:
        nonlocal entries
        entries = of
        tell("entries", done, of)

    holding = copy.held(place)
    await run_sync(holding.__enter__)  # in a thread, as all of this: that disk may be slow, or hang
    try:
        await run_sync(copy.renewable, place, node.key.public.hex())
        try:
            fresh = place / copy.FRESH
            await run_sync(_emptied, fresh)
            database = await node.journal.copy(fresh, told)
            # After it: every blob that the copy refers to is there by now.
            blobs = await run_sync(copy.copy_new, state / "journal" / "blobs", place / "blobs", tell, "bodies")
            await run_sync(copy.seal_up, place, sealed)
            await run_sync(_into_place, database, place / copy.DATABASE)
            await run_sync(_keys, node.keyring, place / "keys")
            await run_sync(copy.drop_others, place / "blobs", blobs)
            await run_sync(partial(shutil.rmtree, fresh, ignore_errors=True))
            await run_sync(copy.finish, place, _about(node, entries, len(blobs)))
        except OSError as error:
            raise copy.cannot(place, error) from error
    finally:
        holding.__exit__(None, None, None)
    return {
        "folder": str(place),
        **_about(node, entries, len(blobs)),
        "not in it": await run_sync(copy.elsewhere, node.config.file),
    }


def _about(node: Node, entries: int, blobs: int) -> dict[str, Any]:
    return {
        "version": copy.VERSION,
        "node": node.key.public.hex(),
        "name": node.config.node.name,
        "time": int(now().timestamp()),
        "stores": [store.id.hex() for store in node.stores],
        "entries": entries,
        "bodies": blobs,
    }


def _sealed(data: bytes, recipients: Sequence[str], phrase: str | None) -> bytes:
    if phrase is not None:
        return age.encrypt_passphrase(data, phrase)
    try:
        return age.encrypt(data, list(recipients))
    except age.AgeError as error:
        raise Refused(
            "a recipient is not one of age", "write it as age-keygen prints it: age1…, all of one kind"
        ) from error


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def _into_place(database: Path, target: Path) -> None:
    """Durable before what only the former one refers to is dropped."""
    database.replace(target)
    sync_folder(target.parent)


def _keys(keyring: Keyring, target: Path) -> None:
    with keyring.still() as folder:
        copy.mirror(folder, target)
