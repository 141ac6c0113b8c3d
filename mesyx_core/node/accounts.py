"""People's own accounts on other networks, as this gateway holds them.

A client seals an account to this node in its log. What is read there is kept in rows under the node key, and each
account is opened once, by the instance of its plugin, in a supervised task of its own; changed, it is opened anew.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import anyio
from anyio.abc import TaskGroup
from pydantic import JsonValue

from mesyx_core.api import Answers, MesyxError, Refused, Temporary
from mesyx_core.journal.journal import RowChange
from mesyx_core.node import faults
from mesyx_core.node.opened import Opened
from mesyx_core.node.remote import ASK
from mesyx_core.outbox.follow import Follower, Heard
from mesyx_core.record import content, outgoing
from mesyx_core.record.entry import Origin
from mesyx_core.record.outgoing import Account, AccountRemoved
from mesyx_core.record.shape import RecordError
from mesyx_core.vault import encoding, labels
from mesyx_core.vault.age import Identity
from mesyx_core.vault.encoding import digest

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

log = logging.getLogger(__name__)

SPACE: Final = "accounts"
STATES: Final = "accounts"
"""The request for how accounts are."""
TOLD: Final = ("name", "time", "state", "why", "seconds", "restarts")
AT_ONCE: Final = 25
"""Accounts in one answer."""
MOST: Final = 500
"""Accounts of one store on one node."""
LARGEST: Final = 1 << 20

Place: TypeAlias = tuple[bytes, str]
"""Store and name."""


class Kept(NamedTuple):
    """What was last said of an account."""

    rank: bytes
    told: Account | AccountRemoved


class NoDays:
    """A follower of what is sealed to the node key alone."""

    def identity(self, id: bytes) -> Identity | None:
        return None


class Accounts:
    """Made with the node; `load` before anything is asked of it, `run` in a task."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._kept: dict[Place, Kept] = {}
        self._opened: dict[Place, Opened] = {}
        self._dirty: set[bytes] = set()
        self._news = anyio.Event()
        self._follower = Follower(
            node.journal, node.key, NoDays(), node.rows, node.stores.authority, self._take, "accounts"
        )
        node.exchange.signals.answers[STATES] = self._states
        node.exchange.signals.answers[ASK] = self._ask

    async def load(self) -> None:
        """What was kept at the last stop."""
        await self._follower.load()
        for data in (await self._node.rows.all(SPACE)).values():
            store, rank, packed = encoding.decode(data, limit=LARGEST)
            told = outgoing.decode(content.unpack(packed))
            assert isinstance(told, Account | AccountRemoved)
            self._kept[store, told.name] = Kept(rank, told)

    def refresh(self) -> None:
        """The config was read again, or a manifest came: there may be an instance now that takes an account, or this
        node may hold none any more."""
        for one in self._opened.values():
            one.again.set()
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. What stops it, like a full disk, is logged; then it starts again."""
        await faults.again("the accounts", self._run)

    async def _run(self) -> None:
        stop = self._node.journal.on_commit(self._committed)
        try:
            self._dirty.update(store.id for store in self._node.stores)
            async with anyio.create_task_group() as tasks:
                while True:
                    self._news = anyio.Event()
                    await self._round()
                    await self._reconcile(tasks)
                    await self._news.wait()
        finally:
            self._opened.clear()
            stop()

    # --- what clients say ---------------------------------------------------------------------------------------------

    def _committed(self, origin: Origin, seq: int) -> None:
        if self._wanted(origin):
            self._dirty.add(origin.store)
            self._news.set()

    def _wanted(self, origin: Origin) -> bool:
        authority = self._node.stores.authority(origin.store)
        return authority is not None and "client" in authority.roles(origin.node, origin.incarnation, 1)

    async def _round(self) -> None:
        for store in list(self._dirty):
            self._dirty.discard(store)
            if self._may(store):
                try:
                    await self._follower.follow(store, self._wanted)
                except BaseException:
                    self._dirty.add(store)
                    raise

    def _may(self, store: bytes) -> bool:
        authority = self._node.stores.authority(store)
        return authority is not None and authority.may(self._node.key.public, "accept")

    async def _take(self, heard: Sequence[Heard], rows: list[RowChange]) -> None:
        staged: dict[Place, Kept] = {}
        for one in heard:
            if one.target.kind != "node" or "client" not in one.roles:
                continue  # only a person's own clients say what accounts there are
            try:
                told = outgoing.decode(one.content)
            except RecordError:
                log.warning("what a client says of an account has not the form it should have")
                continue
            if isinstance(told, Account | AccountRemoved) and told.node == self._node.key.public:
                self._stage(staged, one, told)
        values: dict[str, bytes | None] = {
            _row(store, name): encoding.encode([store, kept.rank, kept.told.pack()])
            for (store, name), kept in staged.items()
        }
        await self._node.journal.commit((), rows=[*rows, *self._node.rows.sealed(SPACE, values)])
        self._kept.update(staged)

    def _stage(self, staged: dict[Place, Kept], one: Heard, told: Account | AccountRemoved) -> None:
        place = (one.origin.store, told.name)
        rank = b"%020d" % told.time + one.origin.node + one.origin.incarnation + one.seq.to_bytes(8, "big")
        known = staged.get(place) or self._kept.get(place)
        if known is None and sum(store == place[0] for store, _ in {*self._kept, *staged}) >= MOST:
            log.warning("a store has more accounts than this node holds")
        elif known is None or known.rank < rank:
            staged[place] = Kept(rank, told)

    # --- open ---------------------------------------------------------------------------------------------------------

    async def _reconcile(self, tasks: TaskGroup) -> None:
        """Close what is gone or changed, open what is new."""
        wanted = {
            place: kept.told
            for place, kept in self._kept.items()
            if isinstance(kept.told, Account) and self._may(place[0])
        }
        stale = [place for place, one in self._opened.items() if wanted.get(place) != one.account]
        for place in stale:
            self._opened[place].life.cancel()
        for place in stale:
            await self._opened.pop(place).ended.wait()
        for place, account in wanted.items():
            if place not in self._opened:
                one = self._opened[place] = Opened(self._node, place[0], account)
                tasks.start_soon(one.run)

    # --- what clients ask ---------------------------------------------------------------------------------------------

    def _client(self, store: bytes, origin: bytes) -> None:
        held = self._node.stores.get(store)
        if held is None or not held.authority.may(origin, "client"):
            raise Refused("only the store's clients may ask for its accounts")

    async def _states(self, store: bytes, origin: bytes, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
        self._client(store, origin)
        rows = [{key: row[key] for key in TOLD} for row in self.listing(store)]
        for at in range(0, len(rows), AT_ONCE):
            yield [*rows[at : at + AT_ONCE]]

    def listing(self, store: bytes) -> list[dict[str, Any]]:
        """How the accounts of a store are on this node; never their settings or secrets."""
        found: list[dict[str, Any]] = []
        for (owner, name), kept in sorted(self._kept.items()):
            if owner != store or not isinstance(kept.told, Account):
                continue
            one = self._opened.get((owner, name))
            state = one.state if one is not None else {"state": "down", "why": "the node is not running"}
            found.append({"name": name, "use": kept.told.use, "time": kept.told.time, **NOTHING, **state})
        return found

    async def _ask(self, store: bytes, origin: bytes, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
        self._client(store, origin)
        match value:
            case [str(account), str(name), said]:
                pass
            case _:
                raise Refused("a request to an account has the wrong form")
        one = self._opened.get((store, account))
        if one is None:
            raise Refused("this node holds no such account", "`mesyx account list` shows which node does")
        if one.role is None:
            raise Temporary("the account is not connected now", "`mesyx account list` says why")
        if not isinstance(one.role, Answers):
            raise Refused("accounts of this plugin answer nothing")
        async with aclosing(_safely(one.role, name, said)) as answers:
            async for answer in answers:
                yield answer


NOTHING: Final = {"state": "down", "why": "", "seconds": 0, "restarts": 0}


async def _safely(role: Answers, name: str, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
    """What a plugin answers; its faults as something that another node may read."""
    try:
        async for answer in role.answer(name, value):
            yield answer
    except MesyxError:
        raise
    except Exception as error:
        log.error("an account failed to answer: %s at %s", type(error).__name__, faults.place(error))
        raise Temporary("the account failed to answer") from None


def _row(store: bytes, name: str) -> str:
    """A row's key shows on the disk, so the account's name is not in it."""
    return digest(labels.ACCOUNT, store, name).hex()
