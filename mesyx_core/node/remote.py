"""What a client's programs reach on gateways by signals: accounts that are held there, and what these tell."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from pydantic import JsonValue

from mesyx_core.api import Event

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

ASK: Final = "account"
EVENT: Final = "event"
PATIENCE: Final = 120.0
HELD: Final = 256
"""Events that one program has not read yet; what comes on top of them is lost to it."""


class Events:
    """Hands events that come on to who is attached."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._listening: dict[bytes, set[MemoryObjectSendStream[Event]]] = {}
        node.exchange.signals.hears[EVENT] = self.hear

    async def hear(self, store: bytes, origin: bytes, value: JsonValue) -> None:
        """An event that a node tells. Only gateways have any to tell."""
        held = self._node.stores.get(store)
        if held is None or not held.authority.may(origin, "accept"):
            return
        match value:
            case [str(account), str(name), said]:
                for one in self._listening.get(store, ()):
                    with suppress(anyio.WouldBlock):
                        one.send_nowait(Event(account=account, name=name, value=said))

    async def of(self, store: bytes) -> AsyncGenerator[Event, None]:
        """Events of a store, from now on."""
        send, receive = anyio.create_memory_object_stream[Event](HELD)
        listening = self._listening.setdefault(store, set())
        listening.add(send)
        try:
            with self._node.exchange.attached(store), send, receive:
                async for event in receive:
                    yield event
        finally:
            listening.discard(send)


class Remote:
    """Implements `mailbox.account.Signals` for one store."""

    def __init__(self, node: Node, store: bytes) -> None:
        self._node = node
        self._store = store

    async def ask(self, node: bytes, account: str, name: str, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
        asked = self._node.exchange.ask(self._store, node, ASK, [account, name, value], PATIENCE)
        async with aclosing(asked) as answers:
            async for answer in answers:
                yield answer

    def events(self) -> AsyncGenerator[Event, None]:
        return self._node.events.of(self._store)
