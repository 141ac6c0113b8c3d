"""Keys of sealed entries: each epoch's seed is opened once and kept in memory, never elsewhere."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.model import SEQ
from mesyx_core.record.entry import Header, Origin
from mesyx_core.record.payloads import Epoch, Target
from mesyx_core.vault import age
from mesyx_core.vault.epoch import LEAVES, SeedReader, commitment
from mesyx_core.vault.seal import Context, SealError, open_, open_known

_HELD: Final = 4096
"""Seeds held open; about 4 MB of memory."""


class SeedUnknown(Exception):
    """The epoch's entry is not opened yet."""


class SeedLocked(Exception):
    """No identity here opens the epoch's seed."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target


class SeedWrong(Exception):
    """What the epoch's file holds is not the seed that its commitment shows."""


class _Known(NamedTuple):
    target: Target
    reader: SeedReader | Exception


class Seeds:
    """For use from any thread."""

    def __init__(self, store: bytes, ledger: Ledger, identities: Sequence[age.Identity]) -> None:
        self._store = store
        self._ledger = ledger
        self._identities = tuple(identities)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, int], _Known] = OrderedDict()

    def unlock(self, identities: Sequence[age.Identity]) -> None:
        """Use these identities from now on."""
        with self._lock:
            self._identities = tuple(identities)
            self._known.clear()

    def forget(self) -> None:
        """Forget all keys, for good."""
        self.unlock(())

    def learn(self, origin: int, number: int, epoch: Epoch) -> None:
        """An epoch whose entry was just read. The first entry of a number counts."""
        with self._lock:
            if (origin, number) not in self._known and self._stored(origin, number) is None:
                self._keep(origin, number, epoch)

    def open(self, origin: int, seq: int, header: Header, payload: bytes) -> tuple[Target, bytes]:
        """Whom a sealed entry was sealed to, and what is in it. Raises SealError and this module's errors."""
        target, key = self._key(origin, header.epoch, header.index)
        return target, open_(key, self._context(origin, header), header.s, payload)

    def open_known(self, origin: int, header: Header, payload: bytes) -> bytes:
        """What is in an entry that `open` has taken before, with its padding behind. Raises as `open` does."""
        _, key = self._key(origin, header.epoch, header.index)
        return open_known(key, self._context(origin, header), header.s, payload)

    def _context(self, origin: int, header: Header) -> Context:
        node, incarnation = self._ledger.nodes[origin]
        return Context(self._store, node, incarnation, header.kind, header.epoch, header.index, header.blobs)

    def _key(self, origin: int, number: int, index: int) -> tuple[Target, bytes]:
        if not 0 <= index < LEAVES:
            raise SealError("an epoch has indexes 0 to 1023")
        with self._lock:
            found = self._known.get((origin, number))
            if found is None:
                epoch = self._stored(origin, number)
                if epoch is None:
                    raise SeedUnknown
                found = self._keep(origin, number, epoch)
            else:
                self._known.move_to_end((origin, number))
            if isinstance(found.reader, Exception):
                raise found.reader
            return found.target, found.reader.leaf(index)

    def _stored(self, origin: int, number: int) -> Epoch | None:
        with self._ledger.database.read() as db:
            row = db.execute(
                "SELECT target, target_id, commitment, sealed FROM epoch WHERE origin = ? AND number = ?",
                (origin, number),
            ).fetchone()
        return None if row is None else Epoch(Target(row[0], row[1]), row[2], row[3])

    def _keep(self, origin: int, number: int, epoch: Epoch) -> _Known:
        found = _Known(epoch.target, self._unseal(origin, number, epoch))
        self._known[origin, number] = found
        while len(self._known) > _HELD:
            self._known.popitem(last=False)
        return found

    def _unseal(self, origin: int, number: int, epoch: Epoch) -> SeedReader | Exception:
        try:
            seed = age.decrypt(epoch.file, self._identities) if self._identities else None
        except age.NoMatch:
            seed = None
        except age.AgeError:
            return SeedWrong()
        if seed is None:
            return SeedLocked(epoch.target)
        node, incarnation = self._ledger.nodes[origin]
        if len(seed) != 32 or commitment(self._store, node, incarnation, number, seed) != epoch.commitment:
            return SeedWrong()
        return SeedReader(seed)


def origin_of(ledger: Ledger, store: bytes, entry: int) -> Origin:
    """The log that an entry stands in."""
    return Origin(store, *ledger.nodes[entry >> SEQ])
