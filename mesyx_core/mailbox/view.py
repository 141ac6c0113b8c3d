"""The account view (api.View): one store as one log-in sees it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import JsonValue

from mesyx_core import api
from mesyx_core.api import Body, Changed, Done, Event, Field, Locked, Message, Query, Refused, Row, Temporary, Uids
from mesyx_core.mailbox import directory, names, submitting
from mesyx_core.mailbox.composing import Composer, Draft
from mesyx_core.mailbox.contents import Outline
from mesyx_core.mailbox.opening import sent_link
from mesyx_core.mailbox.search import Search
from mesyx_core.record.content import moment

if TYPE_CHECKING:
    from mesyx_core.mailbox.account import Account
    from mesyx_core.mailbox.storage import Connection

_T = TypeVar("_T")
_ROWS: Final = 256
_PLACES: Final = 1024
_BODIES: Final = 64
_INSIDE: Final = frozenset(("size", "envelope", "structure"))
_LAST: Final = 0xFFFFFFFF


class AccountView:
    """api.View over an open account."""

    def __init__(self, account: Account, login: str = "", identities: Sequence[str] | None = None) -> None:
        self._account = account
        self._login = login
        self._identities = identities
        self._ledger = account.ledger

    @property
    def store(self) -> str:
        return self._account.name

    @property
    def owner(self) -> bytes:
        return self._account.store

    @property
    def identities(self) -> Sequence[str]:
        """As api.View."""
        granted = self._account.granted
        return sorted(granted if self._identities is None else granted.intersection(self._identities))

    # --- mailboxes ---------------------------------------------------------------------------------------------------

    async def mailboxes(self, names: Sequence[str] | None = None) -> Sequence[api.Mailbox]:
        """As api.View."""
        return await self._read(lambda db: directory.listed(self._ledger, db, None if names is None else list(names)))

    async def subscriptions(self) -> Sequence[str]:
        """As api.View."""
        return await self._read(directory.subscriptions)

    async def uids(self, mailbox: bytes) -> tuple[Sequence[int], int]:
        """As api.View."""

        def read(db: Connection) -> tuple[list[int], int]:
            found = db.execute("SELECT uid FROM place WHERE mailbox = ? ORDER BY uid", (self._row(mailbox),))
            modseq = db.execute("SELECT value FROM meta WHERE key = 'modseq'").fetchone()[0]
            return [row[0] for row in found], modseq

        return await self._read(read)

    # --- messages ----------------------------------------------------------------------------------------------------

    async def rows(self, mailbox: bytes, uids: Uids, fields: frozenset[Field]) -> AsyncIterator[Sequence[Row]]:
        """As api.View."""
        row = self._row(mailbox)
        for first, last in uids:
            while first <= last:
                found = await asyncio.to_thread(self._rows, row, first, last, fields)
                if not found:
                    break
                first = found[-1].uid + 1
                yield found

    def _rows(self, mailbox: int, first: int, last: int, fields: frozenset[Field]) -> list[Row]:
        with self._ledger.database.read() as db:
            places = db.execute(
                "SELECT p.uid, p.shown, p.flags, p.modseq, s.keyset, s.time, s.email, s.thread "
                "FROM place p JOIN shown s ON s.id = p.shown "
                "WHERE p.mailbox = ? AND p.uid BETWEEN ? AND ? ORDER BY p.uid LIMIT ?",
                (mailbox, first, last, _ROWS),
            ).fetchall()
        wanted = fields & _INSIDE
        outlines, locked = self._outlines(places) if wanted else ({}, set())
        flags = self._ledger.flag_names
        found: list[Row] = []
        for uid, shown, flag_set, modseq, keyset, time, email, thread in places:
            outline = outlines.get(shown)
            found.append(
                Row(
                    uid=uid,
                    id=email,
                    thread=thread,
                    modseq=modseq,
                    flags=flags[flag_set] if "flags" in fields else None,
                    time=moment(time) if "time" in fields else None,
                    size=outline.size if outline and "size" in fields else None,
                    envelope=outline.envelope if outline and "envelope" in fields else None,
                    structure=outline.structure if outline and "structure" in fields else None,
                    locked=keyset in locked,
                )
            )
        return found

    def _outlines(self, places: list[tuple[int, ...]]) -> tuple[dict[int, Outline], set[int]]:
        by_keyset: dict[int, list[int]] = {}
        for place in places:
            by_keyset.setdefault(place[4], []).append(place[1])
        found: dict[int, Outline] = {}
        locked: set[int] = set()
        for keyset, entries in by_keyset.items():
            try:
                with self._account.shelf.use(self._ledger.targets[keyset]) as contents:
                    found.update(contents.outlines(entries))
            except Locked:
                locked.add(keyset)
        return found, locked

    async def content(self, mailbox: bytes, uids: Uids) -> AsyncIterator[Sequence[tuple[int, Body]]]:
        """As api.View."""
        row = self._row(mailbox)
        ahead: asyncio.Task[Sequence[tuple[int, Body]]] | None = None  # one batch is opened while one is being used
        try:
            async with contextlib.aclosing(self._batches(row, uids)) as batches:
                async for some in batches:
                    opening = asyncio.create_task(self._opened(some))
                    if ahead is not None:
                        done, ahead = ahead, opening
                        yield await done
                    ahead = opening
            if ahead is not None:
                yield await ahead
        finally:
            if ahead is not None:
                ahead.cancel()

    async def _batches(self, mailbox: int, uids: Uids) -> AsyncGenerator[Sequence[tuple[int, int]], None]:
        for first, last in uids:
            while first <= last:
                places = await self._read(partial(_places, mailbox, first, last))
                if not places:
                    break
                first = places[-1][0] + 1
                for at in range(0, len(places), _BODIES):
                    yield places[at : at + _BODIES]

    async def _opened(self, some: Sequence[tuple[int, int]]) -> Sequence[tuple[int, Body]]:
        bodies = await self._account.reader.bodies([shown for _, shown in some])
        return [(uid, bodies[shown]) for uid, shown in some if shown in bodies]

    async def search(self, mailbox: bytes, query: Query) -> Sequence[int]:
        """As api.View."""
        row = self._row(mailbox)
        return await self._read(lambda db: Search(self._ledger, self._account.shelf, db, row).run(query))

    # --- changes -----------------------------------------------------------------------------------------------------

    async def change(self, changes: Sequence[api.Change], unchanged_since: int | None = None) -> Done:
        """As api.View. Renaming INBOX moves what is in it to a new mailbox (RFC 9051, section 6.3.6)."""
        async with self._account.changing:
            inbox = [c for c in changes if isinstance(c, api.Rename) and c.mailbox == names.named(names.INBOX)]
            if inbox:
                if len(changes) > 1:
                    raise Refused("renaming INBOX goes alone")
                return await self._empty_inbox(inbox[0])
            return await self._change(changes, unchanged_since)

    async def _change(self, changes: Sequence[api.Change], unchanged_since: int | None = None) -> Done:
        account = self._account

        def compose(db: Connection) -> Draft:
            return Composer(self._ledger, db, account.now()).compose(changes, unchanged_since)

        draft = await self._read(compose)
        if draft.batches:
            await account.feed.reached(await account.writer.ops(draft.batches))
        filed = await self._read(lambda db: list(_filed(db, draft)))
        return Done(modseq=self._ledger.modseq, filed=filed, unchanged=sorted(draft.unchanged))

    async def _empty_inbox(self, rename: api.Rename) -> Done:
        await self._change([api.Create(name=rename.name)])
        made = await self.mailboxes([rename.name])
        return await self._change(
            [api.File(mailbox=rename.mailbox, uids=((1, _LAST),), to=made[0].id, move=True)],
        )

    async def append(self, mailbox: bytes, message: Message) -> int:
        """As api.View."""
        box = await self._read(lambda db: next((b for b in directory.boxes(self._ledger, db) if b.id == mailbox), None))
        if box is None:
            raise Refused("there is no such mailbox")
        flags = frozenset(names.flag(flag) for flag in message.flags)
        if mailbox == names.named("Sent"):
            there = await self._sent(mailbox, message)
            if there:
                return there
        placed = _placed(message, names.reference(mailbox), flags)
        dot = await self._account.writer.message(placed)
        await self._account.feed.reached([dot])
        uid = await self._read(lambda db: self._uid(db, box.row, dot[:3]))
        if uid is None:
            raise Temporary("the message is kept, and not yet to be seen here")
        return uid

    async def _sent(self, mailbox: bytes, message: Message) -> int | None:
        message_id = (await submitting.head_of(message)).message_id
        if not message_id:
            return None
        row = self._row(mailbox)
        there = await self._read(lambda db: _linked(db, row, sent_link(message_id)))
        if there is None:
            found = await self.search(mailbox, Query("header", value=f"<{message_id}>", name="Message-ID"))
            there = found[0] if found else None
        return there

    def _uid(self, db: Connection, mailbox: int, at: tuple[bytes, bytes, int]) -> int | None:
        node, incarnation, seq = at
        entry = self._account.entry(node, incarnation, seq)
        row = db.execute(
            "SELECT p.uid FROM entry e JOIN place p ON p.shown = e.shown AND p.mailbox = ? WHERE e.id = ?",
            (mailbox, entry),
        ).fetchone()
        return row[0] if row else None

    async def submit(self, message: Message, by: str | None = None) -> bytes:
        """As api.View."""
        try:
            gateway = bytes.fromhex(by or "")
        except ValueError:
            gateway = b"?"
        if gateway and not self._account.authority().may(gateway, "accept"):
            raise Refused("that node is no gateway of this store", "leave the choice to this node")
        return await self._account.outbound.submit(message, self._login, self.identities, gateway)

    async def changes(self, since: int) -> AsyncIterator[Sequence[Changed]]:
        """As api.View."""
        async with contextlib.aclosing(self._account.news.after(since)) as news:
            async for changed in news:
                yield changed

    async def ask(self, account: str, name: str, value: JsonValue) -> AsyncIterator[JsonValue]:
        """As api.View."""
        held = [one for one in await self._account.accounts() if one.name == account]
        if not held or self._account.signals is None:
            raise Refused(f"no gateway holds an account {account}", "`mesyx account list` shows those that there are")
        node = max(held, key=lambda one: one.time).node
        async with contextlib.aclosing(self._account.signals.ask(node, account, name, value)) as answers:
            async for answer in answers:
                yield answer

    async def events(self) -> AsyncIterator[Event]:
        """As api.View."""
        if self._account.signals is None:
            return
        async with contextlib.aclosing(self._account.signals.events()) as events:
            async for event in events:
                yield event

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, query: Callable[[Connection], _T]) -> _T:
        def work() -> _T:
            with self._ledger.database.read() as db:
                return query(db)

        return await asyncio.to_thread(work)

    def _row(self, mailbox: bytes) -> int:
        try:
            return self._ledger.mailboxes[mailbox]
        except KeyError:
            raise Refused("there is no such mailbox") from None


def _places(mailbox: int, first: int, last: int, db: Connection) -> list[tuple[int, int]]:
    return db.execute(
        "SELECT uid, shown FROM place WHERE mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid LIMIT ?",
        (mailbox, first, last, _PLACES),
    ).fetchall()


def _linked(db: Connection, mailbox: int, link: bytes) -> int | None:
    sql = "SELECT p.uid FROM entry e JOIN place p ON p.shown = e.shown AND p.mailbox = ? WHERE e.link = ? LIMIT 1"
    row = db.execute(sql, (mailbox, link)).fetchone()
    return row[0] if row else None


def _filed(db: Connection, draft: Draft) -> Iterator[tuple[int, int]]:
    for row, _, messages in draft.filed:
        uids = dict(
            db.execute(
                "SELECT p.shown, p.uid FROM json_each(?) j CROSS JOIN place p ON p.shown = j.value AND p.mailbox = ?",
                (json.dumps([shown for _, shown in messages]), row),
            ).fetchall()
        )
        yield from ((uid, uids[shown]) for uid, shown in messages if shown in uids)


def _placed(message: Message, mailbox: str, flags: Iterable[str]) -> Message:
    return dataclasses.replace(message, mailbox=mailbox, flags=frozenset(flags))
