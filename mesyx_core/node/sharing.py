"""New private keys for a store's other clients: each asks for those that the manifest lists and that it may have.

They go inside a signal, which is sealed to the node, sealed once more to a key that was made for the request and is
forgotten with it: whoever records what goes by, and gets hold of the node later, opens nothing. They are never in the
log.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync
from pydantic import JsonValue

from mesyx_core.api import MesyxError, Refused
from mesyx_core.node import faults, governing, handover, keysets, membership
from mesyx_core.node.stores import Store
from mesyx_core.vault import age
from mesyx_core.vault.keyset import key_id
from mesyx_core.vault.names import NamesError
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

log = logging.getLogger(__name__)

NAME: Final = "keys"
PATIENCE: Final = 20.0
PAUSES: Final = (1.0, 5.0, 15.0, 60.0)
"""Seconds until the others are asked again for what none of them has given."""
MOST: Final = 500
"""Keys in one request."""
ON_NODE: Final = "on node "
AT_ONCE: Final = 100
"""Keys in one answer."""


class Sharing:
    """Made with the node; `run` in a task."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._news = anyio.Event()
        node.exchange.signals.answers[NAME] = self._answer

    def look(self) -> None:
        """A manifest came, or a store was unlocked."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        await faults.again("asking for private keys", self._run)

    async def _run(self) -> None:
        tries = 0
        while True:
            self._news = anyio.Event()
            lacking = [store for store in self._node.stores if await self.fetch(store)]
            if not lacking:
                await self._news.wait()
            with anyio.move_on_after(PAUSES[min(tries, len(PAUSES) - 1)]) as waiting:
                await self._news.wait()
            tries = tries + 1 if waiting.cancelled_caught else 0

    # --- asking -------------------------------------------------------------------------------------------------------

    async def fetch(self, store: Store) -> frozenset[str]:
        """Ask the other clients for the keys that this one may have and has not got; recipients of those that none of
        them gave."""
        lacking = await self.lacking(store)
        for member in store.manifest.members if lacking else ():
            if "client" in member.roles and member.node != self._node.key.public:
                try:
                    await self._ask(store, member.node, lacking)
                except MesyxError as error:
                    log.debug("a client gave no private keys: %s", error.what)
                lacking = await self.lacking(store)
        return lacking

    async def lacking(self, store: Store) -> frozenset[str]:
        """Recipients of keys that this client may have, and should: those of keysets that a key is kept of."""
        if store.secrets is None:
            return frozenset()
        wanted = _wanted(store, self._node.key.public)
        held = await run_sync(self._node.keyring.held, store.id)
        given_up = await self._node.sightings.given_up(store.id)
        return frozenset(one for one in wanted if key_id(one) not in held | given_up)

    async def _ask(self, store: Store, node: bytes, wanted: frozenset[str]) -> None:
        to = await run_sync(age.generate)
        ids: list[JsonValue] = [*sorted(key_id(one).hex() for one in wanted)[:MOST]]
        asked = self._node.exchange.ask(store.id, node, NAME, {"to": to.recipient, "keys": ids}, PATIENCE)
        async with aclosing(asked) as answers:
            async for answer in answers:
                brought = await run_sync(handover.opened, _file(answer), store.id, to)
                fresh = [text for text in brought if age.parse_identity(text).recipient in wanted]
                added = await self._node.mailboxes.add_keys(store, fresh)
                await self._node.sightings.note(store.id, added, f"{ON_NODE}{_called(store, node)}")
                log.info("%d private keys came from another client", len(fresh))

    # --- answering ----------------------------------------------------------------------------------------------------

    async def _answer(self, store: bytes, origin: bytes, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
        held = self._node.stores.get(store)
        if held is None or held.secrets is None:
            raise Refused("the store is locked there", "unlock it there")
        if not held.authority.may(origin, "client"):
            raise Refused("only clients are given private keys")
        to, ids = _request(value)
        allowed = _allowed(held, origin)
        picked = await run_sync(_picked, held.secrets.keys(), allowed, ids)
        for at in range(0, len(picked), AT_ONCE):
            some = picked[at : at + AT_ONCE]
            sealed = await run_sync(handover.sealed, store, tuple(one.text for one in some), to)
            yield base64.b64encode(sealed).decode("ascii")
        given = [key_id(one.recipient) for one in picked]
        await self._node.sightings.note(store, given, f"{ON_NODE}{_called(held, origin)}")


def _allowed(store: Store, node: bytes) -> frozenset[str]:
    """What a client may be given: by what it was added for, and nothing that is due to be destroyed."""
    assert store.secrets is not None
    try:
        roster = Roster.of(store.manifest, store.secrets.keys())
    except NamesError:
        raise Refused("that client cannot read what may be given") from None
    return roster.held_by(node) & _kept(roster)


def _kept(roster: Roster) -> frozenset[str]:
    now = keysets.clock()
    kept = {one for keyset in roster.keysets if not roster.due(keyset, now) for one in keyset.recipients}
    return frozenset(kept | set(roster.clients))


def _wanted(store: Store, node: bytes) -> frozenset[str]:
    """What this client may have. Where it cannot read that, since the clients have a new key, all there is: the others
    know."""
    assert store.secrets is not None
    try:
        roster = Roster.of(store.manifest, store.secrets.keys())
    except NamesError:
        manifest = store.manifest
        return frozenset(manifest.clients).union(*(keyset.recipients for keyset in manifest.keysets))
    return roster.held_by(node) & _kept(roster)


def _picked(identities: Sequence[age.Identity], allowed: frozenset[str], ids: frozenset[str]) -> list[age.Identity]:
    return [one for one in identities if one.recipient in allowed and key_id(one.recipient).hex() in ids]


def _called(store: Store, node: bytes) -> str:
    return membership.called(governing.known_names(store), node)


def _request(value: JsonValue) -> tuple[str, frozenset[str]]:
    match value:
        case {"to": str(to), "keys": list(ids)} if len(ids) <= MOST:
            return to, frozenset(str(one) for one in ids)
    raise Refused("a request for keys of the wrong form", "use the same release on both nodes")


def _file(answer: JsonValue) -> bytes:
    try:
        return base64.b64decode(str(answer), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("an answer with keys of the wrong form") from None
