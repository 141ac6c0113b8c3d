"""The index's common file: what is opened, which entries are one message, what is where and how it is flagged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any, Final, TypeVar

from mesyx_core.api import Changed
from mesyx_core.mailbox import applying, names, settling, submissions
from mesyx_core.mailbox.model import SAME, SEQ, SEQ_MASK, Arrival, Why
from mesyx_core.mailbox.storage import Connection, Database
from mesyx_core.record.ops import Span
from mesyx_core.record.payloads import Epoch, Target
from mesyx_core.vault.epoch import LEAVES

_T = TypeVar("_T")
_REMEMBERED: Final = 64


class Ledger:
    """The open common file. `change` is for the one feed; everything that reads takes a `database.read()`."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self.database = database
        self._now = now
        self.origins: dict[tuple[bytes, bytes], int] = {}
        self.nodes: dict[int, tuple[bytes, bytes]] = {}
        self.cursors: dict[int, int] = {}
        self.keys: dict[tuple[int, str], int] = {}
        self.key_names: dict[int, tuple[int, str]] = {}
        self.flag_sets: dict[frozenset[str], int] = {}
        self.flag_names: dict[int, frozenset[str]] = {}
        self.mailboxes: dict[bytes, int] = {}
        self.keysets: dict[Target, int] = {}
        self.targets: dict[int, Target] = {}
        self.gone: frozenset[int] = frozenset()
        """Rows of keysets whose keys are destroyed here: their messages are shown nowhere."""
        self.modseq = 1
        self.load()
        if not self.mailboxes:
            self._found()

    def load(self) -> None:
        """Read the small tables that are held in memory."""
        with self.database.read() as db:
            self.nodes = {row[0]: (row[1], row[2]) for row in db.execute("SELECT id, node, incarnation FROM origin")}
            self.origins = {origin: row for row, origin in self.nodes.items()}
            self.cursors = dict(db.execute("SELECT id, cursor FROM origin").fetchall())
            self.key_names = {row[0]: (row[1], row[2]) for row in db.execute("SELECT id, mailbox, flag FROM key")}
            self.keys = {key: row for row, key in self.key_names.items()}
            found = db.execute("SELECT id, names FROM flags").fetchall()
            self.flag_names = {row: frozenset(text.split(" ") if text else ()) for row, text in found}
            self.flag_sets = {flags: row for row, flags in self.flag_names.items()}
            self.mailboxes = dict(db.execute("SELECT mid, id FROM mailbox").fetchall())
            found = db.execute("SELECT id, target, target_id FROM keyset").fetchall()
            self.targets = {row: Target(kind, name) for row, kind, name in found}
            self.keysets = {target: row for row, target in self.targets.items()}
            row = db.execute("SELECT value FROM meta WHERE key = 'modseq'").fetchone()
            self.modseq = row[0] if row else 1
            row = db.execute("SELECT value FROM meta WHERE key = 'gone'").fetchone()
            self.gone = frozenset(json.loads(row[0]) if row else ())

    def _found(self) -> None:
        with self.change() as change:
            for name in names.SPECIAL:
                change.mailbox(names.named(name), name, implied=True)

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """One transaction; on leaving, `settle` brings what is shown up to date and `changed` says how."""
        try:
            with self.database.write() as db:
                change = Change(self, db, int(self._now()))
                yield change
                settling.settle(change)
                submissions.settle(change)
                change.save()
            self.modseq, self.cursors = change.modseq, change.cursors
        except BaseException:
            self.load()
            raise

    def generation(self, random: Callable[[int], bytes]) -> bytes:
        """What ties the keysets' files to this file: entries are numbered alike only within one."""
        with self.change() as change:
            change.db.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('generation', ?)", (random(16),))
            row = change.db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        return bytes(row[0])

    def doubt(self) -> None:
        """This index may have given other messages the same UIDs, before it was restored from a backup: every mailbox
        gets a new UIDVALIDITY (RFC 3501, 2.3.1.1), so that programs fetch what they know anew."""
        with self.change() as change:
            change.db.execute("UPDATE mailbox SET uidvalidity = ?", (change.uidvalidity(),))

    def miss(self, targets: Collection[Target]) -> None:
        """The files of these targets are gone: their messages are to be taken apart again."""
        rows = [self.keysets[target] for target in targets]
        with self.database.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO pending (entry, why) SELECT id, 'body' FROM entry WHERE keyset = ?",
                ((row,) for row in rows),
            )

    def fold(self, source: Target, into: Target) -> None:
        """What is in the messages of one keyset is in another's file now."""
        with self.change() as change:
            rows = (change.keyset(into), change.keyset(source))
            change.db.execute("UPDATE entry SET keyset = ? WHERE keyset = ?", rows)
            change.db.execute("UPDATE shown SET keyset = ? WHERE keyset = ?", rows)

    def vanish(self, target: Target, gone: bool = True) -> tuple[int, list[Changed]]:
        """Show the messages of a keyset nowhere, as if they had been expunged, or again, as if they had just come; what
        that changed, as of which modification sequence. Flags and mailboxes stay what they are.
        """
        with self.change() as change:
            row = change.keyset(target)
            self.gone = self.gone | {row} if gone else self.gone - {row}
            change.db.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('gone', ?)", (json.dumps(sorted(self.gone)),)
            )
            entries = change.db.execute("SELECT id FROM entry WHERE keyset = ? ORDER BY id", (row,))
            change.touched.update(dict.fromkeys(found[0] for found in entries.fetchall()))
        return change.modseq, change.changed

    def ref(self, entry: int) -> tuple[bytes, bytes, int]:
        """(node, incarnation, seq) of an entry."""
        node, incarnation = self.nodes[entry >> SEQ]
        return node, incarnation, entry & SEQ_MASK


class Change:
    """What the feed does in one transaction of the common file."""

    def __init__(self, ledger: Ledger, db: Connection, now: int) -> None:
        self.ledger = ledger
        self.db = db
        self.modseq = ledger.modseq + 1
        self.cursors = dict(ledger.cursors)
        """How far each origin is opened; others see it once this is committed."""
        self.touched: dict[int, None] = {}
        """Entries whose dots changed, in order."""
        self.renamed = False
        """Mailboxes came, went or changed their names."""
        self.changed: list[Changed] = []
        self.posted: set[bytes] = set()
        """Submissions of which something new was told."""
        self.published = False
        """A gateway has told of its recipients of the day."""
        self._now = now
        self._used: dict[tuple[int, int], bytearray] = {}
        self._memory: dict[Hashable, Any] = {}
        self._some_wait = bool(db.execute("SELECT 1 FROM waiting LIMIT 1").fetchone())

    # --- rows of the small tables -------------------------------------------------------------------------------------

    def origin(self, node: bytes, incarnation: bytes) -> int:
        """Row of an origin, made if it is new."""
        found = self.ledger.origins.get((node, incarnation))
        if found is None:
            found = self.db.execute(
                "INSERT INTO origin (node, incarnation) VALUES (?, ?)", (node, incarnation)
            ).lastrowid
            self.ledger.origins[node, incarnation] = found
            self.ledger.nodes[found] = (node, incarnation)
            self.cursors[found] = 0
        return found

    def key(self, mailbox: int, flag: str) -> int:
        """Row of a key that dots are kept for."""
        found = self.ledger.keys.get((mailbox, flag))
        if found is None:
            found = self.db.execute("INSERT INTO key (mailbox, flag) VALUES (?, ?)", (mailbox, flag)).lastrowid
            self.ledger.keys[mailbox, flag] = found
            self.ledger.key_names[found] = (mailbox, flag)
        return found

    def flags(self, flags: frozenset[str]) -> int:
        """Row of a set of flags."""
        found = self.ledger.flag_sets.get(flags)
        if found is None:
            found = self.db.execute("INSERT INTO flags (names) VALUES (?)", (" ".join(sorted(flags)),)).lastrowid
            self.ledger.flag_sets[flags] = found
            self.ledger.flag_names[found] = flags
        return found

    def keyset(self, target: Target) -> int:
        """Row of a target that messages are sealed to."""
        found = self.ledger.keysets.get(target)
        if found is None:
            found = self.db.execute("INSERT INTO keyset (target, target_id) VALUES (?, ?)", target).lastrowid
            self.ledger.keysets[target] = found
            self.ledger.targets[found] = target
        return found

    def mailbox(self, mid: bytes, name: str = "", *, implied: bool = False, clock: int = 0) -> int:
        """Row of a mailbox. With a name it becomes known; without, it may wait for the op that makes it."""
        row = self.ledger.mailboxes.get(mid)
        if row is None:
            row = self.db.execute(
                "INSERT INTO mailbox (mid, uidvalidity) VALUES (?, ?)", (mid, self.uidvalidity())
            ).lastrowid
            self.ledger.mailboxes[mid] = row
            fresh = True
        else:
            fresh = bool(name) and not self.db.execute("SELECT known FROM mailbox WHERE id = ?", (row,)).fetchone()[0]
        if fresh and name:
            self.db.execute(
                "UPDATE mailbox SET known = 1, implied = ?, first = ?, clock = ?, modseq = ? WHERE id = ?",
                (implied, name, clock, self.modseq, row),
            )
            self.renamed = True
        return row

    def uidvalidity(self) -> int:
        """The mailboxes of the first second share one; later ones, which may take over a name, get ever higher ones."""
        row = self.db.execute("SELECT max(uidvalidity), max(id) FROM mailbox").fetchone()
        if row[1] is None or row[1] < len(names.SPECIAL):
            return row[0] or max(1, self._now & 0xFFFFFFFF)
        return max(self._now & 0xFFFFFFFF, int(row[0]) + 1)

    # --- how far ---

    def passed(self, entry: int) -> None:
        """The entry is done with: the cursor moves on, or what waited no longer does."""
        origin, seq = entry >> SEQ, entry & SEQ_MASK
        if seq > self.cursors[origin]:
            self.cursors[origin] = seq
            self.db.execute("UPDATE origin SET cursor = ? WHERE id = ?", (seq, origin))
        else:
            self.db.execute("DELETE FROM pending WHERE entry = ?", (entry,))

    def put_off(self, entry: int, why: Why, cause: int = 0) -> None:
        """Go on without this entry; it is tried again."""
        self.passed(entry)
        self.db.execute("INSERT OR REPLACE INTO pending (entry, why, cause) VALUES (?, ?, ?)", (entry, why, cause))

    def violation(self, entry: int, what: str) -> None:
        """Never applied, shown in the status."""
        self.passed(entry)
        self.db.execute("INSERT OR REPLACE INTO violation (entry, what) VALUES (?, ?)", (entry, what))

    def unopened(self, span: Span) -> int:
        """The first entry of a span that is not opened yet; 0 when all are."""
        origin = self.origin(span.node, span.incarnation)
        first = origin << SEQ | span.first
        last = first + span.length - 1
        row = self.db.execute(
            "SELECT entry FROM pending WHERE entry BETWEEN ? AND ? ORDER BY entry LIMIT 1", (first, last)
        ).fetchone()
        if row:
            return int(row[0])
        beyond = max(first, (origin << SEQ | self.cursors[origin]) + 1)
        return beyond if beyond <= last else 0

    def retry_ready(self) -> list[int]:
        """Entries that wait for another that is opened by now."""
        ready: list[int] = []
        for entry, cause in self.db.execute("SELECT entry, cause FROM pending WHERE why = 'cause'").fetchall():
            still = self.db.execute("SELECT 1 FROM pending WHERE entry = ?", (cause,)).fetchone()
            if not still and cause & SEQ_MASK <= self.cursors[cause >> SEQ]:
                ready.append(entry)
        return ready

    def learn(self, entry: int, number: int, commitment: bytes, seal: Epoch | None) -> None:
        """Keep an epoch; the first entry of a number counts. Its own seal may come later, or never."""
        origin = entry >> SEQ
        self.db.execute(
            "INSERT OR IGNORE INTO epoch (origin, number, entry, commitment, used) VALUES (?, ?, ?, ?, x'')",
            (origin, number, entry, commitment),
        )
        first = self.db.execute("SELECT entry FROM epoch WHERE origin = ? AND number = ?", (origin, number)).fetchone()
        if seal is not None and first[0] == entry:
            self.sealed(entry, origin, number, seal.target, seal.file)
        self.passed(entry)

    def sealed(self, entry: int, origin: int, number: int, target: Target, file: bytes, good: bool = False) -> None:
        """Keep an epoch's seed as an entry seals it; `good` where that was opened and is the one committed to."""
        self.db.execute(
            "INSERT OR IGNORE INTO seal (entry, origin, number, target, target_id, sealed, good) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry, origin, number, *target, file, good),
        )

    def unseal(self, entries: Iterable[int]) -> set[tuple[int, int]]:
        """Forget these entries' seals; of which epochs, as (origin, number)."""
        epochs: set[tuple[int, int]] = set()
        for entry in entries:
            epochs.update(self.db.execute("SELECT origin, number FROM seal WHERE entry = ?", (entry,)))
            self.db.execute("DELETE FROM seal WHERE entry = ?", (entry,))
        return epochs

    def closed(self, entry: int, number: int) -> None:
        """Nothing more is sealed in an epoch."""
        self.db.execute("UPDATE epoch SET closed = 1 WHERE origin = ? AND number = ?", (entry >> SEQ, number))
        self.passed(entry)

    def use(self, entry: int, place: tuple[int, int]) -> bool:
        """Count an index of an epoch as used; False when another entry of the log has used it before."""
        number, index = place
        at = (entry >> SEQ, number)
        used = self._used.get(at)
        if used is None:
            row = self.db.execute("SELECT used FROM epoch WHERE origin = ? AND number = ?", at).fetchone()
            used = self._used[at] = bytearray(row[0] if row and row[0] else LEAVES // 8)
        if used[index >> 3] >> (index & 7) & 1:
            return False
        used[index >> 3] |= 1 << (index & 7)
        return True

    # --- messages -----------------------------------------------------------------------------------------------------

    def arrive(self, new: Arrival) -> bool:
        """Take a message in; False when it was in already."""
        db, entry = self.db, new.entry
        if self.has(entry):
            return False
        shown = self._linked(new)
        db.execute(
            "INSERT INTO entry (id, shown, keyset, time, link) VALUES (?, ?, ?, ?, ?)",
            (entry, shown, new.keyset, new.time, new.link),
        )
        if shown == entry:
            db.execute(
                "INSERT INTO shown (id, keyset, time, email, thread) VALUES (?, ?, ?, ?, ?)",
                (entry, new.keyset, new.time, new.email, new.thread),
            )
        mailbox = self.mailbox(new.mailbox, new.mailbox_name, implied=True)
        own = [(entry, self.key(mailbox, ""), entry, 0)]
        own += ((entry, self.key(0, flag), entry, 0) for flag in new.flags)
        db.executemany("INSERT OR IGNORE INTO dot (entry, key, op, n) VALUES (?, ?, ?, ?)", own)
        self.touched[entry] = None
        if self._some_wait:
            self._resume(entry)
        return True

    def stand(self, entry: int, old: Arrival) -> None:
        """Take in a message that stands for `old`, which is purged or will be. The old entry stays, as what ops name
        and what says where the message is and how it is flagged; what is shown and read is the new one."""
        db = self.db
        if not self.has(old.entry):
            db.execute("DELETE FROM pending WHERE entry = ?", (old.entry,))
            self.arrive(old)
        group = db.execute("SELECT shown FROM entry WHERE id = ?", (old.entry,)).fetchone()[0]
        if group == old.entry:
            db.execute("UPDATE entry SET shown = ? WHERE shown = ?", (entry, group))
            db.execute("UPDATE shown SET id = ?, keyset = ? WHERE id = ?", (entry, old.keyset, group))
            db.execute("UPDATE place SET shown = ? WHERE shown = ?", (entry, group))
            group = entry
        db.execute(
            "INSERT INTO entry (id, shown, keyset, time, link) VALUES (?, ?, ?, ?, ?)",
            (entry, group, old.keyset, old.time, old.link),
        )
        db.execute("INSERT OR IGNORE INTO stand (old, new) VALUES (?, ?)", (old.entry, entry))
        db.execute("UPDATE submission SET copy = ? WHERE copy = ?", (entry, old.entry))
        self.touched[entry] = None

    def lies_in(self, entry: int, target: Target) -> None:
        """What is in a message was kept in this target's file: it had been in another, which is gone."""
        keyset = self.keyset(target)
        self.db.execute("UPDATE entry SET keyset = ? WHERE id = ?", (keyset, entry))
        self.db.execute("UPDATE shown SET keyset = ? WHERE id = ?", (keyset, entry))

    def has(self, entry: int) -> bool:
        """Whether a message is in."""
        return bool(self.db.execute("SELECT 1 FROM entry WHERE id = ?", (entry,)).fetchone())

    def _linked(self, new: Arrival) -> int:
        """The shown message that this entry belongs to; groups that it joins become one."""
        if new.link is None:
            return new.entry
        found = {
            row[0]
            for row in self.db.execute("SELECT shown, time FROM entry WHERE link = ?", (new.link,))
            if new.always or abs(row[1] - new.time) <= SAME
        }
        if not found:
            return new.entry
        first, *others = sorted(found)
        for other in others:
            self._merge(other, first)
        return int(first)

    def _merge(self, other: int, into: int) -> None:
        settling.clear(self, other)
        self.db.execute("UPDATE entry SET shown = ? WHERE shown = ? AND shown != id", (into, other))
        self.db.execute("UPDATE entry SET shown = ? WHERE id = ?", (into, other))
        self.db.execute("DELETE FROM shown WHERE id = ?", (other,))
        self.touched[into] = None

    def _resume(self, entry: int) -> None:
        """Apply the ops that came before the entry they name, in the order in which they came."""
        rows = self.db.execute(
            "SELECT w.op, w.n, o.data FROM waiting w JOIN op o ON o.id = w.op WHERE w.entry = ? ORDER BY w.arrival",
            (entry,),
        ).fetchall()
        for op, n, data in rows:
            applying.apply_to(self, entry, op, n, data)
            self.db.execute("DELETE FROM waiting WHERE entry = ? AND op = ? AND n = ?", (entry, op, n))
            if not self.db.execute("SELECT 1 FROM waiting WHERE op = ? LIMIT 1", (op,)).fetchone():
                self.db.execute("DELETE FROM op WHERE id = ?", (op,))

    def wait(self, entries: list[int], op: int, n: int, data: bytes) -> None:
        """Keep the n-th op of entry `op` for entries that are not known yet."""
        self.db.execute("INSERT OR IGNORE INTO op (id, data) VALUES (?, ?)", (op, data))
        self.db.executemany("INSERT INTO waiting (entry, op, n) VALUES (?, ?, ?)", ((at, op, n) for at in entries))
        self._some_wait = True

    def remembered(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` gives, made once in this transaction: one op may have waited for thousands of entries."""
        if key not in self._memory:
            if len(self._memory) > _REMEMBERED:
                self._memory.clear()
            self._memory[key] = make()
        found: _T = self._memory[key]
        return found

    def clock(self, seen: int = 0) -> int:
        """The hybrid logical clock; `seen` takes another's into account."""
        row = self.db.execute("SELECT value FROM meta WHERE key = 'clock'").fetchone()
        value = max(row[0] if row else 0, seen)
        self.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?)", (value,))
        return value

    def save(self) -> None:
        """What `load` reads back."""
        self.db.executemany(
            "UPDATE epoch SET used = ? WHERE origin = ? AND number = ?",
            ((bytes(used), *at) for at, used in self._used.items()),
        )
        self.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('modseq', ?)", (self.modseq,))
