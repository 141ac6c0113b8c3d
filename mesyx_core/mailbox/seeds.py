"""Keys of sealed entries: each epoch's seed is opened once and kept in memory, never elsewhere."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.model import SEQ
from mesyx_core.record.entry import Header, Origin
from mesyx_core.record.payloads import Epoch, Target
from mesyx_core.vault import age
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.epoch import LEAVES, SEED_SIZE, SeedReader, commitment
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.seal import Context, SealError, open_, open_known

_HELD: Final = 4096
"""Seeds held open; about 4 MB of memory."""

Verdict: TypeAlias = Literal["good", "locked", "wrong"]
"""What a seal holds: the seed that was committed to, something else, or nothing that can be opened here."""


class SeedUnknown(Exception):
    """The epoch's entry is not opened yet."""


class SeedLocked(Exception):
    """No identity here opens the epoch's seed."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target


class SeedWrong(Exception):
    """What the epoch's file holds is not the seed that its commitment shows."""


class Seal(NamedTuple):
    """An epoch's seed as it is sealed to one target."""

    target: Target
    file: bytes


class _Sealed(NamedTuple):
    commitment: bytes
    seals: Sequence[Seal]
    """The epoch's own first, if that is held."""


class _Known(NamedTuple):
    target: Target
    reader: SeedReader | Callable[[], Exception]
    """Or what makes the reason why there is none: anew each time, since an exception that is raised again keeps the
    frames, and with them the entries, of all that it was raised for before."""


class Seeds:
    """For use from any thread."""

    def __init__(
        self, store: bytes, ledger: Ledger, identities: Sequence[age.Identity], authority: Callable[[], Authority]
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._identities = tuple(identities)
        self._keysets = Keysets(authority)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, int], _Known] = OrderedDict()
        self._made: set[tuple[int, int, Seal]] = set()

    def unlock(self, identities: Sequence[age.Identity]) -> None:
        """Use these identities from now on."""
        with self._lock:
            self._identities = tuple(identities)
            self._known.clear()

    def forget(self) -> None:
        """Forget all keys, for good."""
        self.unlock(())

    def look_again(self, epochs: Iterable[tuple[int, int]]) -> None:
        """The seals of these epochs, given as (origin, number), are not what they were."""
        with self._lock:
            for epoch in epochs:
                self._known.pop(epoch, None)

    def retry(self, epochs: Iterable[tuple[int, int]]) -> None:
        """The same of those that could not be opened."""
        with self._lock:
            for epoch in epochs:
                if epoch in self._known and isinstance(self._known[epoch].reader, Exception):
                    del self._known[epoch]

    def learn(self, origin: int, number: int, epoch: Epoch) -> None:
        """An epoch whose entry was just read. The first entry of a number counts."""
        with self._lock:
            if (origin, number) not in self._known and self._stored(origin, number) is None:
                self._keep(origin, number, _Sealed(epoch.commitment, [Seal(epoch.target, epoch.file)]))

    def open(self, origin: int, seq: int, header: Header, payload: bytes) -> tuple[Target, bytes]:
        """Whose a sealed entry is, by the newest seal that opens here, and what is in it. Raises SealError and this
        module's errors."""
        target, key = self._key(origin, header.epoch, header.index)
        return target, open_(key, self._context(origin, header), header.s, payload)

    def open_known(self, origin: int, header: Header, payload: bytes) -> bytes:
        """What is in an entry that `open` has taken before, with its padding behind. Raises as `open` does."""
        _, key = self._key(origin, header.epoch, header.index)
        return open_known(key, self._context(origin, header), header.s, payload)

    def check(self, origin: int, number: int, seal: Seal) -> Verdict:
        """Whether a seal holds the seed that an epoch committed to. Raises SeedUnknown."""
        if (origin, number, seal) in self._made:
            self._made.discard((origin, number, seal))
            return "good"
        stored = self._stored(origin, number)
        if stored is None:
            raise SeedUnknown
        try:
            seed = self._unsealed(seal)
        except age.AgeError:
            return "wrong"
        if seed is None:
            return "locked"
        return "good" if self._fits(origin, number, stored.commitment, seed) else "wrong"

    def reseal(self, origin: int, number: int, into: Keyset) -> Seal:
        """An epoch's seed, opened by any seal, sealed to another keyset: one that `check` need not open to know. Raises
        SeedUnknown, SeedLocked, SeedWrong."""
        stored = self._stored(origin, number)
        if stored is None:
            raise SeedUnknown
        _, seed = self._first(origin, number, stored)
        seal = Seal(Target("keyset", into.id), age.encrypt(seed, into.recipients))
        if self.opens(seal.target):
            self._made.add((origin, number, seal))
        return seal

    def opens(self, target: Target) -> bool:
        """Whether an identity here is one of a keyset's."""
        return bool(self._fitting(target))

    def _context(self, origin: int, header: Header) -> Context:
        node, incarnation = self._ledger.nodes[origin]
        return Context(self._store, node, incarnation, header.kind, header.epoch, header.index, header.blobs)

    def _key(self, origin: int, number: int, index: int) -> tuple[Target, bytes]:
        if not 0 <= index < LEAVES:
            raise SealError("an epoch has indexes 0 to 1023")
        with self._lock:
            found = self._known.get((origin, number))
            if found is None:
                stored = self._stored(origin, number)
                if stored is None:
                    raise SeedUnknown
                found = self._keep(origin, number, stored)
            else:
                self._known.move_to_end((origin, number))
            if not isinstance(found.reader, SeedReader):
                raise found.reader()
            return found.target, found.reader.leaf(index)

    def _stored(self, origin: int, number: int) -> _Sealed | None:
        with self._ledger.database.read() as db:
            rows = db.execute(
                "SELECT e.commitment, s.target, s.target_id, s.sealed FROM epoch e LEFT JOIN seal s "
                "ON s.origin = e.origin AND s.number = e.number WHERE e.origin = ? AND e.number = ? "
                "ORDER BY s.entry != e.entry, s.entry",
                (origin, number),
            ).fetchall()
        if not rows:
            return None
        return _Sealed(rows[0][0], [Seal(Target(kind, id), file) for _, kind, id, file in rows if file is not None])

    def _keep(self, origin: int, number: int, sealed: _Sealed) -> _Known:
        try:
            target, seed = self._first(origin, number, sealed)
            found = _Known(target, SeedReader(seed))
        except SeedLocked as locked:
            found = _Known(locked.target, partial(SeedLocked, locked.target))
        except (SeedWrong, SeedUnknown) as error:
            found = _Known(sealed.seals[0].target if sealed.seals else Target("clients"), type(error))
        self._known[origin, number] = found
        while len(self._known) > _HELD:
            self._known.popitem(last=False)
        return found

    def _first(self, origin: int, number: int, sealed: _Sealed) -> tuple[Target, bytes]:
        """By the newest seal that opens here and is right."""
        locked = not sealed.seals
        for seal in reversed(sealed.seals):
            try:
                seed = self._unsealed(seal)
            except age.AgeError:
                continue
            if seed is None:
                locked = True
            elif self._fits(origin, number, sealed.commitment, seed):
                return seal.target, seed
        if not locked:
            raise SeedWrong
        if not sealed.seals:
            raise SeedUnknown
        raise SeedLocked(sealed.seals[0].target)

    def _unsealed(self, seal: Seal) -> bytes | None:
        """What a seal holds; None when no identity here opens it. Raises AgeError."""
        identities = self._fitting(seal.target)
        try:
            return age.decrypt(seal.file, identities) if identities else None
        except age.NoMatch:
            return None

    def _fitting(self, target: Target) -> Sequence[age.Identity]:
        """Of a keyset's key alone is it worth trying: a store has one for every week of years."""
        recipients = self._keysets.recipients(target)
        if recipients is None:
            return self._identities
        return [identity for identity in self._identities if identity.recipient in recipients]

    def _fits(self, origin: int, number: int, committed: bytes, seed: bytes) -> bool:
        node, incarnation = self._ledger.nodes[origin]
        return len(seed) == SEED_SIZE and commitment(self._store, node, incarnation, number, seed) == committed


class Keysets:
    """The recipients of every keyset that any manifest has named."""

    def __init__(self, authority: Callable[[], Authority]) -> None:
        self._authority = authority
        self._seen = 0
        self._known: dict[bytes, frozenset[str]] = {}

    def recipients(self, target: Target) -> frozenset[str] | None:
        """Of a keyset; None for any other target, and for one that no manifest here names."""
        manifests = self._authority().manifests
        if len(manifests) != self._seen:
            known = {keyset.id: keyset for manifest in manifests.values() for keyset in manifest.keysets}
            self._known = {id: frozenset(keyset.recipients) for id, keyset in known.items()}
            self._seen = len(manifests)
        return self._known.get(target.id) if target.kind == "keyset" else None


def origin_of(ledger: Ledger, store: bytes, entry: int) -> Origin:
    """The log that an entry stands in."""
    return Origin(store, *ledger.nodes[entry >> SEQ])
