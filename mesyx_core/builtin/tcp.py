"""The tcp transport: bare TCP, for a LAN, a VPN, or behind a dialer. The exchange brings its own TLS inside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

import anyio
from anyio.abc import ByteStream
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mesyx_core.api import Context, Duplex, Peer, Permanent, Physics, Provider

SCHEME: Final = "tcp"
_EVERYWHERE: Final = ("0.0.0.0", "[::]", "")  # noqa: S104 - recognized, not bound


class TcpConfig(BaseModel):
    """`[transport.tcp]`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str = Field("", description="host:port to listen on; empty: only dials.", examples=["0.0.0.0:7440"])
    address: str = Field(
        "",
        description="URL under which other nodes dial this one, if it is not simply where it listens.",
        examples=["tcp://mx1.example.org:7440"],
    )
    via: str | None = Field(None, description="Name of the dialer to dial through.")

    @model_validator(mode="after")
    def _address_makes_sense(self) -> Self:
        if self.address:
            _split(self.address)
        return self


@asynccontextmanager
async def open_tcp(config: TcpConfig, context: Context) -> AsyncIterator[Duplex]:
    """The transport, not listening yet."""
    yield Tcp(config, context)


def provider() -> Provider:
    return Provider(name=SCHEME, config=TcpConfig, open=open_tcp, summary="Bare TCP to other nodes")


class Tcp:
    """Implements `api.Duplex`."""

    schemes: Final = frozenset({SCHEME})
    physics: Final = Physics(latency=0.05)

    def __init__(self, config: TcpConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._bound = config.listen

    @property
    def address(self) -> str:
        """As configured, else where it listens; empty when that is no address to dial."""
        host = self._bound.rpartition(":")[0]
        if self._config.address or host in _EVERYWHERE:
            return self._config.address
        return f"{SCHEME}://{self._bound}"

    async def connect(self, address: str) -> ByteStream:
        try:
            url = _split(address)
        except ValueError as error:
            raise Permanent(f"the address {address!r} {error}") from None
        host = f"[{url.hostname}]" if ":" in str(url.hostname) else url.hostname
        return await self._context.dial(f"{host}:{url.port}", via=self._config.via)

    async def run(self) -> None:
        if self._config.listen:
            listener = await self._context.serve(self._config.listen, self._serve)
            self._bound = listener.address
        self._context.report("up")
        await anyio.sleep_forever()

    async def _serve(self, stream: ByteStream, peer: Peer) -> None:
        await self._context.accept_stream(stream, peer)


def _split(address: str) -> SplitResult:
    """Raises ValueError, worded to follow "the address …"."""
    url = urlsplit(address)
    if url.scheme != SCHEME or not url.hostname or not url.port:
        raise ValueError(f"is not one of this transport: write {SCHEME}://HOST:PORT")
    return url
