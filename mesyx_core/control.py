"""How a command speaks to a running node: JSON lines over a Unix socket in the state folder, for the node's own user
only.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import ByteReceiveStream, ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import JsonValue

from mesyx_core.api import errors
from mesyx_core.api.errors import MesyxError, Temporary

LIMIT: Final = 4 << 20
"""Longest line in either direction, bytes."""

log = logging.getLogger(__name__)

Verb = Callable[[str, Mapping[str, Any]], AsyncIterator[Mapping[str, JsonValue]]]


async def call(path: Path, verb: str, arguments: Mapping[str, JsonValue]) -> AsyncGenerator[dict[str, Any], None]:
    """Ask the node behind the socket. Yields {"progress": …} and at last {"result": …}; raises the error that the
    node raised.
    Raises ConnectionError when no node listens there."""
    async with await _connect(path) as stream:
        lines = BufferedByteReceiveStream(stream)
        question = json.dumps({"verb": verb, "arguments": arguments}).encode() + b"\n"
        while True:
            try:
                if question:
                    await stream.send(question)
                    question = b""
                answer = json.loads(await lines.receive_until(b"\n", LIMIT))
            except (anyio.IncompleteRead, anyio.BrokenResourceError) as error:
                raise Temporary(
                    "the node stopped while it worked on this", "see `mesyx status`, then try again"
                ) from error
            if "error" in answer:
                raise _revive(answer)
            yield answer
            if "result" in answer:
                return


@contextmanager
def _name(path: Path) -> Iterator[str]:
    """A name for the socket that fits into a socket address: a deep folder is reached by way of its descriptor."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def _connect(path: Path) -> ByteStream:
    try:
        with _name(path) as name:
            return await anyio.connect_unix(name)
    except OSError as error:
        raise ConnectionError("no node is running here") from error


@asynccontextmanager
async def listening(path: Path, handle: Verb) -> AsyncIterator[None]:
    """Serve commands while the scope is open. A stale socket is replaced: the caller holds the state lock."""
    _forget(path)
    old = os.umask(0o177)
    try:
        with _name(path) as name:
            listener = await anyio.create_unix_listener(name, mode=0o600)
    finally:
        os.umask(old)

    async def serve(stream: ByteStream) -> None:
        async with stream:
            with anyio.move_on_after(10):
                line = await _line(stream) if _trusted(stream) else None
            if line is not None:
                await _run(stream, handle, line)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()
            _forget(path)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _trusted(stream: ByteStream) -> bool:
    """The socket's mode keeps others out; where the system tells who called, this does so again."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    raw = stream.extra(SocketAttribute.raw_socket)
    _, user, _ = struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return user in (0, os.geteuid())


async def _line(stream: ByteReceiveStream) -> bytes | None:
    try:
        return await BufferedByteReceiveStream(stream).receive_until(b"\n", LIMIT)
    except (anyio.IncompleteRead, anyio.DelimiterNotFound, anyio.BrokenResourceError):
        return None


async def _run(stream: ByteStream, handle: Verb, line: bytes) -> None:
    try:
        request = json.loads(line)
        async for part in handle(str(request["verb"]), request["arguments"]):
            await stream.send(json.dumps(part).encode() + b"\n")
    except MesyxError as error:
        await _send_error(stream, _kind(error), error.what, error.remedy)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return
    except Exception as error:
        log.error("a command failed: %s", type(error).__name__)
        await _send_error(
            stream, "MesyxError", f"the node failed inside ({type(error).__name__})", "see the node's log"
        )


async def _send_error(stream: ByteStream, kind: str, what: str, remedy: str) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # nobody waits for it any more
        await stream.send(json.dumps({"error": kind, "what": what, "remedy": remedy}).encode() + b"\n")


def _kind(error: MesyxError) -> str:
    """The nearest type that the other side knows."""
    return next(t.__name__ for t in type(error).__mro__ if t.__module__ == errors.__name__)


def _revive(answer: Mapping[str, Any]) -> MesyxError:
    kind = getattr(errors, str(answer["error"]), MesyxError)
    if not (isinstance(kind, type) and issubclass(kind, MesyxError)):
        kind = MesyxError
    return kind(str(answer.get("what", "")), str(answer.get("remedy", "")))
