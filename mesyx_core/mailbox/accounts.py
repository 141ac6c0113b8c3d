"""A person's accounts on other networks, as the clients have noted them: which node holds which, never their secrets.

Any order in which notes come gives the same: of one account on one node the latest counts, and of two at the same
second the one whose entry comes last by its origin and number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from pydantic import JsonValue

from mesyx_core.mailbox.storage import Connection
from mesyx_core.record.outgoing import Account, AccountRemoved

if TYPE_CHECKING:
    from mesyx_core.mailbox.ledger import Change


class Noted(NamedTuple):
    """One account."""

    name: str
    node: bytes
    use: str
    via: str
    settings: Mapping[str, JsonValue]
    time: int


def tell(change: Change, entry: int, told: Account | AccountRemoved) -> None:
    """Note what an entry says, unless something later is noted already."""
    node, incarnation, seq = change.ledger.ref(entry)
    rank = b"%020d" % told.time + node + incarnation + seq.to_bytes(8, "big")
    use, via, settings = ("", "", {}) if isinstance(told, AccountRemoved) else (told.use, told.via, dict(told.settings))
    change.db.execute(
        """INSERT INTO account (name, node, rank, time, removed, use, via, settings) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (name, node) DO UPDATE SET rank = excluded.rank, time = excluded.time,
           removed = excluded.removed, use = excluded.use, via = excluded.via, settings = excluded.settings
           WHERE excluded.rank > rank""",
        (told.name, told.node, rank, told.time, isinstance(told, AccountRemoved), use, via, json.dumps(settings)),
    )


def listing(db: Connection) -> list[Noted]:
    """Those that there are, by name."""
    rows = db.execute("SELECT name, node, use, via, settings, time FROM account WHERE NOT removed ORDER BY name, node")
    return [Noted(name, bytes(node), use, via, json.loads(said), time) for name, node, use, via, said, time in rows]


def latest(db: Connection, name: str, node: bytes) -> int:
    """When something was last said of an account, also that it is removed; 0 when nothing was."""
    row = db.execute("SELECT time FROM account WHERE name = ? AND node = ?", (name, node)).fetchone()
    return int(row[0]) if row else 0
