"""What leaves a client: how a submission is put together, and what is known of all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from mesyx_core.api import Locked, Message, Temporary
from mesyx_core.mailbox import gateways, submissions, submitting
from mesyx_core.mailbox.gateways import Door, Heard
from mesyx_core.mailbox.storage import Connection
from mesyx_core.mailbox.submissions import Gateway, Submitted
from mesyx_core.record.ops import Dot
from mesyx_core.record.outgoing import ID, Request, Submission, Verb

if TYPE_CHECKING:
    from mesyx_core.mailbox.account import Account

PATIENCE: Final = 5 * 86400
"""Seconds for which a message is tried."""
SAME: Final = 600
"""Seconds within which exactly the same from the same log-in is one submission: a program that did not hear the answer
asks again."""
OPENED: Final = 5.0
"""Seconds that a submission waits for the index; it is durable before."""

_T = TypeVar("_T")


class Ask(NamedTuple):
    """What a gateway is asked, to be sealed to its recipient of the day. A request to send has its body in the message,
    and the writer puts it where it belongs."""

    recipient: str
    request: Request


Part: TypeAlias = Message | Ask | Submission
"""What is committed together: the sender's copy, requests, notes."""


class Outbound:
    """One store's; for the event loop that opened its account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._recent: dict[bytes, tuple[float, bytes]] = {}
        self.heard = Heard(account.journal, account.store)
        self.lock = asyncio.Lock()
        """One decision at a time, so that nothing is asked of two gateways."""

    # --- submitting ---------------------------------------------------------------------------------------------------

    async def submit(self, message: Message, login: str, identities: Collection[str], by: bytes = b"") -> bytes:
        """As api.View."""
        head = await submitting.head_of(message)
        message = replace(message, recipients=tuple(dict.fromkeys(message.recipients)))
        submitting.check(message, head, identities)
        begun = submissions.about(login, message.sender, message.recipients)
        async with self.lock:
            trace = submissions.trace_of(message, message.body.size)
            digest = await submissions.digest(begun, message.body.read(trace))
            there = await self._same(digest)
            if there is not None:
                return there
            id, parts = await self.fresh(message, head, {"login": login}, by)
            dots = await self._account.writer.post(parts)
            self._recent[digest] = (self._account.now(), id)
        with contextlib.suppress(TimeoutError, Temporary):  # it is durable, whatever the index does
            async with asyncio.timeout(OPENED):
                await self._account.feed.reached(dots)
        return id

    async def _same(self, digest: bytes) -> bytes | None:
        since = self._account.now() - SAME
        self._recent = {key: value for key, value in self._recent.items() if value[0] >= since}
        recent = self._recent.get(digest)
        id = recent[1] if recent else await self.read(lambda db: submissions.same(db, digest, int(since)))
        if id is None:
            return None
        found = await self.one(id)
        return None if found is not None and (found.dropping or found.state in ("failed", "dropped")) else id

    # --- putting together ---------------------------------------------------------------------------------------------

    async def fresh(
        self, message: Message, head: submitting.Head, extra: Mapping[str, str], by: bytes = b""
    ) -> tuple[bytes, list[Part]]:
        """A new submission's id, and what is to be committed: copy, request if a gateway can be asked now, and note."""
        id, now = self._account.random(ID), int(self._account.now())
        deadline = now + PATIENCE
        door = await self.door(message.network, _senders(message, head), by)
        copy = submitting.copy_of(message, id, head.message_id or message.network_id, extra)
        if door is None:
            return id, [copy, Submission(id, "send", by, b"", deadline, now)]
        ask = _send(id, deadline, message, head, list(enumerate(message.recipients)), door)
        return id, [copy, ask, Submission(id, "send", door.gateway, door.day.id, deadline, now)]

    async def request(
        self, one: Submitted, deadline: int, only: bytes = b"", used: Collection[tuple[bytes, bytes]] = ()
    ) -> list[Part] | None:
        """Ask a gateway for what is left of a submission; None when none can be asked now. Raises Locked when the copy
        cannot be read here."""
        if await self.door(one.network, (), only, used) is None:  # before its copy is read
            return None
        message, head = await self.copy(one)
        door = await self.door(one.network, _senders(message, head), only, used)
        if door is None:
            return None
        left = [(fate.number, message.recipients[fate.number]) for fate in one.left]
        return [
            _send(one.id, deadline, message, head, left, door),
            Submission(one.id, "send", door.gateway, door.day.id, deadline, self.time(one)),
        ]

    async def ask(self, one: Submitted, verb: Verb) -> list[Part] | None:
        """A word to the gateway that has it; None when there is no key to seal that to."""
        gateway = (await self.gateways()).get(one.gateway)
        if gateway is None:
            return None
        # A request without text may be sealed to a day that is over: its gateway holds the key while it has that.
        day = gateways.valid(gateway, self._account.now()) or next((d for d in gateway.days if d.id == one.day), None)
        if day is None:
            return None
        return [
            Ask(day.recipient, Request(verb, one.id)),
            Submission(one.id, verb, one.gateway, day.id, one.deadline, self.time(one)),
        ]

    async def drop(self, one: Submitted) -> list[Part]:
        """Take a submission back: a word to its gateway where it has one, a note in any case."""
        asked = await self.ask(one, "drop") if one.day else None
        return asked or [Submission(one.id, "drop", one.gateway, b"", one.deadline, self.time(one))]

    async def copy(self, one: Submitted) -> tuple[Message, submitting.Head]:
        """The sender's copy. Raises Locked when it cannot be read here."""
        message = await self._account.reader.message(one.copy) if one.copy else None
        if message is None:
            raise Locked("the sender's copy cannot be read here", "unlock its key, or wait until it has come")
        return message, await submitting.head_of(message)

    async def senders(self, one: Submitted) -> tuple[str, ...]:
        """In whose name it is, as far as that can be read here."""
        try:
            return _senders(*await self.copy(one))
        except Locked:
            return (one.sender,) if one.network == "mail" and one.sender else ()

    async def door(
        self, network: str, senders: Collection[str], only: bytes = b"", used: Collection[tuple[bytes, bytes]] = ()
    ) -> Door | None:
        """The gateway to ask now, if there is one; see `gateways.choose`."""
        known = await self.gateways()
        return gateways.choose(
            known,
            self._account.authority(),
            await self.heard.times() if len(known) > 1 else {},
            network=network,
            senders=senders,
            now=self._account.now(),
            only=only,
            used=frozenset(used),
        )

    def time(self, one: Submitted) -> int:
        """A note's time: later than those before it, whatever the clock says."""
        return max(int(self._account.now()), one.latest + 1)

    async def commit(self, parts: Sequence[Part]) -> list[Dot]:
        """Returns once the index has it: the next decision builds on that. Raises Temporary."""
        dots = await self._account.writer.post(parts)
        await self._account.feed.reached(dots)
        return dots

    # --- what is known ------------------------------------------------------------------------------------------------

    async def listing(self, ended_since: int | None = None) -> list[Submitted]:
        """What is unfinished, oldest first; with `ended_since` also what has ended since then."""
        return await self.read(lambda db: submissions.unfinished(self._account.ledger, db, ended_since))

    async def find(self, digits: str) -> list[Submitted]:
        """Those whose id begins with these hex digits, the first hundred."""
        return await self.read(lambda db: submissions.beginning(self._account.ledger, db, digits))

    async def one(self, id: bytes) -> Submitted | None:
        """A submission, if it is known."""
        return await self.read(lambda db: submissions.read(self._account.ledger, db, id))

    async def gateways(self) -> dict[bytes, Gateway]:
        """Nodes that have published recipients of the day."""
        return await self.read(submissions.gateways)

    async def read(self, query: Callable[[Connection], _T]) -> _T:
        """What the index says, read in a thread. Raises Locked."""

        def work() -> _T:
            with self._account.ledger.database.read() as db:
                return query(db)

        return await asyncio.to_thread(work)


def _senders(message: Message, head: submitting.Head) -> tuple[str, ...]:
    """In whose name; only mail has addresses that a gateway may grant."""
    return submitting.senders(message, head) if message.kind == "mail" else ()


def _send(
    id: bytes, deadline: int, message: Message, head: submitting.Head, numbered: Sequence[tuple[int, str]], door: Door
) -> Ask:
    numbers = tuple(number for number, _ in numbered)
    request = Request(
        "send",
        id,
        deadline,
        submitting.request_of(message, head, numbered),
        numbers=() if numbers == tuple(range(len(numbers))) else numbers,
    )
    return Ask(door.day.recipient, request)
