"""One connection to one server: drives the client over a stream, and holds the server to its time."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from mesyx_core.api import Body, Misconfigured
from mesyx_smtp.egress.client import Client, Close, Content, Phase, StartTls
from mesyx_smtp.egress.config import Patience
from mesyx_smtp.egress.content import Stuffer

LAST_WORDS: Final = 5.0
"""Seconds in which a server that stopped reading may still say why."""

_PLACES: Final = {"greeting": "the greeting", "command": "a command", "data": "DATA", "end": "the end of the message"}
_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class TlsFailed(Exception):
    """The handshake failed, or the certificate did not do."""

    def __init__(self, why: str) -> None:
        self.why = why


class Trust(NamedTuple):
    """TLS towards servers, by what is asked of them."""

    any: ssl.SSLContext
    """Better than nothing, whoever it is (RFC 7435)."""
    verified: ssl.SSLContext


def trust(authorities: Path | None) -> Trust:
    """Reads the certificates. Raises Misconfigured, naming the file."""
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname = False
    lax.verify_mode = ssl.CERT_NONE
    lax.set_ciphers("DEFAULT:@SECLEVEL=1")  # a short key keeps out more readers than plain text does
    try:
        strict = ssl.create_default_context(cafile=authorities)
    except OSError:
        raise Misconfigured(
            f"tls_ca {authorities} is no file of PEM certificates that can be read", "name such a file, or leave it out"
        ) from None
    # the same with every Python: 3.13 has begun to refuse certificates for fields that people's own often lack, and to
    # trust what the file names even if it is not self-signed
    strict.verify_flags = (strict.verify_flags & ~ssl.VERIFY_X509_STRICT) | ssl.VERIFY_X509_PARTIAL_CHAIN
    return Trust(lax, strict)


async def secure(stream: ByteStream, context: ssl.SSLContext, host: str, seconds: float) -> TLSStream:
    """TLS on top of `stream`. Raises TlsFailed."""
    try:
        with anyio.fail_after(seconds):
            return await TLSStream.wrap(
                stream, server_side=False, hostname=host, ssl_context=context, standard_compatible=False
            )
    except ssl.SSLCertVerificationError as error:
        raise TlsFailed(f"certificate not trusted: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise TlsFailed((error.reason or "handshake failed").lower().replace("_", " ")) from None
    except TimeoutError:
        raise TlsFailed("timed out") from None
    except (*_GONE, ValueError):
        raise TlsFailed("handshake failed") from None


class _Lost(Exception):
    """The stream is of no more use."""


async def converse(
    stream: ByteStream,
    client: Client,
    body: Body,
    patience: Patience,
    encrypt: Callable[[ByteStream], Awaitable[ByteStream]],
    seconds: float,
) -> None:
    """Run a client to its end, for `seconds` at most; every recipient then has a fate. Does not close the stream.
    Raises what `encrypt` and `body` raise; then not all have one."""
    try:
        with anyio.fail_after(seconds):
            await _converse(stream, client, body, patience, encrypt)
    except TimeoutError:
        client.lost(f"4.4.2 took too long, at {_PLACES[client.phase]}")
    except _Lost as error:
        client.lost(f"4.4.2 {error} at {_PLACES[client.phase]}")


async def _converse(
    stream: ByteStream,
    client: Client,
    body: Body,
    patience: Patience,
    encrypt: Callable[[ByteStream], Awaitable[ByteStream]],
) -> None:
    waiting, deadline = (-1, ""), 0.0
    while not isinstance(event := client.next(), Close):
        if (client.heard, client.phase) != waiting:  # a reply that drips in is one reply, with one deadline
            waiting = (client.heard, client.phase)
            deadline = anyio.current_time() + _limit(patience, client.phase)
        await _send(stream, client.output(), patience.block)
        if isinstance(event, StartTls):
            stream = await encrypt(stream)
            client.secured()
        elif isinstance(event, Content):
            await _content(stream, client, body, patience.block)
        else:
            client.feed(await _receive(stream, deadline - anyio.current_time()))
    with suppress(_Lost):
        await _send(stream, client.output(), LAST_WORDS)


async def _content(stream: ByteStream, client: Client, body: Body, seconds: float) -> None:
    stuffer = Stuffer()
    async for chunk in body.read():
        try:
            await _send(stream, stuffer.feed(chunk), seconds)
        except _Lost as error:
            await _last_words(stream, client)
            raise _Lost(f"{error} while the message was sent,") from None
    client.ending(stuffer.end())


async def _last_words(stream: ByteStream, client: Client) -> None:
    """Why the server stopped taking the message, if it says so; it cannot have been delivered."""
    deadline = anyio.current_time() + LAST_WORDS
    with suppress(_Lost):
        while client.next() is None:
            client.feed(await _receive(stream, deadline - anyio.current_time()))


async def _send(stream: ByteStream, data: bytes, seconds: float) -> None:
    if data:
        with _known(), anyio.fail_after(seconds):
            await stream.send(data)


async def _receive(stream: ByteStream, seconds: float) -> bytes:
    with _known(), anyio.fail_after(seconds):
        return await stream.receive()
    raise AssertionError  # for mypy: _known swallows nothing


@contextmanager
def _known() -> Iterator[None]:
    """What streams raise, as one error."""
    try:
        yield
    except TimeoutError:
        raise _Lost("timed out") from None
    except _GONE:
        raise _Lost("connection lost") from None


def _limit(patience: Patience, phase: Phase) -> float:
    return {
        "greeting": patience.greeting,
        "command": patience.command,
        "data": patience.data,
        "end": patience.end,
    }[phase]
