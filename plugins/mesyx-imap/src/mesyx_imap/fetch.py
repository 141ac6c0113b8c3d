"""FETCH: rows and content to responses, a batch at a time (RFC 3501, sections 6.4.5 and 7.4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mesyx_core import mime
from mesyx_core.api import Body, Bytes, Flag, Row, Uids
from mesyx_core.mime import Part
from mesyx_imap import items, ranges, sections
from mesyx_imap.errors import No
from mesyx_imap.items import Plan
from mesyx_imap.output import Output
from mesyx_imap.parser import Cursor
from mesyx_imap.sections import Section
from mesyx_imap.selected import Selected
from mesyx_imap.session import Session

_HEADER = 1 << 20
"""Octets of a header that is read at once, to choose fields from it."""


async def fetch(session: Session, args: Cursor, by_uid: bool = False) -> bytes:
    args.space()
    asked = args.sequence()
    args.space()
    plan = items.parse(args, by_uid)
    args.end()
    selected = session.selected
    uids = selected.numbers(asked, by_uid)
    if not uids:
        return b"Nothing to fetch"
    if plan.marks and not selected.read_only:
        plan = await _mark(session, selected, uids, plan)
    job = _Job(session, selected, plan)
    await (job.contents(uids) if plan.sections else job.rows(uids))
    if job.locked:
        raise No(b"[UNAVAILABLE] Some of these are locked; mesyx status says which key is missing")
    return b"Fetched"


async def _mark(session: Session, selected: Selected, uids: Uids, plan: Plan) -> Plan:
    r"""Set \Seen where it is not; the responses then show FLAGS."""
    unseen: dict[int, frozenset[str]] = {}
    async for batch in session.view.rows(selected.id, uids, frozenset({"flags"})):
        for row in batch:
            flags = row.flags or frozenset()
            if "\\Seen" not in flags and not row.locked and selected.sequence(row.uid):
                unseen[row.uid] = flags | {"\\Seen"}
    if not unseen:
        return plan
    flag = Flag(mailbox=selected.id, uids=ranges.collect(unseen), add=frozenset({"\\Seen"}))
    done = await session.view.change([flag])
    selected.told(unseen, done.modseq)
    return plan if items.FLAGS in plan.attributes else Plan((items.FLAGS, *plan.attributes), plan.sections, True)


class _Job:
    """One FETCH under way."""

    def __init__(self, session: Session, selected: Selected, plan: Plan) -> None:
        self._view = session.view
        self._out: Output = session.out
        self._selected = selected
        self._shows = [attribute.show for attribute in plan.attributes]
        self._sections = plan.sections
        self._structured = any(not section.whole for section in plan.sections)
        self._fields = plan.fields
        self._bare = not plan.fields and all(attribute is items.UID for attribute in plan.attributes)
        self.locked = False

    # --- without content ---

    async def rows(self, uids: Uids) -> None:
        """Responses that rows are enough for."""
        need = bool(self._fields & {"envelope", "structure"})
        async for batch in self._view.rows(self._selected.id, uids, self._fields):
            for row in batch:
                number = self._selected.sequence(row.uid)
                if row.locked and need:
                    self.locked = True
                elif number:
                    self._out.write(b"* %d FETCH (%b)\r\n" % (number, b" ".join(self._attributes(row))))
            if self._out.full:
                await self._out.flush()

    def _attributes(self, row: Row) -> list[bytes]:
        recent = row.uid in self._selected.recent
        return [show(row, recent) for show in self._shows]

    # --- with content ---

    async def contents(self, uids: Uids) -> None:
        """Responses with sections of the message. Content leaves locked messages out, and ends saying so."""
        served: set[int] = set()
        async for batch in self._view.content(self._selected.id, uids):
            rows = await self._rows_of(batch)
            for uid, body in batch:
                served.add(uid)
                number = self._selected.sequence(uid)
                row = rows.get(uid)
                if number and (row or self._bare):
                    await self._response(number, self._attributes(row) if row else self._uid(uid), row, body)
        missing = [uid for uid in self._selected.within(uids) if uid not in served]
        self.locked = bool(missing) and await self._any_locked(missing)

    async def _any_locked(self, uids: Sequence[int]) -> bool:
        """Some are locked rather than gone."""
        async for batch in self._view.rows(self._selected.id, ranges.collect(uids), frozenset()):
            if any(row.locked for row in batch):
                return True
        return False

    async def _rows_of(self, batch: Sequence[tuple[int, Body]]) -> Mapping[int, Row]:
        if self._bare:
            return {}
        found: dict[int, Row] = {}
        uids = ranges.collect(uid for uid, _ in batch)
        async for rows in self._view.rows(self._selected.id, uids, self._fields):
            found.update((row.uid, row) for row in rows)
        return found

    def _uid(self, uid: int) -> list[bytes]:
        """The attributes when there is nothing but UID, for which no row is needed."""
        return [b"UID %d" % uid] if self._shows else []

    async def _response(self, number: int, attributes: Sequence[bytes], row: Row | None, body: Body) -> None:
        write = self._out.write
        separator = b"* %d FETCH (" % number
        for value in attributes:
            write(separator + value)
            separator = b" "
        root = mime.unpack_part(row.structure or b"") if row and self._structured else None
        for section in self._sections:
            write(separator + section.label)
            separator = b" "
            if isinstance(body, Bytes):
                self._cut(section, root, body.data)
            else:
                await self._stream(section, root, body)
        write(b")\r\n")
        if self._out.full:
            await self._out.flush()

    def _cut(self, section: Section, root: Part | None, data: bytes) -> None:
        span = sections.locate(section, root, len(data))
        if span is None:
            self._out.write(b" NIL")
            return
        start, end = span
        if section.fields is not None:
            data = sections.choose(data[start:end], section.fields)
            start, end = 0, len(data)
        start, end = sections.clip(section, start, end)
        self._out.write(b" {%d}\r\n" % (end - start))
        self._out.write(data if end - start == len(data) else data[start:end])

    async def _stream(self, section: Section, root: Part | None, body: Body) -> None:
        """As `_cut`, without holding the whole."""
        span = sections.locate(section, root, body.size)
        if span is not None and section.fields is not None:
            start, end = span
            header = b"".join([chunk async for chunk in body.read(start, min(end, start + _HEADER))])
            self._cut(
                Section(b"", first=section.first, most=section.most), None, sections.choose(header, section.fields)
            )
            return
        if span is None:
            self._out.write(b" NIL")
            return
        start, end = sections.clip(section, *span)
        self._out.write(b" {%d}\r\n" % (end - start))
        async for chunk in body.read(start, end):
            self._out.write(chunk)
            if self._out.full:
                await self._out.flush()
