"""The index's file of one keyset: what was in its messages, and the text index over it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from mesyx_core.mailbox.storage import Connection, Database

_SHORTEST: Final = 3
_TRIGRAMS: Final = 24
"""A longer text is looked up by so many of its trigrams; the exact check sees to the rest."""
_BATCH: Final = 256
_TOGETHER: Final = 4 << 20
"""Characters that are handed to the text index in one call."""


class Inside(NamedTuple):
    """What one message holds, as it is kept."""

    entry: int
    size: int
    sent: int | None
    """Ordinal of the day in the Date header."""
    envelope: bytes
    structure: bytes
    text: str
    """Decoded header, one field a line, and decoded text, folded."""
    head: bytes
    body: bytes
    """The same, as `pack` makes them."""


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

    def add(self, messages: Sequence[Inside]) -> None:
        """Keep messages, durably; those that are there are left as they are."""
        with self.database.write() as db:
            entries = json.dumps([message.entry for message in messages])
            sql = "SELECT m.id FROM json_each(?) j CROSS JOIN message m ON m.id = j.value"
            there = {row[0] for row in db.execute(sql, (entries,))}
            some: list[Inside] = []
            size = 0
            for message in messages:
                if message.entry not in there:
                    some.append(message)
                    size += len(message.text)
                if size > _TOGETHER:
                    _add(db, some)
                    some, size = [], 0
            _add(db, some)

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
        found: set[int] = set()
        for table in _indexes(db):
            sql = f"SELECT rowid FROM {table} WHERE {table} MATCH ?"  # noqa: S608 - our own tables
            found.update(row[0] for row in db.execute(sql, (query,)))
        return found

    def take_in(self, other: Contents, name: str) -> None:
        """Copy all that another file holds into this one, durably; harmless to repeat. Its text index is copied as it
        is, under a `name` of its own: it cannot be read back into texts."""
        with self.database.beside(other.database) as db:
            for table in ("message", "text"):
                db.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM other.{table}")  # noqa: S608 - our own tables
            for number, source in enumerate(_indexes(db, "other")):
                made = f"trigram_{name}_{number}"
                db.execute(f"DROP TABLE IF EXISTS main.{made}")
                sql = db.execute("SELECT sql FROM other.sqlite_schema WHERE name = ?", (source,)).fetchone()[0]
                db.execute(sql.replace(f"TABLE {source} ", f"TABLE {made} ", 1))
                for part in ("data", "idx", "config"):
                    db.execute(f"DELETE FROM main.{made}_{part}")  # noqa: S608 - our own tables
                    copy = f"INSERT INTO main.{made}_{part} SELECT * FROM other.{source}_{part}"  # noqa: S608 - as above
                    db.execute(copy)

    def holds(self) -> int:
        """How many messages are there."""
        with self.database.read() as db:
            return int(db.execute("SELECT count(*) FROM message").fetchone()[0])


def _indexes(db: Connection, schema: str = "main") -> list[str]:
    """The text indexes of a file: its own, and those of files that were folded into it."""
    sql = f"SELECT name FROM {schema}.sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE trigram%'"  # noqa: S608 - above
    return [row[0] for row in db.execute(sql)]


def _add(db: Connection, messages: Sequence[Inside]) -> None:
    # The text index in one long call without the interpreter lock, and first: meanwhile the next batch is being opened.
    texts = json.dumps([(message.entry, message.text) for message in messages])
    db.execute("INSERT INTO trigram (rowid, text) SELECT value ->> 0, value ->> 1 FROM json_each(?)", (texts,))
    db.executemany(
        "INSERT INTO message (id, size, sent, envelope, structure) VALUES (?, ?, ?, ?, ?)",
        [message[:5] for message in messages],
    )
    db.executemany(
        "INSERT INTO text (id, head, body) VALUES (?, ?, ?)",
        [(message.entry, message.head, message.body) for message in messages],
    )


def pack(text: str) -> bytes:
    """Folded text as it is kept."""
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def _unpack(data: bytes) -> str:
    return zlib.decompress(data).decode("utf-8", "surrogatepass")
