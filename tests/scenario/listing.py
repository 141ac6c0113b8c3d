"""What a client's IMAP shows: all of it, in a form that can be compared; and whether its files are sound."""

from __future__ import annotations

import imaplib
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import sqlcipher3.dbapi2 as sqlcipher

from mesyx_core.node.keyring import Keyring
from mesyx_core.vault import age
from tests.scenario.cluster import PASSPHRASE, Node, Pair

CHUNK = 500
_SHOWN = re.compile(rb"\d+ \(UID (\d+) FLAGS \(([^)]*)\)")


class Mailbox(NamedTuple):
    """A mailbox as it is shown."""

    uidvalidity: int
    messages: dict[int, tuple[frozenset[str], bytes]]
    """UID to flags (but for \\Recent) and Message-ID field."""

    def flags(self, id: str) -> frozenset[str]:
        """Of the one message whose Message-ID contains this text."""
        (found,) = (flags for flags, field in self.messages.values() if id.encode() in field)
        return found

    def __contains__(self, id: object) -> bool:
        return any(str(id).encode() in field for _, field in self.messages.values())


@contextmanager
def imap(pair: Pair) -> Iterator[imaplib.IMAP4]:
    """A connection that is logged in."""
    client = imaplib.IMAP4("127.0.0.1", pair.imap, timeout=100)
    try:
        client.login(pair.user, pair.password)
        yield client
    finally:
        with suppress(imaplib.IMAP4.error, OSError):  # the server may have been killed
            client.logout()


def exists(pair: Pair, mailbox: str = "INBOX") -> int:
    """Messages in a mailbox."""
    with imap(pair) as client:
        return int(client.select(mailbox, readonly=True)[1][0] or b"0")


def shown(pair: Pair) -> dict[str, Mailbox]:
    """All mailboxes with something in them."""
    found = {}
    with imap(pair) as client:
        names = [shlex.split(line.decode())[-1] for line in client.list()[1] if isinstance(line, bytes)]
        for name in names:
            if client.select(f'"{name}"', readonly=True)[1] != [b"0"]:
                answer = client.response("UIDVALIDITY")[1][0]
                assert isinstance(answer, bytes)
                found[name] = Mailbox(int(answer), dict(_messages(client)))
    return found


def _messages(client: imaplib.IMAP4) -> Iterator[tuple[int, tuple[frozenset[str], bytes]]]:
    for answer in client.fetch("1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]:
        if isinstance(answer, tuple):
            match = _SHOWN.match(answer[0])
            assert match, answer[0]
            yield int(match[1]), (frozenset(match[2].decode().split()) - {"\\Recent"}, answer[1].strip())


def bodies(pair: Pair, mailbox: str = "INBOX") -> Iterator[bytes]:
    """Every message of a mailbox."""
    with imap(pair) as client:
        count = int(client.select(mailbox, readonly=True)[1][0] or b"0")
        for first in range(1, count + 1, CHUNK):
            for answer in client.fetch(f"{first}:{min(count, first + CHUNK - 1)}", "(BODY.PEEK[])")[1]:
                if isinstance(answer, tuple):
                    yield answer[1]


def sound(node: Node) -> None:
    """Every database of a node that is stopped passes the checks of SQLite and SQLCipher."""
    state = node.folder / "state"
    with closing(sqlite3.connect(state / "journal" / "journal.db")) as journal:
        assert journal.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for sealed in state.glob("mailbox/*/*.key"):
        with index(node, sealed) as database:
            assert database.execute("PRAGMA cipher_integrity_check").fetchall() == []
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextmanager
def index(node: Node, sealed: Path) -> Iterator[Any]:
    """The database of a client's index whose key lies in this file; of a node that is stopped."""
    (file,) = (node.folder / "state" / "keys").glob("*.age")
    identities = Keyring(node.folder / "state" / "keys").open(bytes.fromhex(file.stem), PASSPHRASE).keys()
    database: Any = sqlcipher.connect(str(sealed.with_suffix(".db")))
    with closing(database):
        database.execute(f"PRAGMA key = \"x'{age.decrypt(sealed.read_bytes(), identities).hex()}'\"")
        yield database
