"""The stores a node holds: who may do what in each, this node's way of writing to it, and, on a client, its
mailboxes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

import anyio

from mesyx_core.api import Locked, MesyxError, Refused, Temporary, View
from mesyx_core.journal import CommitUnknown, Draft, Journal, Log, LogEnded
from mesyx_core.journal.journal import RowChange
from mesyx_core.mailbox.account import Account
from mesyx_core.node.secrets import Secrets
from mesyx_core.pipeline import Sealer
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import Manifest, Member, parse
from mesyx_core.vault.nodekey import NodeKey

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Store:
    """One store on this node."""

    id: bytes
    name: str
    authority: Authority
    documents: list[bytes]
    sealer: Sealer = field(init=False)
    account: Account | None = None
    """Its mailboxes, while it is unlocked on a client."""
    secrets: Secrets | None = None
    loans: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Private keys that are open here for a while and never kept: see `Loans`."""
    open_until: float | None = None
    """Unix seconds at which it is locked by itself; None: never."""
    governing: anyio.Lock = field(default_factory=anyio.Lock)
    """Held while its manifest is being changed."""

    @property
    def manifest(self) -> Manifest:
        return self.authority.effective

    @property
    def fingerprint(self) -> str:
        """For two people to compare."""
        return fingerprint(self.id)

    def view(self, login: str = "", identities: Sequence[str] | None = None) -> View:
        """For one log-in. Raises Locked."""
        if self.account is None:
            raise Locked(f"the store {self.name} is locked on this node", "start the node with --passphrase-file")
        return self.account.view(login, identities)


def fit_name(name: str) -> bool:
    """Whether a store can be called so: people log in with it."""
    return 0 < len(name) <= 64 and name.isprintable() and not any(c.isspace() or c in "@/" for c in name)


def fingerprint(store: bytes) -> str:
    digits = store.hex()[:24]
    return " ".join(digits[at : at + 4] for at in range(0, 24, 4))


class Stores:
    """All stores of a node, by id."""

    def __init__(
        self, journal: Journal, key: NodeKey, now: Callable[[], datetime], random: Callable[[int], bytes]
    ) -> None:
        self._journal = journal
        self._key = key
        self._now = now
        self._random = random
        self._held: dict[bytes, Store] = {}
        self._making: set[str] = set()

    def __iter__(self) -> Iterator[Store]:
        return iter(list(self._held.values()))

    def get(self, store: bytes) -> Store | None:
        return self._held.get(store)

    def authority(self, store: bytes) -> Authority | None:
        held = self._held.get(store)
        return held.authority if held else None

    def named(self, name: str) -> Store:
        """By name, or by the beginning of its fingerprint. Raises Refused."""
        digits = name.replace(" ", "").lower()
        found = [s for s in self if s.name == name] or [
            s for s in self if len(digits) >= 4 and s.id.hex().startswith(digits)
        ]
        if len(found) != 1:
            known = ", ".join(s.name for s in self) or "none"
            raise Refused(
                f"there is no store {name!r} on this node" if not found else f"{name!r} could be several stores",
                f"it has: {known}",
            )
        return found[0]

    def member(self, store: Store) -> Member | None:
        """This node in a store's manifest."""
        return store.authority.member(self._key.public)

    @contextmanager
    def making(self, name: str) -> Iterator[None]:
        """A name is taken while a store of that name is being made. Raises Refused when it is."""
        if name in self._making:
            raise Refused(f"a store {name!r} is being made just now", "`mesyx store list` shows it soon")
        self._making.add(name)
        try:
            yield
        finally:
            self._making.discard(name)

    def taken(self, name: str) -> bool:
        """Whether a store has this name, or is just getting it."""
        return name in self._making or any(store.name == name for store in self)

    async def load(self) -> None:
        for store, name in await self._journal.stores():
            documents = await self._journal.manifests(store)
            self._hold(store, name, documents)

    async def add(self, name: str, documents: Sequence[bytes]) -> Store:
        """Hold a store from now on, durably."""
        store = Authority.of(documents).store
        await self._journal.add_store(store, name, {parse(document).hash: document for document in documents})
        return self._hold(store, name, list(documents))

    async def take(self, store: bytes, document: bytes) -> bool:
        """A manifest that someone presents; whether it was new and is now in effect or known. Raises ManifestError."""
        held = self._held[store]
        if document in held.documents:
            return False
        held.authority.accepts(document)
        await self._journal.put_manifest(store, parse(document).hash, document)
        # Only now: what was not kept must not count, or it would be gone after the next start. Others came meanwhile.
        if document in held.documents:
            return False
        held.authority = held.authority.accepts(document)
        held.documents.append(document)
        if held.sealer.log is not None:
            held.sealer.log.cite(held.authority.effective.hash)
        return True

    async def commit(self, entries: Sequence[tuple[Log, Draft]], rows: Sequence[RowChange] = ()) -> list[int]:
        """The journal's commit; a log that can take no more is left behind, and the next message begins another."""
        try:
            return await self._journal.commit(entries, rows=rows)
        except (CommitUnknown, LogEnded) as error:
            for log, _ in entries:
                held = self._held[log.origin.store]
                if held.sealer.log is log:
                    held.sealer.abandon()
            raise Temporary("the disk failed while committing", "see `mesyx doctor`") from error

    def branched(self, store: bytes, log: tuple[bytes, bytes]) -> None:
        """Another node holds another branch of a log of ours, as when this machine's memory was put back to an earlier
        moment: what we added to it would never arrive. What comes next goes to a log of its own; what is being
        committed to the old one fails, and is tried again by whoever brought it."""
        held = self._held.get(store)
        running = held.sealer.log if held is not None else None
        if held is not None and running is not None and running.origin[1:] == log:
            _log.error("another node holds another branch of this node's log: a new one begins")
            running.end()
            held.sealer.abandon()

    async def end(self) -> None:
        """End this run's incarnations, as the last thing a node writes. One that cannot be ended, as on a full disk, is
        named by the next start."""
        for store in self:
            log = store.sealer.log
            if log is not None:
                with suppress(MesyxError):
                    await store.sealer.close()
                    await self._journal.end_log(log)
                store.sealer.abandon()

    def _hold(self, store: bytes, name: str, documents: list[bytes]) -> Store:
        held = Store(store, name, Authority.of(documents), documents)
        held.sealer = Sealer(
            store,
            begin=lambda: self._begin(held),
            authority=lambda: held.authority,
            commit=self.commit,
            now=self._now,
            random=self._random,
        )
        self._held[store] = held
        return held

    async def _begin(self, held: Store) -> Log:
        return await self._journal.begin_log(
            held.id, self._key, held.authority.effective.hash, self._random(16), lambda: self._now().timestamp()
        )
