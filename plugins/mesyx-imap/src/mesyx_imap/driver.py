"""An asyncio Protocol around a session: sockets, TLS, time and back-pressure, and nothing of IMAP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from mesyx_core.api import Locked, MesyxError, Peer, Tls
from mesyx_core.wire.limits import Budget
from mesyx_imap.limits import Limits
from mesyx_imap.output import Closed
from mesyx_imap.reader import Fault, Reader
from mesyx_imap.session import Session

_T = TypeVar("_T")
_HIGH = 256 << 10
"""Octets that may wait, each way."""
_NEVER = float("inf")
_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One client. Implements `Wire` for its session."""

    def __init__(
        self,
        peer: Peer,
        tls: Tls,
        limits: Limits,
        budget: Budget,
        clock: Callable[[], float],
        session: Callable[[Connection], Session],
        began: Callable[[Connection], None],
        ended: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self._peer = peer
        self._tls = tls
        self._limits = limits
        self._clock = clock
        self._reader = Reader(limits, budget)
        self._began = began
        self._ended = ended
        self._session = session(self)
        self._transport: asyncio.Transport | None = None
        self._secured = False
        self._admitted = False
        self._lost = False
        self._held = False
        self._input = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._watcher: asyncio.Task[None] | None = None
        self._watched: object = None
        self._serving: asyncio.Task[None] | None = None
        self._login_by = clock() + limits.login_time
        self._read_by = self._login_by
        self._write_by = _NEVER
        self._watchdog: asyncio.TimerHandle | None = None

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._adopt(cast(asyncio.Transport, transport))  # uvloop's is not one by class
        self._secured = transport.get_extra_info("sslcontext") is not None
        self._began(self)
        self._serving = asyncio.get_running_loop().create_task(self._serve())
        self._guard()

    def _adopt(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._input.set()
        if self._reader.size > _HIGH and not self._held and self._transport:
            self._held = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._writable.clear()
        self._write_by = self._clock() + self._limits.read_time

    def resume_writing(self) -> None:
        self._writable.set()
        self._write_by = _NEVER

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._input.set()
        self._writable.set()
        if self._watchdog:
            self._watchdog.cancel()

    # --- Wire ---

    @property
    def local(self) -> bool:
        return self._peer.local

    @property
    def secure(self) -> bool:
        return self._secured

    @property
    def upgradable(self) -> bool:
        return self._tls.mode == "starttls" and self._tls.context is not None and not self._secured

    @property
    def congested(self) -> bool:
        return not self._writable.is_set()

    def send(self, data: bytes | memoryview) -> None:
        if self._lost or self._transport is None:
            raise Closed
        self._transport.write(data)

    async def drain(self) -> None:
        if not self._writable.is_set():
            await self._writable.wait()
        if self._lost:
            raise Closed

    async def line(self) -> bytes:
        line: bytes | Fault = await self._next(self._reader.line)
        if isinstance(line, Fault):
            raise Closed
        return line

    def hold(self) -> None:
        if self._reader.size or self._transport is None:
            raise Closed  # what was sent in clear must not be acted upon under TLS
        self._transport.pause_reading()

    def admitted(self) -> None:
        self._admitted = True
        self._peer.welcome()
        self._reader.admit()

    # --- for the listener ---

    @property
    def owner(self) -> bytes | None:
        """The store of who has logged in."""
        return self._session.owner

    def stop(self) -> None:
        """The node stops: close now if nothing runs but IDLE, else once the command that runs is done."""
        self._session.ended = True
        if not self._busy:
            self._leave(b"Server is stopping")

    def _leave(self, why: bytes) -> None:
        with contextlib.suppress(Closed):
            self.send(b"* BYE %b\r\n" % why)
        if self._transport:
            self._transport.close()

    @property
    def _busy(self) -> bool:
        """A command runs that is not IDLE."""
        return self._read_by == _NEVER

    # --- the loop ---

    async def _serve(self) -> None:
        try:
            await self._session.greet()
            while not self._session.ended:
                await self._session.handle(await self._next(self._reader.next))
                self._reader.release()
                if self._session.upgrade:
                    self._session.upgrade = False
                    await self._begin_tls()
                self._follow()
        except (Closed, OSError):  # also what a TLS handshake fails with
            pass
        except Exception as error:
            _log.error("connection ended by %s", type(error).__name__)
        finally:
            self._finish()
            await self._ended(self)
            del self._session  # it knows us: what it has of a mailbox would stay until the garbage collector comes by

    async def _next(self, take: Callable[[], _T | None]) -> _T:
        """What the reader gives next, waiting for input within the time allowed."""
        while (found := take()) is None:
            if self._lost:
                raise Closed
            self._input.clear()
            self._read_by = self._allowed()
            if self._held and self._transport:
                self._held = False
                self._transport.resume_reading()
            await self._input.wait()
        self._read_by = _NEVER
        return found

    def _allowed(self) -> float:
        """Until when input is waited for."""
        if not self._admitted:
            return self._login_by
        return self._clock() + (self._limits.read_time if self._reader.partial else self._limits.idle_time)

    async def _begin_tls(self) -> None:
        context = self._tls.context
        if context is None or self._transport is None:
            raise Closed
        transport = await asyncio.get_running_loop().start_tls(
            self._transport, self, context, server_side=True, ssl_handshake_timeout=self._limits.login_time
        )
        if transport is None:
            raise Closed
        self._secured = True
        self._adopt(transport)

    def _follow(self) -> None:
        """Watch the mailbox that is selected now, and no other."""
        current = self._session.current
        if current is self._watched:
            return
        if self._watcher:
            self._watcher.cancel()
        self._watched = current
        self._watcher = asyncio.get_running_loop().create_task(self._watch()) if current else None

    async def _watch(self) -> None:
        try:
            await self._session.watch()
        except Locked:  # and the view is of no use any more, also when the store is unlocked again
            self._session.ended = True
            if not self._busy:
                self._leave(b"The store was locked")
        except (MesyxError, Closed):
            pass  # a command will say what is wrong
        except Exception as error:
            _log.error("watching a mailbox ended by %s", type(error).__name__)

    def _guard(self) -> None:
        """The one timer of this connection: looks at the deadline, and comes again when that has moved."""
        left = min(self._read_by, self._write_by) - self._clock()
        if left <= 0:
            self._expire()
            return
        self._watchdog = asyncio.get_running_loop().call_later(min(left, self._limits.read_time), self._guard)

    def _expire(self) -> None:
        if self._writable.is_set():
            self._leave(b"Idle for too long")
        elif self._transport:
            self._transport.abort()

    def _finish(self) -> None:
        if self._watcher:
            self._watcher.cancel()
            self._watcher = None  # it keeps how it was cancelled, and with that its frames, and with them us
        if self._watchdog:
            self._watchdog.cancel()
        if self._transport:
            self._transport.close()
        self._reader.close()
