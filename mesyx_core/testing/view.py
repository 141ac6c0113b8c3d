"""An account view in memory, with the real one's semantics: the reference for what `api.view` promises."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from pydantic import JsonValue

from mesyx_core import mime
from mesyx_core.api import (
    Body,
    Bytes,
    Change,
    Changed,
    Create,
    Delete,
    Done,
    Event,
    Field,
    File,
    Flag,
    Mailbox,
    Message,
    Query,
    Refused,
    Remove,
    Rename,
    Row,
    Subscribe,
    Uids,
)
from mesyx_core.testing.query import matches
from mesyx_core.wire import addresses

_BATCH = 64
_EVENTS = 256
_USES = {use: use for use in ("Sent", "Drafts", "Trash", "Junk", "Archive")}


@dataclass(slots=True)
class Mail:
    """One message. Its flags are shared by all mailboxes that it is in, \\Deleted excepted."""

    id: bytes
    data: bytes
    time: datetime
    summary: mime.Summary
    flags: set[str]


@dataclass(slots=True)
class Filed:
    """A message in a mailbox."""

    mail: Mail
    added: int
    modseq: int
    deleted: bool = False

    @property
    def flags(self) -> frozenset[str]:
        return frozenset(self.mail.flags | {"\\Deleted"} if self.deleted else self.mail.flags)


@dataclass(slots=True)
class Box:
    """A mailbox: what it holds by UID, and what went out of it."""

    id: bytes
    name: str
    use: str = ""
    uidnext: int = 1
    modseq: int = 1
    rows: dict[int, Filed] = field(default_factory=dict)
    removed: list[tuple[int, int]] = field(default_factory=list)


class MemoryView:
    """Implements `api.View`. Any number of sessions may share one."""

    def __init__(
        self,
        store: str = "alice",
        *,
        clock: datetime = datetime(2026, 11, 22, tzinfo=UTC),
        identities: Sequence[str] = ("alice@example.org",),
    ) -> None:
        self._store = store
        self._identities = sorted(map(addresses.normal, identities))
        self._clock = clock
        self._modseq = 1
        self._made = 0
        self._boxes: dict[bytes, Box] = {}
        self._subscribed: set[str] = set()
        self._news = anyio.Event()
        self._same: set[bytes] = set()
        self.submitted: list[Message] = []
        """What was to be sent, whole: Bcc included."""
        self.fails: Exception | None = None
        """What `submit` raises, if anything: to see how an access says it."""
        self.asked: dict[str, Mapping[str, Sequence[JsonValue]]] = {}
        """By account, what its gateway answers to requests."""
        self._listening: set[MemoryObjectSendStream[Event]] = set()
        for name in ("INBOX", *_USES):
            self._create(name)

    @property
    def store(self) -> str:
        return self._store

    @property
    def owner(self) -> bytes:
        return hashlib.sha256(self._store.encode()).digest()

    @property
    def identities(self) -> Sequence[str]:
        return self._identities

    # --- reading ---

    async def mailboxes(self, names: Sequence[str] | None = None) -> Sequence[Mailbox]:
        boxes = [box for box in self._boxes.values() if names is None or box.name in names]
        return [self._show(box) for box in sorted(boxes, key=lambda box: (box.name != "INBOX", box.name))]

    def _show(self, box: Box) -> Mailbox:
        flags = frozenset[str]().union(*(row.flags for row in box.rows.values()))
        return Mailbox(
            id=box.id,
            name=box.name,
            use=box.use,
            subscribed=box.name in self._subscribed,
            uidnext=box.uidnext,
            exists=len(box.rows),
            unseen=sum("\\Seen" not in row.mail.flags for row in box.rows.values()),
            modseq=box.modseq,
            keywords=sorted(flag for flag in flags if flag[0] != "\\"),
        )

    async def subscriptions(self) -> Sequence[str]:
        return sorted(self._subscribed)

    async def uids(self, mailbox: bytes) -> tuple[Sequence[int], int]:
        box = self._box(mailbox)
        return list(box.rows), self._modseq

    async def rows(self, mailbox: bytes, uids: Uids, fields: frozenset[Field]) -> AsyncIterator[Sequence[Row]]:
        for batch in _batches(_within(self._box(mailbox).rows, uids)):
            yield [_row(uid, filed, fields) for uid, filed in batch]

    async def content(self, mailbox: bytes, uids: Uids) -> AsyncIterator[Sequence[tuple[int, Body]]]:
        for batch in _batches(_within(self._box(mailbox).rows, uids)):
            yield [(uid, Bytes(filed.mail.data)) for uid, filed in batch]

    async def search(self, mailbox: bytes, query: Query) -> Sequence[int]:
        rows = self._box(mailbox).rows
        return [uid for uid, row in rows.items() if matches(query, uid, row.flags, row.mail, row.modseq)]

    # --- changing ---

    async def change(self, changes: Sequence[Change], unchanged_since: int | None = None) -> Done:
        filed: list[tuple[int, int]] = []
        unchanged: list[int] = []
        self._modseq += 1
        for change in changes:
            match change:
                case Flag():
                    unchanged += self._flag(change, unchanged_since)
                case File():
                    filed += self._file(change)
                case Remove(mailbox=mailbox, uids=uids):
                    self._remove(self._box(mailbox), [uid for uid, _ in _within(self._box(mailbox).rows, uids)])
                case Create(name=name):
                    self._create(name)
                case Rename(mailbox=mailbox, name=name):
                    self._rename(self._box(mailbox), name)
                case Delete(mailbox=mailbox):
                    del self._boxes[self._changeable(mailbox).id]
                case Subscribe(name=name, on=on):
                    (self._subscribed.add if on else self._subscribed.discard)(name)
        self._wake()
        return Done(modseq=self._modseq, filed=filed, unchanged=unchanged)

    def _flag(self, change: Flag, unchanged_since: int | None) -> list[int]:
        unchanged: list[int] = []
        touched: set[bytes] = set()
        for uid, row in _within(self._box(change.mailbox).rows, change.uids):
            if unchanged_since is not None and row.modseq > unchanged_since:
                unchanged.append(uid)
                continue
            row.deleted = (row.deleted or "\\Deleted" in change.add) and "\\Deleted" not in change.remove
            row.mail.flags = (row.mail.flags | change.add) - change.remove - {"\\Deleted"}
            touched.add(row.mail.id)
        self._touch(touched)
        return unchanged

    def _touch(self, mails: Collection[bytes]) -> None:
        for box in self._boxes.values():
            for row in box.rows.values():
                if row.mail.id in mails:
                    row.modseq = box.modseq = self._modseq

    def _file(self, change: File) -> list[tuple[int, int]]:
        source, target = self._box(change.mailbox), self._box(change.to)
        found = _within(source.rows, change.uids)
        filed = [(uid, self._put(target, row.mail)) for uid, row in found]
        if change.move:
            self._remove(source, [uid for uid, _ in found])
        return filed

    def _put(self, box: Box, mail: Mail) -> int:
        uid = box.uidnext
        box.uidnext += 1
        box.modseq = self._modseq
        box.rows[uid] = Filed(mail, self._modseq, self._modseq)
        return uid

    def _remove(self, box: Box, uids: Sequence[int]) -> None:
        for uid in uids:
            del box.rows[uid]
            box.removed.append((self._modseq, uid))
            box.modseq = self._modseq

    def _create(self, name: str) -> Box:
        self._absent(name)
        self._made += 1
        box = Box(hashlib.sha256(b"box %d" % self._made).digest(), name, _USES.get(name, ""))
        self._boxes[box.id] = box
        self._subscribed.add(name)
        return box

    def _rename(self, box: Box, name: str) -> None:
        self._absent(name)
        if box.name == "INBOX":
            made = self._create(name)
            self._file(File(mailbox=box.id, uids=((1, box.uidnext),), to=made.id, move=True))
            return
        old = self._changeable(box.id).name
        for each in self._boxes.values():
            if each.name == old or each.name.startswith(f"{old}/"):
                each.name = name + each.name[len(old) :]

    def _absent(self, name: str) -> None:
        if any(box.name == name for box in self._boxes.values()):
            raise Refused("there is a mailbox of that name")

    def _box(self, mailbox: bytes) -> Box:
        if mailbox not in self._boxes:
            raise Refused("there is no such mailbox")
        return self._boxes[mailbox]

    def _changeable(self, mailbox: bytes) -> Box:
        box = self._box(mailbox)
        if box.use or box.name == "INBOX":
            raise Refused("this mailbox stays")
        return box

    async def append(self, mailbox: bytes, message: Message) -> int:
        data = b"".join([chunk async for chunk in message.body.read()])
        return self.add(data, mailbox=self._box(mailbox).name, flags=message.flags, time=message.time)

    def add(
        self,
        data: bytes,
        *,
        mailbox: str = "INBOX",
        flags: Collection[str] = (),
        time: datetime | None = None,
    ) -> int:
        """A message that came in, with CRLF line ends; its UID."""
        box = next(box for box in self._boxes.values() if box.name == mailbox)
        summary = mime.summary(data)
        if box.use == "Sent" and summary.message_id:
            for uid, row in box.rows.items():
                if row.mail.summary.message_id == summary.message_id:
                    return uid
        self._modseq += 1
        self._made += 1
        id_ = hashlib.sha256(b"mail %d" % self._made).digest()
        mail = Mail(id_, data, time or self._clock, summary, set(flags) - {"\\Deleted"})
        uid = self._put(box, mail)
        box.rows[uid].deleted = "\\Deleted" in flags
        self._wake()
        return uid

    async def submit(self, message: Message, by: str | None = None) -> bytes:
        if self.fails is not None:
            raise self.fails
        data = b"".join([chunk async for chunk in message.body.read()])
        if message.kind == "mail":
            self._check_sender(message, data)
        if not message.recipients:
            raise Refused("a message to nobody", "name at least one recipient")
        same = hashlib.sha256(repr((message.sender, message.recipients)).encode() + data).digest()[:16]
        if same not in self._same:
            self.submitted.append(message)
            self._same.add(same)
            self.add(data, mailbox="Sent", flags={"\\Seen"}, time=message.time)
        return same

    def _check_sender(self, message: Message, data: bytes) -> None:
        writers = mime.envelope(data[:65536]).from_
        names = [b"@".join((one.mailbox or b"", one.host or b"")).decode("utf-8", "replace") for one in writers]
        for address in (*(names or [""]), *([message.sender] if message.sender else [])):
            if addresses.normal(address) not in self._identities:
                raise Refused("this log-in may not send as that address", "send as one of its identities")

    # --- news ---

    async def changes(self, since: int) -> AsyncIterator[Sequence[Changed]]:
        while True:
            news = self._news
            found = [changed for box in self._boxes.values() if (changed := _changed(box, since))]
            since = self._modseq
            if found:
                yield found
            else:
                await news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def ask(self, account: str, name: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        if account not in self.asked:
            raise Refused("nothing holds this account")
        for answer in self.asked[account].get(name, ()):
            yield answer

    async def events(self) -> AsyncIterator[Event]:
        send, receive = anyio.create_memory_object_stream[Event](_EVENTS)
        self._listening.add(send)
        try:
            with send, receive:
                async for event in receive:
                    yield event
        finally:
            self._listening.discard(send)

    def tell(self, event: Event) -> None:
        """What an account tells those who are attached."""
        for one in self._listening:
            with suppress(anyio.WouldBlock):
                one.send_nowait(event)


def _within(rows: Mapping[int, Filed], uids: Uids) -> list[tuple[int, Filed]]:
    return [(uid, row) for uid, row in rows.items() if any(low <= uid <= high for low, high in uids)]


def _batches(found: Sequence[tuple[int, Filed]]) -> Iterator[Sequence[tuple[int, Filed]]]:
    for at in range(0, len(found), _BATCH):
        yield found[at : at + _BATCH]


def _row(uid: int, filed: Filed, fields: frozenset[Field]) -> Row:
    mail = filed.mail
    return Row(
        uid=uid,
        id=mail.id,
        thread=hashlib.sha256((mail.summary.references or (mail.summary.message_id,))[0].encode()).digest(),
        modseq=filed.modseq,
        flags=filed.flags if "flags" in fields else None,
        time=mail.time if "time" in fields else None,
        size=len(mail.data) if "size" in fields else None,
        envelope=mime.pack_envelope(mail.summary.envelope) if "envelope" in fields else None,
        structure=mime.pack_part(mail.summary.part) if "structure" in fields else None,
    )


def _changed(box: Box, since: int) -> Changed | None:
    if box.modseq <= since:
        return None
    return Changed(
        mailbox=box.id,
        modseq=box.modseq,
        exists=len(box.rows),
        added=[uid for uid, row in box.rows.items() if row.added > since],
        removed=[uid for at, uid in box.removed if at > since],
        flags={uid: row.flags for uid, row in box.rows.items() if row.added <= since < row.modseq},
    )
