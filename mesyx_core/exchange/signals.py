"""Requests with streams of answers, and events, between the members of a store: sealed, never logged, maybe lost."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from functools import partial
from itertools import chain, repeat
from typing import Final, TypeAlias

import anyio
from pydantic import JsonValue

from mesyx_core.api import MesyxError, Refused, Temporary
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.nodekey import NodeKey
from mesyx_core.wire.limits import Bucket

from .errors import NoAnswer
from .frames import Signal
from .leases import LEASE, Leases
from .relay import LIFETIME, Fate, Relay, Way
from .signal import ID, MAX_NAME, MAX_NUMBER, Body, Word, open_, seal
from .standing import Standing

log = logging.getLogger(__name__)

Answering: TypeAlias = Callable[[bytes, bytes, JsonValue], AsyncGenerator[JsonValue, None]]
"""(store, node that asks, value) to the answers. It decides what that node may know."""
Hearing: TypeAlias = Callable[[bytes, bytes, JsonValue], Awaitable[None]]
"""(store, node that tells, value)."""

PATIENCE: Final = 30.0
EVENT_SECONDS: Final = 30
"""An event that is older than that is of no use."""
ASKED: Final = 16
"""Requests of one node that are answered at a time."""
HEARING: Final = 64
"""Events that are being heard at a time."""
HELD: Final = 512
"""Answers that came and were not read yet, and"""
HELD_BYTES: Final = 4 << 20
"""their size, sealed; with more a request ends."""
OWN_RATE: Final = 100.0
"""Signals a second that this node makes of its own in a store, and"""
OWN_BURST: Final = 200.0
"""at once."""
FULL: Final = 0.05
"""Seconds after which an answer that found no room is offered again."""
MAX_WORDS: Final = 500


class Pending:
    """A request of this node: answers that came, in whatever order."""

    def __init__(self, node: bytes) -> None:
        self.node = node
        self.news = anyio.Event()
        self.overrun = False
        self._held: dict[int, tuple[Body, int]] = {}
        self._size = 0
        self._next = 0

    def came(self, body: Body, size: int) -> None:
        """Hold an answer until it is its turn."""
        if body.number < self._next or body.number in self._held:
            return
        if len(self._held) >= HELD or self._size + size > HELD_BYTES:
            self.overrun = True
        else:
            self._held[body.number] = body, size
            self._size += size
        self.news.set()

    def take(self) -> Body | None:
        """The next answer, if it is there."""
        found = self._held.pop(self._next, None)
        if found is None:
            return None
        self._next += 1
        self._size -= found[1]
        return found[0]


class Signals:
    """One node's own part: what it asks, answers and hears, in all its stores."""

    def __init__(
        self,
        key: NodeKey,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self.key: Final = key
        self.now: Final = now
        self.monotonic: Final = monotonic
        self.answers: Final[dict[str, Answering]] = {}
        self.leases: Final = Leases(key.public, monotonic, self._authority, self.tell)
        self.hears: Final[dict[str, Hearing]] = {LEASE: self.leases.hear}
        self._random = random
        self._pending: dict[tuple[bytes, bytes], Pending] = {}
        self._answering: dict[tuple[bytes, bytes, bytes], anyio.CancelScope] = {}
        self._asked: Counter[tuple[bytes, bytes]] = Counter()
        self._hearing = 0
        self._switches: Callable[[bytes], Switch | None] = lambda store: None

    def connect(self, switches: Callable[[bytes], Switch | None]) -> None:
        """Where to find a store's switch."""
        self._switches = switches

    # --- asking and telling -------------------------------------------------------------------------------------------

    async def ask(
        self, store: bytes, node: bytes, name: str, value: JsonValue, seconds: float
    ) -> AsyncGenerator[JsonValue, None]:
        """See `Exchange.ask`."""
        seconds = min(seconds, float(LIFETIME))
        if node == self.key.public:
            async with aclosing(self._own(store, name, value)) as values:
                async for one in values:
                    yield one
            return
        switch = self._switch(store)
        id = self._random(ID)
        frame = switch.made(node, id, 0, "ask", name, value, seconds, patience=int(seconds * 1000))
        until = self.monotonic() + seconds
        pending = self._pending[store, id] = Pending(node)
        ended = False
        try:
            if not switch.send(frame):
                raise NoAnswer("no session leads to that node now")
            while True:
                said = await self._next(pending, until)
                ended = said.word != "reply"
                if said.word == "end":
                    return
                if said.word == "fail":
                    raise _failure(said.value)
                yield said.value
        finally:
            del self._pending[store, id]
            if not ended:
                with suppress(MesyxError):
                    switch.send(switch.made(node, id, 1, "stop", "", None, 1))

    async def _own(self, store: bytes, name: str, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
        async with aclosing(self._handler(name)(store, self.key.public, value)) as values:
            async for one in values:
                yield one

    async def _next(self, pending: Pending, until: float) -> Body:
        while True:
            said = pending.take()
            if said is not None:
                return said
            if pending.overrun:
                raise NoAnswer("answers came faster than they were read")
            pending.news = anyio.Event()
            with anyio.move_on_after(max(0.0, until - self.monotonic())):
                await pending.news.wait()
                continue
            raise NoAnswer("no answer in time")

    def tell(self, store: bytes, node: bytes, name: str, value: JsonValue) -> bool:
        """See `Exchange.tell`."""
        switch = self._switch(store)
        if not switch.own.take():
            return False
        return switch.send(switch.made(node, self._random(ID), 0, "tell", name, value, EVENT_SECONDS))

    def _authority(self, store: bytes) -> Authority | None:
        switch = self._switches(store)
        return switch.standing().authority if switch is not None else None

    def _switch(self, store: bytes) -> Switch:
        switch = self._switches(store)
        if switch is None:
            raise Refused("this node does not hold the store")
        return switch

    # --- what came ----------------------------------------------------------------------------------------------------

    def came(self, switch: Switch, frame: Signal, via: Way) -> None:
        """A signal to this node, whose origin has signed it."""
        try:
            body = open_(frame, switch.store, self.key.identity)
        except RecordError:
            switch.relay.lost["malformed"] += 1
            return
        place = (switch.store, body.origin, body.id)
        if body.word in ("ask", "tell") and via.peer != body.origin and switch.relay.repeated(body.made):
            return  # answers need no such care: this run has drawn the id that they answer to
        match body.word:
            case "ask":
                self._take_ask(switch, body, via)
            case "stop":
                if place in self._answering:
                    self._answering[place].cancel()
            case "tell":
                hearing = self.hears.get(body.name)
                if hearing is not None and self._hearing < HEARING:
                    self._hearing += 1
                    via.start(partial(self._hear, hearing, body))
            case _:
                pending = self._pending.get((switch.store, body.id))
                if pending is not None and pending.node == body.origin:
                    pending.came(body, len(frame.sealed))

    def _take_ask(self, switch: Switch, body: Body, via: Way) -> None:
        who = (switch.store, body.origin)
        if self._asked[who] >= ASKED:
            self._say(switch, body, 0, "fail", _told(Temporary("too many requests at a time")))
            return
        self._asked[who] += 1
        via.start(partial(self._answer, switch, body))

    async def _answer(self, switch: Switch, body: Body) -> None:
        """All answers to one request, until who asked has lost patience. Ends with the connection that it came by."""
        place = (switch.store, body.origin, body.id)
        try:
            with anyio.move_on_after(body.patience / 1000) as scope, suppress(MesyxError):
                self._answering[place] = scope
                await self._answer_all(switch, body)
        finally:
            self._answering.pop(place, None)
            who = place[:2]
            self._asked[who] -= 1
            if not self._asked[who]:
                del self._asked[who]

    async def _answer_all(self, switch: Switch, body: Body) -> None:
        number = 0
        try:
            async with aclosing(self._handler(body.name)(switch.store, body.origin, body.value)) as values:
                async for value in values:
                    await self._offer(switch, body, number, "reply", value)
                    number += 1
            await self._offer(switch, body, number, "end", None)
        except MesyxError as error:
            await self._offer(switch, body, number, "fail", _told(error))
        except Exception as error:
            log.error("an answer to %s failed: %s", body.name, type(error).__name__)
            await self._offer(switch, body, number, "fail", _told(Temporary("it failed there")))

    async def _offer(self, switch: Switch, body: Body, number: int, word: Word, value: JsonValue) -> None:
        """Say it, as soon as there is room for it. Raises Refused when it is too large."""
        if number > MAX_NUMBER:
            raise Refused("the answer is too long")
        await anyio.sleep(switch.own.delay())
        switch.own.take()
        frame = self._frame(switch, body, number, word, value)
        for wait in chain([0.0], repeat(FULL)):
            await anyio.sleep(wait)
            if switch.send(frame):
                return

    def _say(self, switch: Switch, body: Body, number: int, word: Word, value: JsonValue) -> None:
        if switch.own.take():
            switch.send(self._frame(switch, body, number, word, value))

    def _frame(self, switch: Switch, body: Body, number: int, word: Word, value: JsonValue) -> Signal:
        seconds = max(1.0, body.patience / 1000)
        return switch.made(body.origin, body.id, number, word, body.name, value, seconds)

    def _handler(self, name: str) -> Answering:
        handler = self.answers.get(name)
        if handler is None:
            raise Refused("that node does not answer such a request", "use the same release on both nodes")
        return handler

    async def _hear(self, hearing: Hearing, body: Body) -> None:
        try:
            await hearing(body.store, body.origin, body.value)
        except MesyxError:
            pass  # an event may be lost
        except Exception as error:
            log.error("an event %s failed: %s", body.name[:MAX_NAME], type(error).__name__)
        finally:
            self._hearing -= 1


class Switch:
    """One store's signals: each that comes goes to this node's own part, to a peer, or nowhere."""

    def __init__(
        self, store: bytes, signals: Signals, standing: Callable[[], Standing], attached: Collection[Way]
    ) -> None:
        self.store: Final = store
        self.standing: Final = standing
        self.own: Final = Bucket(OWN_RATE, OWN_BURST, signals.monotonic)
        self.relay: Final = Relay(
            store, signals.key.public, lambda node: standing().served(node), signals.now, signals.monotonic
        )
        self.heard_of: Final[dict[bytes, float]] = {}
        """By node, when a signal of it last came here; Unix seconds."""
        self._signals = signals
        self._attached = attached

    def heard(self, frame: Signal, via: Way) -> bool:
        """A peer has sent it; False when it sends too many."""
        fate = self.relay.take(frame, via.peer)
        match fate:
            case Fate.MINE:
                self.heard_of[frame.origin] = self._signals.now()
                self._signals.came(self, frame, via)
            case Fate.PASS:
                self._pass(frame._replace(hops=frame.hops - 1), via.peer)
        return fate is not Fate.FLOOD

    def joined(self) -> None:
        """A session runs from now on: what it leads to learns at once who is attached here."""
        self._signals.leases.joined(self.store)

    def send(self, frame: Signal) -> bool:
        """Send one of this node's own; False when it is lost for want of a way, or of room on it."""
        return self._pass(frame)

    def _pass(self, frame: Signal, but: bytes = b"") -> bool:
        return any([one.signal(frame) for one in self.relay.ways(frame, self._attached, but)])

    def made(
        self,
        node: bytes,
        id: bytes,
        number: int,
        word: Word,
        name: str,
        value: JsonValue,
        seconds: float,
        *,
        patience: int = 0,
    ) -> Signal:
        """A signal of this node's own. Raises Refused when it is too large, or the node is no member."""
        member = self.standing().authority.member(node)
        if member is None:
            raise Refused("that node is not a member of the store")
        signals = self._signals
        now = signals.now()
        body = Body(self.store, signals.key.public, node, id, number, word, name, value, patience, int(now))
        frame = seal(signals.key, member.recipient, body, int(now + seconds) + 1)
        if frame is None:
            raise Refused("that is too large for a signal, or no JSON", "60 kB are the most")
        return frame


def _told(error: MesyxError) -> JsonValue:
    kind = "refused" if isinstance(error, Refused) else "temporary"
    return [kind, error.what[:MAX_WORDS], (error.remedy or "")[:MAX_WORDS]]


def _failure(value: JsonValue) -> MesyxError:
    match value:
        case ["refused", str(what), str(remedy)]:
            return Refused(what[:MAX_WORDS], remedy[:MAX_WORDS])
        case [_, str(what), str(remedy)]:
            return Temporary(what[:MAX_WORDS], remedy[:MAX_WORDS])
        case _:
            return Temporary("the node failed to answer")
