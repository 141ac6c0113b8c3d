"""A client's unlocked stores: opens them with their private keys, and seals what a person does in them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mesyx_core.api import Bytes, Message, Refused, Temporary
from mesyx_core.journal import Draft, Log, PendingBlob
from mesyx_core.mailbox.account import Account
from mesyx_core.mailbox.outbound import Part
from mesyx_core.node import faults
from mesyx_core.node.clock import now
from mesyx_core.node.outgoing import Sync
from mesyx_core.node.remote import Remote
from mesyx_core.node.secrets import Secrets
from mesyx_core.node.stores import Store
from mesyx_core.pipeline import Content, ToDay
from mesyx_core.pipeline.body import INLINE, SealedBody, Spool
from mesyx_core.record import content
from mesyx_core.record.content import BlobRef
from mesyx_core.record.entry import Kind
from mesyx_core.record.ops import Dot
from mesyx_core.record.outgoing import Submission
from mesyx_core.vault import age

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

WAIT: Final = 10.0
LOOK: Final = 5.0
"""Seconds between two looks at the clock."""

log = logging.getLogger(__name__)


class Mailboxes:
    """Opens and closes the account of each store."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._open: dict[bytes, tuple[AsyncExitStack, anyio.CancelScope, anyio.Event]] = {}
        self._changing = anyio.Lock()
        self._ending: dict[bytes, anyio.CancelScope] = {}
        self._sync = Sync(node)

    async def unlock(self, store: Store, phrase: str) -> None:
        """Raises Refused for a wrong passphrase. Takes about a second, in a thread."""
        governed = store.secrets is not None and store.secrets.owner is not None
        if store.account is not None and governed and not self._node.keyring.waits(store.id):
            return
        await self._unlock(store, await run_sync(self._node.keyring.open, store.id, phrase))

    async def unlock_by(self, store: Store, identity: str) -> None:
        """The same by the keyring identity, as text; without the owner key. Raises Refused for another store's."""
        if store.account is None:
            await self._unlock(store, await run_sync(self._node.keyring.open_by, store.id, identity))

    async def _unlock(self, store: Store, secrets: Secrets) -> None:
        await self.open(store, secrets)
        if store.account is not None and store.secrets != secrets:  # more keys have come
            store.secrets = secrets
            self.use_keys(store)

    async def open(self, store: Store, secrets: Secrets) -> None:
        """Open the mailboxes with keys that are at hand; harmless when they are open."""
        async with self._changing:
            if store.account is None:
                await self._open_account(store, secrets)

    async def _open_account(self, store: Store, secrets: Secrets) -> None:
        node = self._node
        stack = AsyncExitStack()
        account = await stack.enter_async_context(
            Account.open(
                node.home.state / "mailbox" / store.id.hex()[:16],
                store.id,
                store.name,
                node.journal,
                lambda: store.authority,
                secrets.keys(),
                Writer(node, store),
                lambda: now().timestamp(),
                os.urandom,
                lambda: self._sync(store.id),
                Remote(node, store.id),
            )
        )
        scope, done = anyio.CancelScope(), anyio.Event()
        self._open[store.id] = (stack, scope, done)
        store.account, store.secrets = account, secrets
        node.keys_changed()
        if node.live:
            assert node.tasks is not None
            node.tasks.start_soon(self._feed, account, scope, done)
        else:
            done.set()

    async def _feed(self, account: Account, scope: anyio.CancelScope, done: anyio.Event) -> None:
        """Keep the index up to date. What stops it, like a full disk, stops neither the node nor other stores."""
        try:
            with scope:
                await faults.again(f"the mailbox of {account.name}", account.run)
        finally:
            done.set()

    def lock_after(self, store: Store, seconds: float | None) -> None:
        """Lock it by itself after so long, whatever becomes of the clock meanwhile; None: never."""
        waiting = self._ending.pop(store.id, None)
        if waiting is not None:
            waiting.cancel()
        store.open_until = None
        if seconds is not None and self._node.tasks is not None:
            scope = self._ending[store.id] = anyio.CancelScope()
            store.open_until = now().timestamp() + seconds
            self._node.tasks.start_soon(self._lock_at, store, scope, self._node.monotonic() + seconds)

    async def _lock_at(self, store: Store, scope: anyio.CancelScope, end: float) -> None:
        with scope:
            # A laptop that sleeps stops the one clock and not the other.
            left = min(end - self._node.monotonic(), LOOK)
            while left > 0:
                await anyio.sleep(min(left, LOOK))
                left = min(end - self._node.monotonic(), (store.open_until or 0) - now().timestamp())
            log.info("a store is locked: its time is over")
            del self._ending[store.id]
            await self.lock(store)

    async def lock(self, store: Store) -> None:
        """Close the mailboxes and forget the keys."""
        async with self._changing:
            if store.account is None:
                raise Refused(f"the store {store.name} is locked already")
            self.lock_after(store, None)
            store.loans.clear()
            stack, scope, done = self._open.pop(store.id)
            store.account = store.secrets = None
            scope.cancel()
            with anyio.move_on_after(WAIT, shield=True):
                await done.wait()
            await stack.aclose()

    async def add_keys(self, store: Store, identities: Iterable[str]) -> frozenset[bytes]:
        """Keep more private keys, durable on return, and open what waits for them where the store is open; ids of those
        that were not here. Raises as `Keyring.add`.
        """
        texts = tuple(identities)
        added = await run_sync(self._node.keyring.add, store.id, texts)
        await self._node.sightings.back(store.id, added)
        self._use(store, lambda held: (*held, *texts))
        if added and store.account is not None:
            with suppress(Temporary):  # the feed does not run: no command of a node that does not either shows anything
                await store.account.reappear()
        return added

    async def destroy_keys(self, store: Store, recipients: Iterable[str]) -> frozenset[bytes]:
        """Destroy private keys and open nothing with them any more; ids of those that were here. Raises Temporary."""
        gone = frozenset(recipients)
        self._use(store, lambda held: tuple(text for text in held if age.parse_identity(text).recipient not in gone))
        return await run_sync(self._node.keyring.destroy, store.id, gone)

    def _use(self, store: Store, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        if store.secrets is None or store.account is None:
            return
        secrets = replace(store.secrets, identities=change(store.secrets.identities))
        if secrets != store.secrets:
            store.secrets = secrets
            self.use_keys(store)

    def use_keys(self, store: Store) -> None:
        """Open with what is kept here and what is on loan, and with nothing else."""
        if store.account is not None and store.secrets is not None:
            lent = (age.parse_identity(text) for texts in store.loans.values() for text in texts)
            store.account.unlock([*store.secrets.keys(), *lent])

    def blob_arrived(self, store: bytes, blob: bytes) -> None:
        """A message that waited for its body can be opened now."""
        held = self._node.stores.get(store)
        if held is not None and held.account is not None:
            held.account.feed.retry("blob")

    def manifest_changed(self, store: bytes) -> None:
        """What was passed over because its node was no member is judged again."""
        held = self._node.stores.get(store)
        if held is not None and held.account is not None:
            held.account.manifest_changed()

    async def close(self) -> None:
        """Close all of them, also when the node is being cancelled."""
        with anyio.CancelScope(shield=True):
            for store in self._node.stores:
                if store.account is not None:
                    await self.lock(store)


class Writer:
    """Seals a person's own changes and messages on this node, for `Account`."""

    def __init__(self, node: Node, store: Store) -> None:
        self._node = node
        self._store = store

    async def ops(self, batches: Sequence[bytes]) -> list[Dot]:
        """One entry for each batch, all in one transaction."""
        packed = [Content(content.pack_inner("op", batch), target="clients") for batch in batches]
        return await self._commit([await self._store.sealer.seal(one) for one in packed])

    async def marks(self, entries: Sequence[tuple[Kind, bytes]]) -> list[Dot]:
        """One clear entry for each, all in one transaction."""
        return await self._commit([await self._store.sealer.mark(kind, payload) for kind, payload in entries])

    @property
    def node(self) -> bytes:
        """This node's key."""
        return self._node.key.public

    async def message(self, message: Message) -> Dot:
        """A person's own message, under the keyset that any message would go to."""
        return (await self.post([message]))[0]

    async def post(self, parts: Sequence[Part]) -> list[Dot]:
        """The sender's copy by keyset, requests to a gateway's recipient of the day, notes to the clients: all in one
        transaction. A large body is sealed anew for each, so that none of their keys opens another's."""
        async with AsyncExitStack() as stack:
            contents = [await self._content(part, stack) for part in parts]
            return await self._commit([await self._store.sealer.seal(one) for one in contents])

    async def _content(self, part: Part, stack: AsyncExitStack) -> Content:
        if isinstance(part, Submission):
            return Content(part.pack(), target="clients")
        if isinstance(part, Message):
            body, blobs = await self._body(part, stack)
            return Content(content.pack(part, body), part.importance, blobs=blobs)
        request = part.request
        if request.message is None:
            return Content(request.pack(), target=ToDay(part.recipient))
        body, blobs = await self._body(request.message, stack)
        return Content(request._replace(body=body).pack(), target=ToDay(part.recipient), blobs=blobs)

    async def _body(self, message: Message, stack: AsyncExitStack) -> tuple[bytes | BlobRef, tuple[PendingBlob, ...]]:
        """In memory, or as a blob that is given up at the end unless it was committed."""
        spool = Spool(self._node.intake.blobs, lambda: 1)
        stack.callback(spool.close)
        async for chunk in message.body.read():
            await spool.write(chunk)
        [body] = await spool.finish()
        if isinstance(body, SealedBody):
            return body.ref, (body.blob,)
        assert isinstance(body, Bytes)
        assert body.size <= INLINE
        return body.data, ()

    async def _commit(self, entries: Sequence[tuple[Log, Draft]]) -> list[Dot]:
        seqs = await self._node.stores.commit(entries)
        return [
            Dot(log.origin.node, log.origin.incarnation, seq, 0) for (log, _), seq in zip(entries, seqs, strict=True)
        ]
