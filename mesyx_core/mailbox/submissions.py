"""What goes out, as the logs tell of it: any order in which entries come gives the same state.

A submission is what its copy says (to whom), its notes (who was asked, and when: the latest counts) and what the
gateways asked have said. "Sent" stands whoever of them said it; of everything else only what the gateway asked last
says counts, for what was not sent was asked of it anew. What others say of a submission that they were never asked to
send counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from mesyx_core.api import Message
from mesyx_core.mailbox.model import SEQ
from mesyx_core.mailbox.storage import Connection
from mesyx_core.record import outgoing
from mesyx_core.record.outgoing import DROPPED, Day, Intent, Receipt, Recipients, Submission

if TYPE_CHECKING:
    from mesyx_core.mailbox.ledger import Change, Ledger

ENDED: Final = frozenset(("sent", "never", "dropped"))


class Copy(NamedTuple):
    """What the index keeps of the sender's own copy."""

    id: bytes
    digest: bytes | None
    """Equal for the same bytes below the trace from the same log-in to the same recipients; None for what is sent once
    more on purpose."""
    time: int
    network: str
    sender: str
    recipients: tuple[str, ...]


class Addressee(NamedTuple):
    """One recipient, and what is known of its fate."""

    number: int
    address: str
    word: str = "waits"
    """"waits" for a gateway, "asked" of one, "later" (tried, and tried again), "again" (to be sealed again), "sent",
    "never" or "dropped"."""
    reason: str = ""
    remote: str = ""
    attempts: int = 0
    next: int | None = None
    heard: int = 0
    """When the gateway said so."""
    maybe: bool = False
    """An attempt was begun of which nothing more is known: it may have been sent."""


class Submitted(NamedTuple):
    """A submission as it stands."""

    id: bytes
    copy: int
    """The entry of the sender's copy; 0 when that is not opened here."""
    network: str
    sender: str
    time: int
    """When it was submitted."""
    gateway: bytes
    """Asked last, or to be asked; empty while there is none."""
    day: bytes
    """Its recipient of the day that the request is sealed to; empty while it waits."""
    deadline: int
    asked: int
    """When that gateway was asked."""
    maker: bytes
    """The client that asked it."""
    dropping: bool
    """Its person does not want it sent any more."""
    latest: int
    """Time of the latest note: the next one's is later."""
    requests: frozenset[tuple[bytes, bytes]]
    """(gateway, day) of every request to send that was sealed."""
    addressees: tuple[Addressee, ...]

    @property
    def left(self) -> tuple[Addressee, ...]:
        """Of whom it is not known that it ended."""
        return tuple(one for one in self.addressees if one.word not in ENDED)

    @property
    def state(self) -> str:
        """One word for all: "waits", "asked", "later", "again", "dropping", "sent", "failed" or "dropped"."""
        words = {one.word for one in self.addressees}
        if not words:
            return "asked" if self.day else "dropped" if self.dropping else "waits"
        if words <= ENDED:
            return "sent" if words == {"sent"} else "failed" if "never" in words else "dropped"
        if self.dropping:
            return "dropping"
        return next(word for word in ("again", "waits", "later", "asked") if word in words)

    @property
    def over(self) -> bool:
        """Nothing more is to come."""
        return self.state in ("sent", "failed", "dropped")


def about(login: str, sender: str, recipients: Iterable[str]) -> bytes:
    """What makes the same body another submission."""
    return hashlib.sha256(json.dumps([login, sender, list(recipients)]).encode()).digest()


def trace_of(message: Message, size: int) -> int:
    """How many of its `size` bytes are trace headers of this node: of a time, and no part of what somebody wrote."""
    trace = message.envelope.get("trace")
    return trace if type(trace) is int and 0 < trace <= size else 0


async def digest(begin: bytes, body: AsyncIterable[bytes]) -> bytes:
    """Equal for the same body and the same `about`."""
    found = hashlib.sha256(begin)
    async for chunk in body:
        found.update(chunk)
    return found.digest()


# --- writing -------------------------------------------------------------------------------------------------------


def file(change: Change, entry: int, copy: Copy) -> None:
    """The sender's copy of a submission is in the index."""
    _known(change, copy.id)
    if _copied(change, copy.id):
        return
    change.db.execute(
        "UPDATE submission SET copy = ?, digest = ?, time = ?, network = ?, sender = ? WHERE id = ?",
        (entry, copy.digest, copy.time, copy.network, copy.sender, copy.id),
    )
    # Who it is for the sender says, and no gateway: what those have said of others before is forgotten.
    change.db.execute("DELETE FROM addressee WHERE submission = ?", (copy.id,))
    _name(change, copy.id, enumerate(copy.recipients))


def tell(change: Change, entry: int, value: object, day: bytes) -> None:
    """A note of a client, or a word of a gateway; `day` is the recipient of the day that it is sealed to as well."""
    node = change.ledger.ref(entry)[0]
    if isinstance(value, Submission):
        _known(change, value.id)
        change.db.execute(
            "INSERT OR IGNORE INTO note (submission, entry, action, gateway, day, deadline, time) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (value.id, entry, *value[1:]),
        )
    elif isinstance(value, Receipt):
        _receipt(change, entry, value, day)
    elif isinstance(value, Intent):
        _intent(change, entry, value)
    elif isinstance(value, Recipients):
        _recipients(change, node, value)


def _known(change: Change, id: bytes) -> None:
    change.db.execute("INSERT OR IGNORE INTO submission (id) VALUES (?)", (id,))
    change.posted.add(id)


def _copied(change: Change, id: bytes) -> bool:
    """Whether the sender's copy is in the index."""
    return change.db.execute("SELECT 1 FROM submission WHERE id = ? AND copy != 0", (id,)).fetchone() is not None


def _name(change: Change, id: bytes, numbered: Iterable[tuple[int, str]]) -> None:
    change.db.executemany(
        "INSERT OR IGNORE INTO addressee (submission, number, address) VALUES (?, ?, ?)",
        ((id, number, address) for number, address in numbered),
    )


def _receipt(change: Change, entry: int, receipt: Receipt, day: bytes) -> None:
    gateway = change.ledger.ref(entry)[0]
    _known(change, receipt.id)
    if not _copied(change, receipt.id):
        _name(change, receipt.id, ((fate.number, fate.address) for fate in receipt.fates))
    change.db.executemany(
        """INSERT INTO fate (submission, gateway, number, day, word, reason, remote, attempts, next, time,
           entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET day = excluded.day, word = excluded.word, reason = excluded.reason,
           remote = excluded.remote, attempts = excluded.attempts, next = excluded.next, time = excluded.time,
           entry = excluded.entry
           WHERE word != 'sent' AND (excluded.word = 'sent' OR
           (excluded.time, excluded.attempts, excluded.word != 'later', excluded.word, excluded.day) >
           (time, attempts, word != 'later', word, day))""",
        ((receipt.id, gateway, fate.number, day, *fate[2:], receipt.time, entry) for fate in receipt.fates),
    )


def _intent(change: Change, entry: int, intent: Intent) -> None:
    gateway = change.ledger.ref(entry)[0]
    _known(change, intent.id)
    change.db.executemany(
        """INSERT INTO intent (submission, gateway, number, attempt, time, entry) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET attempt = excluded.attempt, time = excluded.time, entry = excluded.entry
           WHERE (excluded.time, excluded.attempt) > (time, attempt)""",
        ((intent.id, gateway, number, intent.attempt, intent.time, entry) for number in intent.numbers),
    )


def _recipients(change: Change, gateway: bytes, value: Recipients) -> None:
    """A gateway's newest word on its days stands for all before it."""
    db = change.db
    known = db.execute("SELECT time FROM gateway WHERE node = ?", (gateway,)).fetchone()
    if known is not None and known[0] > value.time:
        return
    db.execute(
        "INSERT OR REPLACE INTO gateway (node, time, networks) VALUES (?, ?, ?)",
        (gateway, value.time, "\n".join(value.networks)),
    )
    db.execute("DELETE FROM day WHERE node = ?", (gateway,))
    db.executemany(
        "INSERT OR IGNORE INTO day (node, id, recipient, since, until) VALUES (?, ?, ?, ?, ?)",
        ((gateway, *day) for day in value.days),
    )
    change.published = True


def settle(change: Change) -> None:
    """What follows for the submissions that this transaction told of."""
    for id in change.posted:
        found = read(change.ledger, change.db, id)
        if found is not None:
            ended = max([one.heard for one in found.addressees] + [found.latest]) if found.over else None
            change.db.execute("UPDATE submission SET state = ?, ended = ? WHERE id = ?", (found.state, ended, id))


# --- reading -------------------------------------------------------------------------------------------------------


class _Note(NamedTuple):
    order: tuple[int, tuple[bytes, bytes, int]]
    """By time, then by place: the same on every node."""
    action: str
    gateway: bytes
    day: bytes
    deadline: int


def read(ledger: Ledger, db: Connection, id: bytes) -> Submitted | None:
    """A submission; None when none of that id is known, or no client has said what was asked of whom."""
    row = db.execute("SELECT copy, network, sender FROM submission WHERE id = ?", (id,)).fetchone()
    sql = "SELECT time, entry, action, gateway, day, deadline FROM note WHERE submission = ?"
    notes = sorted(_Note((time, ledger.ref(entry)), *rest) for time, entry, *rest in db.execute(sql, (id,)))
    sends = [note for note in notes if note.action == "send"]
    if row is None or not sends:
        return None
    current = sends[-1]
    dropping = any(note.action == "drop" and note.order > current.order for note in notes)
    requests = frozenset((note.gateway, note.day) for note in sends if note.day)
    return Submitted(
        id=id,
        copy=row[0],
        network=row[1],
        sender=row[2],
        time=sends[0].order[0],
        gateway=current.gateway,
        day=current.day,
        deadline=max(note.deadline for note in notes),
        asked=current.order[0],
        maker=current.order[1][0],
        dropping=dropping,
        latest=notes[-1].order[0],
        requests=requests,
        addressees=_addressees(db, id, {gateway for gateway, _ in requests}, current, dropping),
    )


class _Said(NamedTuple):
    """What one gateway said last of one recipient."""

    gateway: bytes
    day: bytes
    entry: int
    fate: Addressee


class _Begun(NamedTuple):
    """The last attempt that one gateway began for one recipient."""

    gateway: bytes
    entry: int
    time: int

    def after(self, said: _Said) -> bool:
        """Whether it began after that was said."""
        if self.entry >> SEQ == said.entry >> SEQ:
            return self.entry > said.entry
        return self.time > said.fate.heard


def _addressees(
    db: Connection, id: bytes, gateways: set[bytes], current: _Note, dropping: bool
) -> tuple[Addressee, ...]:
    said: dict[int, list[_Said]] = {}
    sql = (
        "SELECT gateway, day, entry, number, word, reason, remote, attempts, next, time FROM fate WHERE submission = ?"
    )
    for gateway, day, entry, number, *rest in db.execute(sql, (id,)):
        if gateway in gateways:
            said.setdefault(number, []).append(_Said(gateway, day, entry, Addressee(number, "", *rest)))
    begun: dict[int, list[_Begun]] = {}
    sql = "SELECT gateway, entry, time, number FROM intent WHERE submission = ?"
    for gateway, entry, time, number in db.execute(sql, (id,)):
        if gateway in gateways:
            begun.setdefault(number, []).append(_Begun(gateway, entry, time))
    rows = db.execute("SELECT number, address FROM addressee WHERE submission = ? ORDER BY number", (id,))
    found = (
        _addressee(Addressee(number, address), said.get(number, []), current, dropping)._replace(
            maybe=_maybe(begun.get(number, []), said.get(number, []))
        )
        for number, address in rows
    )
    return tuple(one._replace(maybe=False) if one.word == "sent" else one for one in found)


def _maybe(begun: Iterable[_Begun], said: Iterable[_Said]) -> bool:
    known = {one.gateway: one for one in said}
    return any(one.gateway not in known or one.after(known[one.gateway]) for one in begun)


def _addressee(blank: Addressee, said: list[_Said], current: _Note, dropping: bool) -> Addressee:
    sent = [one.fate for one in said if one.fate.word == "sent"]
    if sent:
        return min(sent, key=lambda fate: fate.heard)._replace(address=blank.address)
    if not current.day:
        return blank._replace(word="dropped" if dropping else "waits")
    for _, day, _, fate in (one for one in said if one.gateway == current.gateway):
        if fate.word != "again" or day == current.day:
            word = "dropped" if (fate.word, fate.reason) == ("never", DROPPED) else fate.word
            return fate._replace(address=blank.address, word=word)
    return blank._replace(word="asked")


def unfinished(ledger: Ledger, db: Connection, ended_since: int | None = None) -> list[Submitted]:
    """All submissions of which something is still to come, oldest first; with `ended_since` also what ended then or
    later."""
    found = [row[0] for row in db.execute("SELECT id FROM submission WHERE ended IS NULL")]
    if ended_since is not None:
        found += [row[0] for row in db.execute("SELECT id FROM submission WHERE ended >= ?", (ended_since,))]
    read_all = (read(ledger, db, id) for id in found)
    return sorted((one for one in read_all if one is not None), key=lambda one: (one.time, one.id))


def beginning(ledger: Ledger, db: Connection, digits: str) -> list[Submitted]:
    """Those whose id begins with these hex digits, the first hundred."""
    sql = "SELECT id FROM submission WHERE substr(lower(hex(id)), 1, ?) = ? LIMIT 100"
    found = [read(ledger, db, row[0]) for row in db.execute(sql, (len(digits), digits)).fetchall()]
    return [one for one in found if one is not None]


class Gateway(NamedTuple):
    """A node that has published recipients of the day."""

    node: bytes
    time: int
    """When it last did."""
    networks: frozenset[str]
    days: tuple[Day, ...]


def gateways(db: Connection) -> dict[bytes, Gateway]:
    """Each gateway's newest word on its days."""
    days: dict[bytes, list[Day]] = {}
    for node, *day in db.execute("SELECT node, id, recipient, since, until FROM day"):
        days.setdefault(node, []).append(outgoing.Day(*day))
    return {
        node: Gateway(node, time, frozenset(networks.split("\n")), tuple(sorted(days.get(node, ()), key=_until)))
        for node, time, networks in db.execute("SELECT node, time, networks FROM gateway")
    }


def _until(day: Day) -> int:
    return day.until


def same(db: Connection, digest: bytes, since: int) -> bytes | None:
    """The submission of exactly this that was made since a time, if any."""
    row = db.execute("SELECT id FROM submission WHERE digest = ? AND time >= ?", (digest, since)).fetchone()
    return bytes(row[0]) if row else None
