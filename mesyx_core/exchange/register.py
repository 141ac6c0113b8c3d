"""Invitations that this node has issued, in sealed rows of its journal: who used which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from mesyx_core.vault.encoding import decode, encode

from .invitation import Invitation, decode_line

SPACE: Final = "invitations"
_LIMIT: Final = 16 << 10


class Rows(Protocol):
    """The journal, as far as the register needs it."""

    async def get(self, space: str, key: str) -> bytes | None: ...

    async def put(self, space: str, changes: Mapping[str, bytes | None]) -> None: ...

    async def rows(self, space: str) -> dict[str, bytes]: ...


class Sealer(Protocol):
    """A node key, as far as the register needs it."""

    def seal_row(self, space: str, key: str, value: bytes) -> bytes: ...

    def open_row(self, space: str, key: str, sealed: bytes) -> bytes: ...


class Issued(NamedTuple):
    """An invitation and what became of it."""

    invitation: Invitation
    client: bytes = b""
    """Key of the node that used it; empty while it is good."""
    store: bytes = b""
    keys: str = ""
    """The recipient for a client's private keys, shown to whoever uses the invitation."""
    done: bool = False
    """All that it grants was granted: what the operator has taken back since does not come again with it."""

    @property
    def spent(self) -> bool:
        return bool(self.client)


class Register:
    """Kept under the node's key: a copy of the disk gives no invitation away."""

    def __init__(self, rows: Rows, key: Sealer) -> None:
        self._rows = rows
        self._key = key

    async def issue(self, invitation: Invitation, keys: str = "") -> None:
        """Durable on return."""
        await self._keep(Issued(invitation, keys=keys))

    async def find(self, id: bytes) -> Issued | None:
        """By the id that a client shows."""
        key = id.hex()
        sealed = await self._rows.get(SPACE, key)
        return None if sealed is None else self._open(key, sealed)

    async def spend(self, issued: Issued, client: bytes, store: bytes) -> None:
        """It is good for no other client and store from now on. Durable on return."""
        await self._keep(issued._replace(client=client, store=store))

    async def finish(self, issued: Issued, client: bytes, store: bytes) -> None:
        """It has had its effect. Durable on return."""
        await self._keep(issued._replace(client=client, store=store, done=True))

    async def withdraw(self, id: bytes) -> None:
        """Forget it; harmless when it is not known."""
        await self._rows.put(SPACE, {id.hex(): None})

    async def all(self) -> list[Issued]:
        """Those that can be used come first, in order of expiry."""
        rows = await self._rows.rows(SPACE)
        issued = [self._open(key, sealed) for key, sealed in rows.items()]
        return sorted(issued, key=lambda one: (one.spent, one.invitation.expires))

    async def _keep(self, issued: Issued) -> None:
        key = issued.invitation.id.hex()
        value = encode((1, issued.invitation.encode(), issued.client, issued.store, issued.keys, issued.done))
        await self._rows.put(SPACE, {key: self._key.seal_row(SPACE, key, value)})

    def _open(self, key: str, sealed: bytes) -> Issued:
        row: list[Any] = decode(self._key.open_row(SPACE, key, sealed), limit=_LIMIT)
        _, line, client, store, keys, *done = row
        return Issued(decode_line(line), client, store, keys, any(done))
