"""A store on one journal: gateways and clients that write to their logs, and accounts that read them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mesyx_core.api import Bytes, Message
from mesyx_core.journal import Draft, Journal, Log
from mesyx_core.mailbox.account import Account
from mesyx_core.record import content, payloads
from mesyx_core.record.content import BlobRef
from mesyx_core.record.entry import Kind
from mesyx_core.record.ops import Dot
from mesyx_core.record.outgoing import Submission, day_id
from mesyx_core.record.payloads import CLIENTS, Target
from mesyx_core.vault import age, manifest
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.epoch import Epoch
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.vault.seal import Context, seal
from mesyx_core.vault.stream import BlobSealer

INLINE = 16 << 10
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Writing:
    """A node's running log, and the epochs in it. Also the `Writer` of an account."""

    def __init__(self, journal: Journal, log: Log, keyset: Keyset, clients: Sequence[str]) -> None:
        self.journal = journal
        self.log = log
        self.keyset = keyset
        self.clients = clients
        self._epochs: dict[Target, Epoch] = {}
        self._number = 0

    @property
    def node(self) -> bytes:
        return self.log.origin.node

    async def _epoch(self, target: Target, recipients: Sequence[str] = ()) -> Epoch:
        epoch = self._epochs.get(target)
        if epoch is None or not epoch.left:
            self._number += 1
            seed = bytearray(os.urandom(32))
            recipients = recipients or (self.keyset.recipients if target.kind == "keyset" else self.clients)
            file = age.encrypt(bytes(seed), recipients)
            epoch = self._epochs[target] = Epoch.begin(*self.log.origin, self._number, seed)
            payload = payloads.Epoch(target, epoch.commitment, file).encode()
            await self.journal.commit([(self.log, Draft(Kind.EPOCH, epoch.number, 0, epoch.commitment, payload))])
        return epoch

    async def close(self) -> None:
        """End the open epochs."""
        epochs, self._epochs = self._epochs, {}
        for epoch in epochs.values():
            draft = Draft(Kind.CLOSE, epoch.number, 0, b"", payloads.Close(1024 - epoch.left).encode())
            await self.journal.commit([(self.log, draft)])

    async def write(
        self, target: Target, packed: Sequence[bytes], blobs: Sequence[Any] = (), recipients: Sequence[str] = ()
    ) -> list[Dot]:
        return await self._commit([await self._seal(target, data, blobs, recipients) for data in packed])

    async def _seal(self, target: Target, data: bytes, blobs: Sequence[Any], recipients: Sequence[str] = ()) -> Draft:
        epoch = await self._epoch(target, recipients)
        index, key = epoch.take()
        refs = tuple((blob.hash, blob.size) for blob in blobs)
        s, payload = seal(key, Context(*self.log.origin, Kind.SEALED, epoch.number, index, refs), data, os.urandom)
        return Draft(Kind.SEALED, epoch.number, index, s, payload, tuple(blobs))

    async def _commit(self, drafts: Sequence[Draft]) -> list[Dot]:
        seqs = await self.journal.commit([(self.log, draft) for draft in drafts])
        return [Dot(self.log.origin.node, self.log.origin.incarnation, seq, 0) for seq in seqs]

    async def ops(self, batches: Sequence[bytes]) -> list[Dot]:
        return await self.write(CLIENTS, [content.pack_inner("op", batch) for batch in batches])

    async def marks(self, entries: Sequence[tuple[Kind, bytes]]) -> list[Dot]:
        return await self._commit([Draft(kind, 0, 0, b"", payload) for kind, payload in entries])

    async def message(self, message: Message) -> Dot:
        return (await self.mail([message]))[0]

    async def post(self, parts: Sequence[Any]) -> list[Dot]:
        return await self._commit([await self._part(part) for part in parts])

    async def _part(self, part: Any) -> Draft:
        if isinstance(part, Submission):
            return await self._seal(CLIENTS, part.pack(), ())
        if isinstance(part, Message):
            body, blobs = await self._body(part)
            return await self._seal(Target("keyset", self.keyset.id), content.pack(part, body), blobs)
        body, blobs = (b"", []) if part.request.message is None else await self._body(part.request.message)
        target = Target("day", day_id(part.recipient))
        return await self._seal(target, part.request._replace(body=body).pack(), blobs, [part.recipient])

    async def _body(self, message: Message) -> tuple[bytes | BlobRef, list[Any]]:
        body = b"".join([chunk async for chunk in message.body.read()])
        if len(body) <= INLINE:
            return body, []
        key = os.urandom(32)
        sealer, blob = BlobSealer(key), self.journal.new_blob()
        await blob.write(sealer.update(body) + sealer.finish())
        await blob.finish()
        return BlobRef(blob.hash, len(body), key), [blob]

    async def mail(self, messages: Sequence[Message]) -> list[Dot]:
        target = Target("keyset", self.keyset.id)
        dots: list[Dot] = []
        small: list[bytes] = []
        for message in messages:
            body, blobs = await self._body(message)
            packed = content.pack(message, body)
            if blobs:
                dots += await self.write(target, [packed], blobs)
            else:
                small.append(packed)
        return dots + (await self.write(target, small) if small else [])


class Rig:
    """One person's store: one gateway, two clients, one keyset, a node that only exchanges; everything in one journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = {
            name: NodeKey(bytes([number]) * 32)
            for number, name in enumerate(("mx", "laptop", "phone", "mx2", "relay"), 1)
        }
        self.person = age.Identity.hybrid(b"p" * 32)
        self.short = age.Identity.hybrid(b"s" * 32)
        self.keyset = Keyset((self.short.recipient,))
        self.long = age.Identity.hybrid(b"l" * 32)
        self.lasting = Keyset((self.long.recipient,), fallback=True)
        self.roles = {"mx": "accept", "laptop": "client", "phone": "client", "mx2": "accept", "relay": "exchange"}
        owner = b"o" * 32
        first = manifest.Manifest(
            owner=manifest.owner_public(owner),
            next_owner=manifest.next_commitment(manifest.owner_public(b"n" * 32)),
            members=tuple(
                manifest.Member(
                    key.public,
                    key.recipient,
                    frozenset((self.roles[name], "exchange")),
                    rights=frozenset(("purge",) if name == "laptop" else ()),
                    addresses=("alice@example.org",) if name == "mx" else (),
                )
                for name, key in self.secrets.items()
            ),
            keysets=(self.keyset, self.lasting),
            clients=(self.person.recipient,),
        )
        self.authority = Authority.of([manifest.sign(first, owner)])
        self.store = self.authority.store
        self.identities = [self.person, self.short]
        self.journal: Journal
        self.now: Callable[[], float] = time.time
        self.settled: Callable[[], bool] = lambda: True

    def grant(self, **addresses: str) -> None:
        """From now on these gateways grant these addresses, separated by spaces."""
        last = self.authority.effective
        given = {self.secrets[name].public: tuple(each.split()) for name, each in addresses.items()}
        members = tuple(replace(each, addresses=given.get(each.node, each.addresses)) for each in last.members)
        following = replace(last, number=2, parents=(last.hash,), first=self.store, members=members)
        self.authority = self.authority.accepts(manifest.sign(following, b"o" * 32))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Rig]:
        async with Journal.open(self.folder / "journal", durable=False) as self.journal:
            if not await self.journal.stores():
                await self.journal.add_store(self.store, "alice")
            yield self

    async def node(self, name: str) -> Writing:
        log = await self.journal.begin_log(
            self.store, self.secrets[name], self.authority.effective.hash, os.urandom(16), time.time
        )
        return Writing(self.journal, log, self.keyset, self.authority.effective.clients)

    @contextlib.asynccontextmanager
    async def account(
        self, writer: Writing, index: str = "index", identities: Sequence[age.Identity] | None = None
    ) -> AsyncIterator[Account]:
        """An open account whose feed runs."""
        opened = Account.open(
            self.folder / index,
            self.store,
            "alice",
            self.journal,
            lambda: self.authority,
            self.identities if identities is None else identities,
            writer,
            self.now,
            os.urandom,
            lambda: self.settled(),
        )
        async with opened as account:
            task = asyncio.create_task(account.run())
            try:
                yield account
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


def mail(number: int, text: str = "hello", **fields: Any) -> Message:
    """A small mail, told apart by its number."""
    body = (
        f"Message-ID: <{number}@example.org>\r\nDate: Fri, 2 Jan 2026 03:04:05 +0000\r\nFrom: Bob <bob@example.org>\r\n"
        f"To: alice@example.org\r\nSubject: Number {number}\r\n\r\n{text}\r\n"
    ).encode()
    values: dict[str, Any] = {"kind": "mail", "time": START, "body": Bytes(body), **fields}
    return Message(**values)
