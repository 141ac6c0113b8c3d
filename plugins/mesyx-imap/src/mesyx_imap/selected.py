"""The selected mailbox as the client knows it: message numbers, and what it has still to be told."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from mesyx_core.api import Changed, Mailbox, Uids
from mesyx_imap import format, ranges
from mesyx_imap.errors import Bad
from mesyx_imap.parser import SYSTEM
from mesyx_imap.recent import Marks


class Selected:
    """A snapshot of one mailbox, moved on only when the protocol allows the client to be told."""

    def __init__(self, mailbox: Mailbox, uids: Sequence[int], modseq: int, read_only: bool, marks: Marks) -> None:
        self.mailbox = mailbox
        self.id = mailbox.id
        self.uids = array("Q", uids)
        self.modseq = modseq
        """Everything up to it is in here or waits to be told."""
        self.read_only = read_only
        self._marks = marks
        self.recent = marks.claim(mailbox, uids, keep=not read_only)
        self.keywords = set(mailbox.keywords)
        self._added: list[int] = []
        self._removed: set[int] = set()
        self._flags: dict[int, frozenset[str]] = {}
        self._told: dict[int, frozenset[str]] = {}
        self._told_at = 0

    # --- numbers ---

    def sequence(self, uid: int) -> int:
        """Its message number, or 0 when the client does not know it."""
        at = bisect_left(self.uids, uid)
        return at + 1 if at < len(self.uids) and self.uids[at] == uid else 0

    def within(self, uids: Uids) -> Iterator[int]:
        """The UIDs that the client knows in these ranges."""
        for low, high in uids:
            yield from self.uids[bisect_left(self.uids, low) : bisect_right(self.uids, high)]

    def by_uid(self, asked: ranges.Set) -> list[tuple[int, int]]:
        """UID ranges, without those above what the client knows of."""
        top = self.uids[-1] if self.uids else 0
        found = ranges.resolve(asked, top) if top else []
        return [(low, min(high, top)) for low, high in found if low <= top]

    def by_sequence(self, asked: ranges.Set, lenient: bool = False) -> list[tuple[int, int]]:
        """The same for message numbers. Raises Bad when one is out of range, unless `lenient`."""
        count = len(self.uids)
        if not count and all(ranges.STAR in pair for pair in asked):
            return []
        found = ranges.resolve(asked, count)
        if lenient:
            found = [(low, min(high, count)) for low, high in found if 1 <= low <= count]
        elif found[-1][1] > count or found[0][0] < 1:
            raise Bad(b"No such message")
        return [(self.uids[low - 1], self.uids[high - 1]) for low, high in found]

    def numbers(self, asked: ranges.Set, by_uid: bool) -> list[tuple[int, int]]:
        """UID ranges of a command's set."""
        return self.by_uid(asked) if by_uid else self.by_sequence(asked)

    # --- what changes ---

    def notice(self, changed: Changed) -> None:
        """Keep what is new until `tell`."""
        if changed.mailbox != self.id or changed.modseq < self.modseq:
            return
        self.modseq = changed.modseq
        known = max(self._added[-1] if self._added else 0, self.uids[-1] if self.uids else 0)
        self._added += sorted(uid for uid in set(changed.added) if uid > known)
        self._removed.update(changed.removed)
        for uid, flags in changed.flags.items():
            if self._told.pop(uid, None) != flags:
                self._flags[uid] = flags
        if self.modseq >= self._told_at:
            self._told.clear()

    def told(self, flags: dict[int, frozenset[str]], modseq: int) -> None:
        """The client knows these flags: its own STORE set them, at `modseq`."""
        for uid in flags:
            self._flags.pop(uid, None)
        if modseq > self.modseq:
            self._told.update(flags)
            self._told_at = max(self._told_at, modseq)

    def remove(self, uids: Iterable[int]) -> None:
        """They are gone by the client's own doing; `tell` says so."""
        self._removed.update(uids)

    def tell(self, expunge: bool) -> Iterator[bytes]:
        """Untagged responses for all that waits; EXPUNGE only where it is allowed."""
        if expunge and self._removed:
            yield from self._expunge()
        if self._added:
            yield from self._exists()
        if self._flags:
            yield from self._fetches()

    def _expunge(self) -> Iterator[bytes]:
        gone, self._removed = self._removed, set()
        self._added = [uid for uid in self._added if uid not in gone]
        self.recent -= gone
        for uid in sorted(gone, reverse=True):  # from the end, so that no number before it moves
            number = self.sequence(uid)
            if number:
                del self.uids[number - 1]
                yield b"* %d EXPUNGE\r\n" % number

    def _exists(self) -> Iterator[bytes]:
        self.uids.extend(self._added)
        self.recent |= self._marks.claim(self.mailbox, self._added, keep=not self.read_only)
        self._added = []
        yield b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(self.uids), len(self.recent))

    def _fetches(self) -> Iterator[bytes]:
        waiting, self._flags = self._flags, {}
        yield from self.learn(frozenset().union(*waiting.values()))
        for uid in sorted(waiting):
            number = self.sequence(uid)
            if number and uid not in self._removed:
                shown = format.flags(waiting[uid], uid in self.recent)
                yield b"* %d FETCH (UID %d FLAGS %b)\r\n" % (number, uid, shown)

    def learn(self, flags: frozenset[str]) -> Iterator[bytes]:
        """A new FLAGS response when there are keywords that the client has not been told of."""
        fresh = {flag for flag in flags if flag[0] != "\\"} - self.keywords
        if fresh:
            self.keywords |= fresh
            yield self.flags_line()

    def flags_line(self) -> bytes:
        return b"* FLAGS (%b)\r\n" % " ".join([*SYSTEM.values(), *sorted(self.keywords)]).encode("ascii", "replace")
