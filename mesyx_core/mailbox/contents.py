"""The index's file of one keyset: what was in its messages, and the text index over it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from mesyx_core.mailbox.storage import Connection, Database

_SHORTEST: Final = 3
_TRIGRAMS: Final = 24
"""A longer text is looked up by so many of its trigrams; the exact check sees to the rest."""
_BATCH: Final = 256


class Inside(NamedTuple):
    """What one message holds, as it is kept."""

    entry: int
    size: int
    sent: int | None
    """Ordinal of the day in the Date header."""
    envelope: bytes
    structure: bytes
    head: str
    """Decoded header, one field a line, folded."""
    body: str
    """Decoded text, folded."""


class Outline(NamedTuple):
    """What a row shows of a message."""

    size: int
    envelope: bytes
    structure: bytes


def fold(text: str) -> str:
    """What comparisons are made on: case does not count. NUL would end a text for the index."""
    return text.casefold().replace("\x00", " ")


class Contents:
    """One open file."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, messages: Iterable[Inside]) -> None:
        """Keep messages, durably; those that are there are left as they are."""
        with self.database.write() as db:
            for message in messages:
                self._add(db, message)

    def _add(self, db: Connection, message: Inside) -> None:
        if db.execute("SELECT 1 FROM message WHERE id = ?", message[:1]).fetchone():
            return
        db.execute("INSERT INTO message (id, size, sent, envelope, structure) VALUES (?, ?, ?, ?, ?)", message[:5])
        db.execute(
            "INSERT INTO text (id, head, body) VALUES (?, ?, ?)",
            (message.entry, _pack(message.head), _pack(message.body)),
        )
        db.execute(
            "INSERT INTO trigram (rowid, text) VALUES (?, ?)", (message.entry, f"{message.head}\n{message.body}")
        )

    def outlines(self, entries: Sequence[int]) -> dict[int, Outline]:
        """Size, envelope and structure of those entries that are there."""
        with self.database.read() as db:
            rows = db.execute(
                "SELECT m.id, m.size, m.envelope, m.structure "
                "FROM json_each(?) j CROSS JOIN message m ON m.id = j.value",
                (json.dumps(entries),),
            )
            return {row[0]: Outline(*row[1:]) for row in rows}

    def sizes(self, entries: Collection[int]) -> Iterator[tuple[int, int]]:
        """(entry, octets)."""
        return self._numbers("SELECT id, size FROM message", entries)

    def days(self, entries: Collection[int]) -> Iterator[tuple[int, int]]:
        """(entry, ordinal of the day in its Date header); those without are left out."""
        return self._numbers("SELECT id, sent FROM message WHERE sent IS NOT NULL", entries)

    def _numbers(self, sql: str, entries: Collection[int]) -> Iterator[tuple[int, int]]:
        with self.database.read() as db:
            return iter([(entry, number) for entry, number in db.execute(sql) if entry in entries])

    def matching(self, entries: Collection[int], needle: str, check: Callable[[str, str], bool]) -> set[int]:
        """Those of the entries whose text may hold `needle`, folded already, and that `check(head, body)` confirms."""
        with self.database.read() as db:
            candidates = self._candidates(db, needle)
            wanted = sorted(entries if candidates is None else candidates.intersection(entries))
            found: set[int] = set()
            for at in range(0, len(wanted), _BATCH):
                rows = db.execute(
                    "SELECT t.id, t.head, t.body FROM json_each(?) j CROSS JOIN text t ON t.id = j.value",
                    (json.dumps(wanted[at : at + _BATCH]),),
                )
                found.update(entry for entry, head, body in rows if check(_unpack(head), _unpack(body)))
            return found

    def _candidates(self, db: Connection, needle: str) -> set[int] | None:
        trigrams = sorted({needle[at : at + _SHORTEST] for at in range(len(needle) - _SHORTEST + 1)})
        if not trigrams:
            return None
        step = -(-len(trigrams) // _TRIGRAMS)
        query = " AND ".join('"' + one.replace('"', '""') + '"' for one in trigrams[::step])
        return {row[0] for row in db.execute("SELECT rowid FROM trigram WHERE trigram MATCH ?", (query,))}

    def holds(self) -> int:
        """How many messages are there."""
        with self.database.read() as db:
            return int(db.execute("SELECT count(*) FROM message").fetchone()[0])


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def _unpack(data: bytes) -> str:
    return zlib.decompress(data).decode("utf-8", "surrogatepass")
