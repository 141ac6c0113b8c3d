"""One message on its way in: a transaction that ends durable and sealed, or leaves nothing behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from mesyx_core.api.errors import Refused, Temporary
from mesyx_core.api.message import Body, Bytes, Message, Scalar
from mesyx_core.api.roles import Filter
from mesyx_core.api.verdict import ACCEPT, Receipt, Verdict
from mesyx_core.journal import Draft, Log
from mesyx_core.journal.journal import RowChange
from mesyx_core.pipeline.body import BATCH, INLINE, Blobs, SealedBody, Spool
from mesyx_core.pipeline.sealer import Content, Sealer
from mesyx_core.pipeline.verdicts import apply, best, judge
from mesyx_core.record import content
from mesyx_core.vault.stream import sealed_size

AHEAD: Final = 2 * BATCH
"""A body in a blob has room for so many bytes that are not written yet, those in its buffer and a step; and for an
eighth at most of all that it has, its padding."""
_ENTRY: Final = 4096
"""What the entry of a blob takes beside it, with some recipients."""


class Room(Protocol):
    """Quota and free disk."""

    async def take(self, store: bytes, size: int, *, first: bool = False) -> None:
        """Set so many bytes more aside in a store, `first` for a body that has none yet; with 0 only ask whether any
        more may come. Raises Temporary."""

    def give_back(self, store: bytes, size: int) -> None:
        """All that a body had: it is committed, or given up."""


class Commit(Protocol):
    async def __call__(self, entries: Sequence[tuple[Log, Draft]], rows: Sequence[RowChange] = ()) -> list[int]: ...


class Intake:
    """The way in for every ingress of a node: routes by address, judges, seals and commits."""

    def __init__(
        self,
        *,
        route: Callable[[str], Sealer | None],
        filters: Mapping[str, Filter],
        blobs: Blobs,
        room: Room,
        commit: Commit,
        limit: int,
        counts: Counter[str] | None = None,
    ) -> None:
        self.route = route
        self.filters = filters
        self.blobs = blobs
        self.room = room
        self.commit = commit
        self.limit = limit
        self.counts: Counter[str] = Counter() if counts is None else counts
        """Recipients, by what became of the message for them: accept, reject, later, drop, hold."""

    def count(self, verdicts: Iterable[Verdict]) -> None:
        """What was answered."""
        for verdict in verdicts:
            self.counts["later" if verdict.temporary else verdict.word] += 1

    def deliver(self, draft: Message) -> Delivery:
        """Begin taking in one message; the delivery is the scope to be in."""
        return Delivery(self, draft)

    async def accept(self, messages: Sequence[Message], rows: Sequence[RowChange] = ()) -> Sequence[Verdict]:
        """Short messages, each for the stores of its recipients, all in one commit, with changes to the node's rows.
        Raises Temporary when one cannot be taken now: then nothing is kept, above all no cursor that is past it.
        """
        verdicts: list[Verdict] = []
        entries: list[tuple[Log, Draft]] = []
        for message in messages:
            delivery = Delivery(self, message)
            words = [await delivery.recipient(address) for address in message.recipients]
            parts, receipt = await delivery.sealed([message.body] * len(delivery.stores))
            entries += parts
            words = list(receipt.verdicts.values()) or words
            verdict = best(words) if words else Verdict(word="reject", reason="no such recipient")
            if not parts and verdict.temporary:
                raise Temporary(verdict.reason)
            verdicts.append(verdict)
        if entries or rows:
            await self.commit(entries, rows)
        self.count(verdicts)
        return verdicts


class Delivery:
    """See `mesyx_core.api.Delivery`, whose promise this keeps."""

    def __init__(self, intake: Intake, draft: Message) -> None:
        self._intake = intake
        self._draft = draft
        self._traced = 0
        self._room = 0
        """Bytes of the body that there is room for, and"""
        self._taken: dict[bytes, int] = {}
        """what is set aside for them."""
        self.stores: dict[bytes, tuple[Sealer, list[str]]] = {}
        self._spool = Spool(intake.blobs, lambda: len(self.stores), draft.envelope)

    async def __aenter__(self) -> Delivery:
        return self

    async def __aexit__(self, *failure: object) -> None:
        """Nothing that was not committed stays."""
        self._spool.close()
        for store, size in self._taken.items():
            self._intake.room.give_back(store, size)
        self._taken.clear()

    async def recipient(self, address: str) -> Verdict:
        try:
            sealer = self._intake.route(address)
        except Temporary as suspended:
            return Verdict(word="reject", temporary=True, reason=suspended.what)
        if sealer is None:
            return self._refused(Verdict(word="reject", reason="no such recipient here"))
        store = sealer.store
        try:
            await self._intake.room.take(store, 0)
        except Temporary as full:
            return self._refused(Verdict(word="reject", temporary=True, reason=full.what))
        self.stores.setdefault(store, (sealer, []))[1].append(address)
        return ACCEPT

    def _refused(self, verdict: Verdict) -> Verdict:
        self._intake.count([verdict])
        return verdict

    async def trace(self, header: bytes) -> None:
        self._traced = len(header)
        await self._spool.write(header)

    async def write(self, chunk: bytes) -> None:
        if self._spool.size + len(chunk) > self._intake.limit:
            raise Refused("the message is larger than this node takes")
        size = self._spool.size + len(chunk)
        if size > INLINE and size > self._room:
            await self._take(size)
        await self._spool.write(chunk)

    async def _take(self, size: int) -> None:
        """Have room, before it is written, for what is larger than the memory takes."""
        room = -(-size // BATCH) * BATCH
        whole = sealed_size(room) + _ENTRY
        for store in self.stores:
            held = self._taken.get(store, 0)
            if whole > held:  # padding leaves some steps as large as the one before
                await self._intake.room.take(store, whole - held, first=not held)
                self._taken[store] = whole
        self._room = room

    async def commit(self) -> Receipt:
        bodies = await self._spool.finish()
        entries, receipt = await self.sealed(bodies)
        if entries:
            seqs = await self._intake.commit(entries)
        self._intake.count(receipt.verdicts.values())
        if not entries:
            return receipt
        first = entries[0][0].origin
        return Receipt(verdicts=receipt.verdicts, trace=f"{first.incarnation.hex()[:12]}-{seqs[0]}")

    async def sealed(self, bodies: Sequence[Body]) -> tuple[list[tuple[Log, Draft]], Receipt]:
        """Judge for every recipient, then seal once for each store that takes part."""
        envelope = {**self._draft.envelope, "trace": self._traced} if self._traced else self._draft.envelope
        if not self._intake.filters:
            return await self._unjudged(bodies, envelope)
        verdicts: dict[str, Verdict] = {}
        wanted: list[tuple[Sealer, Message, Verdict]] = []
        for (sealer, addresses), body in zip(self.stores.values(), bodies, strict=True):
            message = replace(self._draft, body=body, recipients=tuple(addresses), envelope=envelope)
            for address in addresses:
                verdicts[address] = await self._judge(message, address)
            wanted.append((sealer, message, best([verdicts[a] for a in addresses])))
        taken = any(v.word != "reject" for _, _, v in wanted)
        if not taken:
            return [], Receipt(verdicts=verdicts)
        return [await self._seal(*each) for each in wanted], Receipt(verdicts=verdicts)

    async def _unjudged(
        self, bodies: Sequence[Body], envelope: Mapping[str, Scalar]
    ) -> tuple[list[tuple[Log, Draft]], Receipt]:
        """The same without filters: the draft is sealed as it stands, and no message is made for any to see."""
        draft, entries = self._draft, []
        verdicts: dict[str, Verdict] = {}
        for (sealer, addresses), body in zip(self.stores.values(), bodies, strict=True):
            verdicts.update(dict.fromkeys(addresses, ACCEPT))
            held, blobs = (body.ref, (body.blob,)) if isinstance(body, SealedBody) else (await _whole(body), ())
            packed = content.pack(draft, held, recipients=addresses, envelope=envelope)
            entries.append(await sealer.seal(Content(packed, draft.importance, blobs=blobs)))
        return entries, Receipt(verdicts=verdicts)

    async def _judge(self, message: Message, address: str) -> Verdict:
        return await judge(self._intake.filters, replace(message, recipients=(address,)), "receive")

    async def _seal(self, sealer: Sealer, message: Message, verdict: Verdict) -> tuple[Log, Draft]:
        if verdict.word == "drop":
            stub = replace(
                message, body=Bytes(), tags={**message.tags, "dropped": verdict.reason, "size": str(message.body.size)}
            )
            return await sealer.seal(Content(content.pack(replace(stub, mailbox="Rejected"), b""), "low"))
        message = apply(message, verdict)
        if isinstance(message.body, SealedBody):
            packed = content.pack(message, message.body.ref)
            return await sealer.seal(Content(packed, message.importance, blobs=(message.body.blob,)))
        return await sealer.seal(Content(content.pack(message, await _whole(message.body)), message.importance))


async def _whole(body: Body) -> bytes:
    if isinstance(body, Bytes):
        return body.data
    return b"".join([chunk async for chunk in body.read()])
