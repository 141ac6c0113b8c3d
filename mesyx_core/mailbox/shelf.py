"""The keysets' files: opened when wanted, at most 64 at a time, each under a key sealed to its keyset."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from mesyx_core.api import Locked
from mesyx_core.mailbox import schema
from mesyx_core.mailbox.contents import Contents
from mesyx_core.mailbox.storage import Database, destroy, open_database
from mesyx_core.record.payloads import Target
from mesyx_core.vault import age
from mesyx_core.vault.authority import Authority

OPEN: Final = 64


class _Slot:
    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.users = 0


class Shelf:
    """For use from any thread."""

    def __init__(
        self,
        folder: Path,
        generation: bytes,
        authority: Callable[[], Authority],
        identities: Sequence[age.Identity],
        random: Callable[[int], bytes],
        made: Callable[[Target], None] = lambda _: None,
        own: age.Identity | None = None,
    ) -> None:
        """`made` is told of each file that was made, because there was none or it was damaged. With a key of their
        `own`, the files' keys are sealed to that, and to nobody who holds the keyset's."""
        self._made = made
        self._folder = folder
        self._generation = generation
        self._authority = authority
        self._own = (own,) if own is not None else ()
        self._identities = (*identities, *self._own)
        self._random = random
        self._lock = threading.RLock()
        self._open: OrderedDict[Target, _Slot] = OrderedDict()
        self._locked: set[Target] = set()
        self._closing: set[Target] = set()
        """Open still for those who read in them, and for nobody else."""
        self._folded: dict[Target, Target] = {}
        """Since the start: whoever has looked up a message before may still ask for the old one."""
        self._closed = False

    def unlock(self, identities: Sequence[age.Identity]) -> None:
        """Use these identities from now on; what none of them opens is closed, as soon as nobody reads in it."""
        with self._lock:
            self._identities = (*identities, *self._own)
            self._locked.clear()
            self._closing = {target for target in self._open if not self._fits(target)}
            for target in list(self._closing):
                self._close_unused(target)

    def fold(self, source: Target, into: Target) -> None:
        """Copy all that a target's file holds into another's, durably; what is asked of the first from now on is asked
        of the second. Raises Locked."""
        with self.use(into) as contents, self.use(source) as other:
            contents.take_in(other, source.id.hex()[:16] or source.kind)
        with self._lock:
            self._folded[source] = into

    def destroy(self, target: Target) -> None:
        """Destroy a target's file and its key, for good; harmless when there is none. What was not folded into another
        is gone from the index until the log gives it again."""
        with self._lock:
            slot = self._open.pop(target, None)
            if slot is not None:
                slot.contents.database.close()
            destroy(self._path(target))

    @contextlib.contextmanager
    def use(self, target: Target) -> Iterator[Contents]:
        """The file of a target, for as long as the block runs. Raises Locked."""
        with self._lock:
            target = self._folded.get(target, target)
            if target in self._closing:
                raise Locked("the key of these messages is not here any more", "mesyx keyset list STORE")
            slot = self._open.get(target) or self._take(target)
            self._open.move_to_end(target)
            slot.users += 1
        try:
            yield slot.contents
        finally:
            with self._lock:
                slot.users -= 1
                if target in self._closing:
                    self._close_unused(target)

    def _close_unused(self, target: Target) -> None:
        slot = self._open.get(target)
        if slot is None or not slot.users:
            self._closing.discard(target)
        if slot is not None and not slot.users:
            del self._open[target]
            slot.contents.database.close()

    def _fits(self, target: Target) -> bool:
        """Whether an identity here opens the target's file."""
        try:
            recipients = self._recipients(target)
        except Locked:
            return False
        return not {identity.recipient for identity in self._identities}.isdisjoint(recipients)

    def there(self, target: Target) -> bool:
        """Whether the target has a file that belongs to this index."""
        path = self._path(target)
        return path.with_suffix(".db").exists() and path.with_suffix(".key").exists()

    def _take(self, target: Target) -> _Slot:
        if self._closed or target in self._locked:
            raise Locked("the key of these messages is not open here", "mesyx store unlock")
        self._make_room()
        path = self._path(target)
        try:
            database = self._database(path, target)
        except Locked:
            self._locked.add(target)
            raise
        slot = self._open[target] = _Slot(Contents(database))
        return slot

    def _database(self, path: Path, target: Target) -> Database:
        recipients = self._recipients(target)
        if not self._fits(target):
            raise Locked("the key of these messages is not here", "mesyx keyset list STORE")
        for _ in range(2):
            database = open_database(path, recipients, self._identities, self._random, schema.KEYSET, schema.VERSION)
            with database.write() as db:
                found = db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
                if found is None:
                    db.execute("INSERT INTO meta (key, value) VALUES ('generation', ?)", (self._generation,))
            if found is None:
                self._made(target)
                break
            if found[0] == self._generation:
                break
            # Left over from an index whose common file is gone: its numbers mean nothing here.
            database.close()
            path.with_suffix(".key").unlink()
        return database

    def _make_room(self) -> None:
        for target in [target for target, slot in self._open.items() if not slot.users]:
            if len(self._open) < OPEN:
                break
            self._open.pop(target).contents.database.close()

    def _recipients(self, target: Target) -> tuple[str, ...]:
        if self._own:
            return tuple(identity.recipient for identity in self._own)
        manifests = [self._authority().effective, *self._authority().manifests.values()]
        if target.kind == "keyset":
            for manifest in manifests:
                for keyset in manifest.keysets:
                    if keyset.id == target.id:
                        return keyset.recipients
            raise Locked("no manifest here names the keyset of these messages")
        return manifests[0].clients

    def _path(self, target: Target) -> Path:
        return self._folder / (f"{target.kind}-{target.id.hex()[:32]}" if target.id else target.kind)

    def close(self) -> None:
        """Close all files, and open none again."""
        with self._lock:
            self._identities = ()
            self._closed = True
            while self._open:
                self._open.popitem()[1].contents.database.close()
