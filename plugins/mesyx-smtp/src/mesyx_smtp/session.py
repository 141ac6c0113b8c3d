"""One SMTP connection: the engine on an asyncio transport, and one task that does what its events ask for."""

from __future__ import annotations

import asyncio
import logging
import traceback
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, cast

from mesyx_core.api import Delivery, Message, MesyxError, Peer
from mesyx_smtp import replies, trace
from mesyx_smtp.engine import Engine
from mesyx_smtp.events import Close, Content, Event, Login, Recipient, StartTls
from mesyx_smtp.patience import Patience
from mesyx_smtp.transaction import Transaction

if TYPE_CHECKING:
    from mesyx_smtp.server import Server

log = logging.getLogger(__name__)

BUFFERED = 256 * 1024
"""Input that waits, in bytes, above which the peer is made to wait."""


BUSY = 1.0
"""Seconds until the watchdog looks again at a session that is at work."""


class Session(asyncio.Protocol):
    """Reads as long as it can keep up, speaks as long as the peer listens. One watchdog, no timeout per read."""

    def __init__(self, server: Server, peer: Peer, engine: Engine) -> None:
        self.peer = peer
        self.engine = engine
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._input: asyncio.Future[Event | None] | None = None  # the task waits here for an event
        self._room: asyncio.Future[None] | None = None  # replies wait here while the peer does not read them
        self._reading = True
        self._committing = False
        self._closing = False
        self._lost = False
        self.tls = ""
        """Version and cipher, once TLS is on."""
        self._patience = Patience(server.config.timeouts, engine, self._loop.time())

    # --- called by the loop -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        refusal = self._server.enter(self)
        if refusal is not None:
            transport.write(refusal)
            transport.close()
            return
        if self._server.implicit:
            self._secured()
        self.engine.greet()
        self._flush()
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._ended)
        self._watch()

    def data_received(self, data: bytes) -> None:
        self.engine.feed(data)
        self._patience.came(len(data), self._loop.time())
        if self._input is not None and self._room is None:
            self._work()
        elif self._reading and self.engine.buffered > BUFFERED:
            self._reading = False
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        if self._task is None:
            return
        if self._task.done():
            self._server.leave(self)
        elif not self._committing:  # a commit goes on: what is kept must not depend on when the peer hangs up
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._lost:
            self._server.leave(self)

    # --- called by the server ----------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End as soon as no message is under way."""
        self.engine.shutdown()
        if self._input is not None:
            self._work()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    def _watch(self) -> None:
        """The watchdog: looks when a limit could have been passed, and again at the next such time."""
        limits, now = self._server.config.timeouts, self._loop.time()
        least = 0.0
        if self._closing:
            self._transport.abort()
            return
        if self.busy:
            self._patience.answered(now)
            least = BUSY
        left = max(self._patience.left(now), least)
        if left > 0:
            self._timer = self._loop.call_later(min(left, limits.command, limits.data, limits.message), self._watch)
        else:
            self._timer = self._loop.call_later(limits.command, self._watch)
            self.expire()

    @property
    def busy(self) -> bool:
        """It is we who work, and the peer who waits."""
        return self._input is None and self._room is None

    def expire(self) -> None:
        """Time is up: say so if it is heard, and close."""
        if self._room is not None:
            self.abort()
        else:
            self.engine.timeout()
            self._work()

    # --- the task -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            event = await self._event()
            while not isinstance(event, Close):
                after: Event | None = None
                if isinstance(event, Recipient):
                    after = await self._deliver(event)
                elif isinstance(event, StartTls):
                    await self._start_tls()
                elif isinstance(event, Login):
                    await self.login(event)
                event = await self._event() if after is None else after
            self._closing = True
            self._transport.close()
        except OSError:  # TLS could not be agreed on, or the peer went in the middle of it
            self._transport.abort()
            self.connection_lost(None)  # asyncio does not tell the protocol of a handshake's failure
        except Exception as error:
            tell(error)
            self._transport.abort()

    async def _event(self) -> Event:
        """The next thing to do; what is to be said before is sent."""
        while not self._lost:
            if self._room is not None:
                await self._room
                continue
            event = self.engine.next()
            self._flush()
            if event is not None:
                return event
            if self._room is not None:
                continue
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()
            self._input = self._loop.create_future()
            event = await self._input
            if event is not None:
                return event
        return Close()

    def _work(self) -> None:
        """While the task waits: let the engine go on. What needs no task is answered right here."""
        event = self.engine.next()
        self._flush()
        if event is not None or self._room is not None:
            waiting, self._input = self._input, None
            if waiting is not None and not waiting.done():
                waiting.set_result(event)

    def _flush(self) -> None:
        data = self.engine.output()
        if data and not self._lost:
            self._patience.answered(self._loop.time())
            self._transport.write(data)

    async def _start_tls(self) -> None:
        if self.engine.buffered:
            self.engine.insecure()
            return
        self._transport.write(replies.START_TLS)
        context, limit = self._server.tls.context, self._server.config.timeouts.tls
        assert context is not None
        transport = await self._loop.start_tls(
            self._transport, self, context, server_side=True, ssl_handshake_timeout=limit
        )
        if transport is None:
            raise ConnectionResetError
        self._transport = transport
        self._reading = True
        self._secured()

    def _secured(self) -> None:
        self.engine.secured()
        link = self._transport.get_extra_info("ssl_object")
        self.tls = f"{link.version()} {link.cipher()[0]}"

    # --- a message ----------------------------------------------------------------------------------------------------

    async def _deliver(self, event: Event) -> Event | None:
        """A delivery, from its first recipient to its end. Gives the event that ended it, if any did."""
        transaction = self.engine.transaction
        assert transaction is not None
        code, status = 451, "4.3.0"
        try:
            async with self.begin(transaction) as delivery:
                event = await self._recipients(delivery, event)
                code, status = 452, "4.3.1"
                if isinstance(event, Content):
                    await delivery.trace(self.trace(transaction))
                while isinstance(event, Content):
                    await delivery.write(event.data)
                    if event.last:
                        code, status = 451, "4.3.0"
                        await self._commit(delivery)
                        return None
                    event = await self._event()
                return event
        except MesyxError as error:
            self.engine.fail(replies.failure(error, code, status))
        except Exception as error:
            tell(error)
            self.engine.fail(replies.INTERNAL)
        return None

    async def _recipients(self, delivery: Delivery, event: Event) -> Event:
        while isinstance(event, Recipient):
            try:
                self.engine.recipient(await delivery.recipient(event.address))
            except MesyxError as error:
                self.engine.fail(replies.failure(error))
            except Exception as error:
                tell(error)
                self.engine.fail(replies.INTERNAL)
            event = await self._event()
        return event

    async def _commit(self, delivery: Delivery) -> None:
        self._committing = True
        try:
            self.engine.kept(await delivery.commit())
            self._flush()
        finally:
            self._committing = False

    # --- what an MX does with it; submission does otherwise -----------------------------------------------------------

    def begin(self, transaction: Transaction) -> AbstractAsyncContextManager[Delivery]:
        """A delivery for its recipients and content."""
        return self._server.context.deliver(self._draft(transaction))

    async def login(self, event: Login) -> None:
        """Answer a Login event; an MX's engine has none."""

    @property
    def protocol(self) -> str:
        """RFC 3848; RFC 6531, section 4.3."""
        transaction = self.engine.transaction
        utf8 = "UTF8" if transaction is not None and transaction.utf8 else ""
        return utf8 + ("ESMTP" if self.engine.extended and not utf8 else "SMTP") + ("S" if self.engine.secure else "")

    def _draft(self, transaction: Transaction) -> Message:
        return Message(
            kind="mail",
            time=self._server.context.now(),
            sender=transaction.sender,
            account=self._server.context.instance,
            envelope={
                "reverse_path": transaction.sender,
                "peer": self.peer.host,
                "port": self.peer.port,
                "hello": self.engine.hello,
                "protocol": self.protocol,
                "tls": self.tls,
                "eight_bit": transaction.eight_bit,
                **transaction.envelope,
            },
        )

    def trace(self, transaction: Transaction) -> bytes:
        return trace.headers(
            sender=transaction.sender,
            hello=self.engine.hello,
            peer=trace.literal(self.peer.host),
            host=self._server.hostname,
            protocol=self.protocol,
            recipients=transaction.recipients,
            time=self._server.context.now(),
        )


def tell(error: Exception) -> None:
    """Log an error of our own by type and place; its text could hold somebody's mail."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    log.error("smtp: %s at %s", type(error).__name__, place)
