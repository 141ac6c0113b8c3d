"""The IMAP listener: its settings, and the role that the node opens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from pydantic import BaseModel, ByteSize, ConfigDict, Field, model_validator

from mesyx_core.api import Context, MesyxError, Peer, Provider, Tls
from mesyx_core.wire.limits import Budget
from mesyx_core.wire.tls import TlsSettings, in_clear
from mesyx_imap.commands import COMMANDS
from mesyx_imap.driver import Connection
from mesyx_imap.limits import Limits
from mesyx_imap.recent import Marks
from mesyx_imap.session import Session


class ImapSettings(BaseModel):
    """Mail programs read and write stores over IMAP."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    listen: str = Field(default="127.0.0.1:1143", examples=["127.0.0.1:1143", "0.0.0.0:993"])
    """Address to listen on, host:port."""
    tls: TlsSettings = TlsSettings()
    """TLS of this listener; it can be off on a loopback address only."""
    append_limit: ByteSize = Field(default=ByteSize(50 * 1024**2), ge=65536, examples=["50MiB"])
    """Largest message that a program may upload."""

    @model_validator(mode="after")
    def _private(self) -> ImapSettings:
        if in_clear(self.listen, self.tls):
            raise ValueError(
                'passwords would cross a network in clear; leave tls.mode out, or listen on "127.0.0.1:1143"'
            )
        return self


class Imap:
    """The access role: serves stores' views over IMAP4rev1."""

    def __init__(self, settings: ImapSettings, context: Context, tls: Tls) -> None:
        self._settings = settings
        self._context = context
        self._tls = tls
        self._limits = Limits(append=settings.append_limit)
        self._budget = Budget(max(self._limits.held, settings.append_limit))
        self._connections: set[Connection] = set()
        self._marks: dict[bytes, Marks] = {}

    async def run(self) -> None:
        """Serve until cancelled; then say so to everyone."""
        implicit = self._tls.context if self._tls.mode == "implicit" else None
        listener = await self._context.listen(self._settings.listen, self._connect, tls=implicit)
        self._context.report("up", f"IMAP on {listener.address}")
        try:
            await anyio.sleep_forever()
        finally:
            for connection in tuple(self._connections):
                connection.stop()

    def _connect(self, peer: Peer) -> Connection:
        return Connection(
            peer,
            self._tls,
            self._limits,
            self._budget,
            self._context.monotonic,
            self._session,
            self._connections.add,
            self._ended,
        )

    def _session(self, connection: Connection) -> Session:
        return Session(self._context, connection, COMMANDS, self._marks_of, self._limits)

    async def _marks_of(self, owner: bytes) -> Marks:
        """The store's marks, from the sealed state the first time."""
        if owner not in self._marks:
            kept = Marks.unpack(await self._context.state.get(_key(owner)))
            self._marks.setdefault(owner, kept)
        return self._marks[owner]

    async def _ended(self, connection: Connection) -> None:
        """Keep what the session has been told of, so that it is not recent again after a restart."""
        self._connections.discard(connection)
        owner = connection.owner
        if owner and (marks := self._marks.get(owner)) and marks.changed:
            with suppress(MesyxError):  # at worst something is recent twice
                await self._context.state.put({_key(owner): marks.pack()})


def _key(owner: bytes) -> str:
    return f"recent/{owner.hex()}"


@asynccontextmanager
async def open_imap(settings: ImapSettings, context: Context) -> AsyncIterator[Imap]:
    """Raises Misconfigured when the TLS files are broken."""
    yield Imap(settings, context, context.tls(settings.tls))


PROVIDER = Provider(name="imap", config=ImapSettings, open=open_imap, summary="IMAP4rev1 for mail programs")
