"""Private keys that are elsewhere, opened here for a while: in memory alone, until their file is removed, the process
that asked has ended, or the store is locked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from mesyx_core.api import Locked, Refused
from mesyx_core.node.stores import Store
from mesyx_core.vault import age
from mesyx_core.vault.keyset import key_id

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

LOOK: Final = 0.5
"""Seconds between two looks at what a loan hangs on."""

log = logging.getLogger(__name__)


class Bound(NamedTuple):
    """What a loan lasts as long as."""

    file: Path
    stamp: tuple[int, int]
    """Device and inode: another file of that name, or another stick, is not the one that was opened."""
    process: int | None

    @property
    def holds(self) -> bool:
        return _stamp(self.file) == self.stamp and (self.process is None or _lives(self.process))


class Loans:
    """Of all stores of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def open(self, store: Store, identities: Sequence[age.Identity], file: Path, process: int | None) -> str:
        """Open with these keys too, while `file` is there and `process` lives; the loan. Raises Locked, Refused."""
        if store.account is None or self._node.tasks is None:
            raise Locked(f"the store {store.name} is locked on this node", f"mesyx store unlock {store.name}")
        bound = Bound(file, _stamp(file), process)
        if not bound.holds or bound.stamp == (0, 0):
            raise Refused(f"{file}: is gone already", "leave it there for as long as its messages shall be open")
        name = os.urandom(8).hex()
        store.loans[name] = tuple(identity.text for identity in identities)
        self._node.mailboxes.use_keys(store)
        await store.account.reappear()
        await self._node.sightings.note(store.id, [key_id(each.recipient) for each in identities], f"in {file}")
        self._node.tasks.start_soon(self._watch, store, name, bound)
        return name

    def close(self, store: Store, name: str) -> None:
        """Harmless when it is over."""
        if store.loans.pop(name, None) is not None:
            self._node.mailboxes.use_keys(store)
            log.info("private keys that were opened for a while are closed")

    async def _watch(self, store: Store, name: str, bound: Bound) -> None:
        holds = True
        while name in store.loans and holds:
            await anyio.sleep(LOOK)
            holds = bound.holds
        self.close(store, name)


def _stamp(file: Path) -> tuple[int, int]:
    with suppress(OSError):
        found = file.stat()
        return found.st_dev, found.st_ino
    return 0, 0


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
