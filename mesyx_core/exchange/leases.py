"""Who has a program attached: a client's node tells its gateways so, again and again, for as long as that is so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
from pydantic import JsonValue

from mesyx_core.api import MesyxError
from mesyx_core.vault.authority import Authority

LEASE: Final = "lease"
"""The event."""
RENEWED: Final = 20.0
"""Seconds between two events that renew a lease."""
GOOD: Final = 60.0
"""Seconds for which a lease is good."""


class Leases:
    """Those that this node holds at gateways, and those that clients hold here."""

    def __init__(
        self,
        me: bytes,
        monotonic: Callable[[], float],
        authority: Callable[[bytes], Authority | None],
        tell: Callable[[bytes, bytes, str, JsonValue], bool],
    ) -> None:
        """`authority` of a store, None for one that is not held; `tell` sends an event."""
        self._me = me
        self._monotonic = monotonic
        self._authority = authority
        self._tell = tell
        self._held: dict[bytes, dict[bytes, float]] = {}
        self._attached: Counter[bytes] = Counter()
        self._changed = anyio.Event()

    @contextmanager
    def attached(self, store: bytes) -> Iterator[None]:
        """See `Exchange.attached`."""
        self._attached[store] += 1
        self._changed.set()
        try:
            yield
        finally:
            self._attached[store] -= 1
            if not self._attached[store]:
                del self._attached[store]
            self._changed.set()

    def joined(self, store: bytes) -> None:
        """There is a new way to somebody who may not know of a lease."""
        if self._attached[store]:
            self._changed.set()

    async def renew(self) -> None:
        """Keep the leases of programs that are attached, until cancelled."""
        before: set[bytes] = set()
        while True:
            self._changed = anyio.Event()
            now = set(self._attached)
            for store in before | now:
                self._say(store, GOOD if store in now else 0.0)
            before = now
            with anyio.move_on_after(RENEWED):
                await self._changed.wait()

    def _say(self, store: bytes, seconds: float) -> None:
        for gateway in self._gateways(store):
            with suppress(MesyxError):
                self._tell(store, gateway, LEASE, seconds)

    def _gateways(self, store: bytes) -> Iterable[bytes]:
        authority = self._authority(store)
        members = authority.effective.members if authority is not None else ()
        return [member.node for member in members if "accept" in member.roles and member.node != self._me]

    async def hear(self, store: bytes, node: bytes, value: JsonValue) -> None:
        """A node says for how many seconds more somebody is attached there. Only clients have anybody."""
        authority = self._authority(store)
        if authority is None or not authority.may(node, "client"):
            return
        if isinstance(value, int | float) and value > 0:
            self._held.setdefault(store, {})[node] = self._monotonic() + min(float(value), GOOD)
        else:
            self._held.get(store, {}).pop(node, None)

    def of(self, store: bytes) -> Collection[bytes]:
        """See `Exchange.leases`."""
        now = self._monotonic()
        held = {node: until for node, until in self._held.get(store, {}).items() if until > now}
        if self._attached[store]:
            held[self._me] = now
        return held.keys()
