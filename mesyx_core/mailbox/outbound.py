"""What leaves a client: submissions sealed to gateways, once more where that is called for, and what people do about
those that wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from mesyx_core.api import Locked, Message, MesyxError, Refused, Temporary
from mesyx_core.mailbox import gateways, submissions, submitting
from mesyx_core.mailbox.gateways import Door, Heard
from mesyx_core.mailbox.model import SEQ
from mesyx_core.mailbox.storage import Connection
from mesyx_core.mailbox.submissions import Gateway, Submitted
from mesyx_core.record.entry import Origin
from mesyx_core.record.ops import Dot
from mesyx_core.record.outgoing import ID, Request, Submission, Verb

if TYPE_CHECKING:
    from mesyx_core.mailbox.account import Account

log = logging.getLogger(__name__)

PATIENCE: Final = 5 * 86400
"""Seconds for which a message is tried."""
SAME: Final = 600
"""Seconds within which exactly the same from the same log-in is one submission: a program that did not hear the answer
asks again."""
SLACK: Final = 3600
"""Seconds after its day's end that a request without an answer is sealed to another day; and that another client
leaves to the one that made it, before it seals again in its stead."""
LOOK: Final = 30.0
"""Seconds after which what waits is looked at again."""
PAUSE: Final = 0.1
"""Seconds between two looks at the least."""
SOON: Final = 1.0
"""The same, while it is not known yet what other nodes know."""
LACKING: Final = 600.0
"""Seconds for which entries that have not come yet hold back what could be sent twice without them."""
KNOWN: Final = 10.0
"""Seconds that a person's command waits for what other nodes know."""
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


class Moved(NamedTuple):
    """What became of an order to hand something to another gateway."""

    submission: Submitted
    recipients: int
    maybe: tuple[str, ...]
    """Whom the old gateway may have sent it to."""
    why: str = ""
    """Why it was not moved."""


class Due(NamedTuple):
    """That a submission ought to be sealed once more."""

    since: int
    only: bytes = b""
    """The one gateway that it may be sealed to; empty when any may have it."""


class Outbound:
    """One store's; for the event loop that opened its account."""

    def __init__(self, account: Account, settled: Callable[[], bool]) -> None:
        self._account = account
        self._settled = settled
        self.heard = Heard(account.journal, account.store)
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        """One decision at a time, so that nothing is asked of two gateways."""
        self._recent: dict[bytes, tuple[float, bytes]] = {}
        self._lacking = 0.0

    def wake(self) -> None:
        """Something new is known of what goes out."""
        self._wake.set()

    # --- submitting ---------------------------------------------------------------------------------------------------

    async def submit(self, message: Message, login: str, identities: Collection[str], by: bytes = b"") -> bytes:
        """As api.View."""
        head = await submitting.head_of(message.body)
        message = replace(message, recipients=tuple(dict.fromkeys(message.recipients)))
        submitting.check(message, head, identities)
        begun = submissions.about(login, message.sender, message.recipients)
        async with self._lock:
            trace = submissions.trace_of(message, message.body.size)
            digest = await submissions.digest(begun, message.body.read(trace))
            there = await self._same(digest)
            if there is not None:
                return there
            id, dots = await self._post(message, head, {"login": login}, by)
            self._recent[digest] = (self._account.now(), id)
        with contextlib.suppress(TimeoutError, Temporary):  # it is durable, whatever the index does
            async with asyncio.timeout(OPENED):
                await self._account.feed.reached(dots)
        return id

    async def _same(self, digest: bytes) -> bytes | None:
        since = self._account.now() - SAME
        self._recent = {key: value for key, value in self._recent.items() if value[0] >= since}
        recent = self._recent.get(digest)
        id = recent[1] if recent else await self._read(lambda db: submissions.same(db, digest, int(since)))
        if id is None:
            return None
        found = await self._one(id)
        return None if found is not None and (found.dropping or found.state in ("failed", "dropped")) else id

    async def _post(
        self, message: Message, head: submitting.Head, extra: Mapping[str, str], by: bytes = b""
    ) -> tuple[bytes, list[Dot]]:
        """A new submission: copy, request and note in one transaction. Its id, and where they stand."""
        account = self._account
        id, now = account.random(ID), int(account.now())
        deadline = now + PATIENCE
        sender = message.sender or next(iter(head.authors), "")
        door = await self._door(message.network, sender, by)
        parts: list[Part] = [submitting.copy_of(message, id, head.message_id or message.network_id, extra)]
        if door is None:
            parts.append(Submission(id, "send", by, b"", deadline, now))
        else:
            numbered = list(enumerate(message.recipients))
            parts.append(_send(id, deadline, message, head, numbered, door))
            parts.append(Submission(id, "send", door.gateway, door.day.id, deadline, now))
        return id, await account.writer.post(parts)

    async def _commit(self, parts: Sequence[Part]) -> None:
        """Returns once the index has it: the next decision builds on that."""
        await self._account.feed.reached(await self._account.writer.post(parts))

    async def _door(
        self, network: str, sender: str, only: bytes = b"", used: Collection[tuple[bytes, bytes]] = ()
    ) -> Door | None:
        known = await self._read(submissions.gateways)
        return gateways.choose(
            known,
            self._account.authority(),
            await self.heard.times() if len(known) > 1 else {},
            network=network,
            sender=sender,
            now=self._account.now(),
            only=only,
            used=frozenset(used),
        )

    # --- sealing again ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Seal what waits as soon as it can be, until cancelled."""
        while True:
            await asyncio.sleep(PAUSE)
            self._wake.clear()
            pause: float | None = LOOK
            try:
                pause = await self.again()
            except MesyxError:
                pass  # no room on the disk, a key that is not open: the next look may find it mended
            except Exception as error:
                log.error("what waits to be sent could not be looked at: %s", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def again(self) -> float | None:
        """One look at all that is unfinished; after how many seconds to look again, None when nothing is."""
        # Not under the lock: with much to be opened this may take minutes, and submitting must not.
        if await self.listing() and not await self._current():
            return SOON
        async with self._lock:
            waiting = await self.listing()
            if waiting:
                known = await self._read(submissions.gateways)
                for one in waiting:
                    due = await self._due(one, known)
                    mine = one.maker == self._account.writer.node
                    if due is not None and (mine or self._account.now() > due.since + SLACK):
                        with contextlib.suppress(Refused, Locked):
                            await self._seal(one, due.only)
            return LOOK if waiting else None

    async def _current(self) -> bool:
        """Whether what is known elsewhere is known here: a client that was restored from a backup, or whose index is
        being made anew, must not ask for what it has asked for already. Waits for what this node holds to be opened."""
        if not self._settled():
            return False
        heads = await self._account.journal.heads(self._account.store)
        await self._account.feed.reached([Dot(head.node, head.incarnation, head.seq, 0) for head in heads])
        sql = "SELECT 1 FROM pending WHERE why IN ('body', 'epoch', 'cause') LIMIT 1"
        lacking = await self._read(lambda db: db.execute(sql).fetchone() is not None)
        now = self._account.now()
        self._lacking = (self._lacking or now) if lacking else 0.0
        return not lacking or not 0 <= now - self._lacking < LACKING

    async def _check(self) -> None:
        """Before a person's word on it: raises Temporary if it cannot be known soon what was sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KNOWN):
                while True:
                    if await self._current():
                        return
                    await asyncio.sleep(PAUSE)
        raise Temporary(
            "no other node has told yet all that it knows of what was sent",
            "wait until `mesyx status` shows a peer in sync, then try again",
        )

    async def _due(self, one: Submitted, known: Mapping[bytes, Gateway]) -> Due | None:
        """Whether a submission ought to be sealed once more."""
        now = self._account.now()
        if one.dropping or now >= one.deadline or not one.copy:
            return None
        if not one.day:
            days = (d for g in known.values() if one.gateway in (b"", g.node) for d in g.days if d.until > now)
            return Due(max(one.asked, min((day.since for day in days), default=0)), one.gateway)
        again = [fate.heard for fate in one.addressees if fate.word == "again"]
        if again:
            return Due(min(again))
        gateway = known.get(one.gateway)
        if gateway is None:
            return None
        day = next((day for day in gateway.days if day.id == one.day), None)
        if day is None:
            # It has thrown the key away. What it has sent by then it has said before, and all of that must be known.
            return Due(gateway.time) if await self.heard.whole(one.gateway, self._opened) else None
        if now <= day.until + SLACK or any(fate.maybe or fate.attempts for fate in one.addressees):
            return None
        return Due(day.until + SLACK, one.gateway)  # while it is merely silent, another one could send the same

    def _opened(self, origin: Origin, seq: int) -> bool:
        """Whether a log is opened up to there, without gaps in which there could be a receipt."""
        ledger = self._account.ledger
        row = ledger.origins.get((origin.node, origin.incarnation))
        if row is None or ledger.cursors.get(row, 0) < seq:
            return False
        with ledger.database.read() as db:
            return not db.execute(
                "SELECT 1 FROM pending WHERE entry BETWEEN ? AND ? AND why NOT IN ('locked', 'blob') LIMIT 1",
                (row << SEQ, row + 1 << SEQ),
            ).fetchone()

    async def _seal(self, one: Submitted, only: bytes, deadline: int = 0) -> bool:
        """Seal what is left to a gateway that can take it now; False when none can. Raises Locked without its copy."""
        door = await self._door(one.network, one.sender, only, one.requests)
        if door is None:
            return False
        await self._commit(await self._request(one, door, deadline or one.deadline))
        return True

    async def _request(self, one: Submitted, door: Door, deadline: int) -> list[Part]:
        message, head = await self._copy(one)
        left = [(fate.number, message.recipients[fate.number]) for fate in one.left]
        return [
            _send(one.id, deadline, message, head, left, door),
            Submission(one.id, "send", door.gateway, door.day.id, deadline, self._time(one)),
        ]

    async def _copy(self, one: Submitted) -> tuple[Message, submitting.Head]:
        """The sender's copy. Raises Locked when it cannot be read here."""
        message = await self._account.reader.message(one.copy) if one.copy else None
        if message is None:
            raise Locked(
                "the sender's copy of this message cannot be read here", "unlock its key, or wait until it came"
            )
        return message, await submitting.head_of(message.body)

    def _time(self, one: Submitted) -> int:
        """A note's time: later than all that it answers, whatever the clock says."""
        return max(int(self._account.now()), one.latest + 1)

    # --- the queue ----------------------------------------------------------------------------------------------------

    async def listing(self, ended_since: int | None = None) -> list[Submitted]:
        """What is unfinished, oldest first; with `ended_since` also what has ended since then."""
        return await self._read(lambda db: submissions.unfinished(self._account.ledger, db, ended_since))

    async def gateways(self) -> dict[bytes, Gateway]:
        """Nodes that have published recipients of the day."""
        return await self._read(submissions.gateways)

    async def find(self, digits: str) -> list[Submitted]:
        """Those whose id begins with these hex digits, the first hundred."""
        return await self._read(lambda db: submissions.beginning(self._account.ledger, db, digits))

    async def _one(self, id: bytes) -> Submitted | None:
        return await self._read(lambda db: submissions.read(self._account.ledger, db, id))

    async def retry(self, id: bytes) -> tuple[bytes, str]:
        """Try now: (the submission's id, what was done). What had failed is submitted anew, under an id of its own.
        Raises Refused, Locked."""
        await self._check()
        async with self._lock:
            one = await self._known(id)
            if one.over:
                return await self._resubmit(one), "submitted anew"
            if one.dropping:
                raise Refused("it is being dropped", "submit it again")
            deadline = max(one.deadline, int(self._account.now()) + PATIENCE)
            if not one.day or any(fate.word == "again" for fate in one.addressees):
                if await self._seal(one, b"" if one.day else one.gateway, deadline):
                    return id, "sealed"
                await self._commit([Submission(id, "send", one.gateway, b"", deadline, self._time(one))])
                return id, "waits"
            await self._order(one, "retry")
            return id, "asked"

    async def _order(self, one: Submitted, verb: Verb) -> None:
        ask = await self._ask(one, verb)
        if ask is None:
            raise Refused(
                "its gateway has published no key that could be used now",
                "wait until it is heard of again, or hand over: mesyx queue move ID --to NODE",
            )
        await self._commit(ask)

    async def _ask(self, one: Submitted, verb: Verb) -> list[Part] | None:
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
            Submission(one.id, verb, one.gateway, day.id, one.deadline, self._time(one)),
        ]

    async def drop(self, id: bytes) -> str:
        """Send it no more: "dropped" when no gateway has it, else "asked". Raises Refused when it has ended."""
        async with self._lock:
            one = await self._known(id)
            if one.over:
                raise Refused("it has ended already", "`mesyx queue list` shows how")
            ask = await self._ask(one, "drop") if one.day else None
            note = Submission(id, "drop", one.gateway, b"", one.deadline, self._time(one))
            await self._commit(ask or [note])
            return "asked" if one.day else "dropped"

    async def move(self, to: bytes, *, ids: Sequence[bytes] = (), source: bytes = b"") -> list[Moved]:
        """Hand to another gateway what is not known to be sent: these, or all that `source` has. Raises Refused."""
        if not self._account.authority().may(to, "accept"):
            raise Refused("that node is no gateway of this store", "`mesyx store show NAME` shows its nodes")
        await self._check()
        async with self._lock:
            chosen = [await self._known(id) for id in ids] or [
                one for one in await self.listing() if one.gateway == source and not one.dropping
            ]
            return [await self._move(one, to) for one in chosen]

    async def _move(self, one: Submitted, to: bytes) -> Moved:
        maybe = tuple(fate.address for fate in one.left if fate.maybe)
        try:
            if one.gateway == to and one.day:
                raise Refused("that gateway has it already", "mesyx queue retry ID")
            if one.dropping:
                raise Refused("it is being dropped", "submit it again")
            if one.over or any(gateway == to for gateway, _ in one.requests):
                await self._resubmit(one, to)
            else:
                now = int(self._account.now())
                deadline = one.deadline if one.deadline > now + SLACK else now + PATIENCE
                door = await self._door(one.network, one.sender, to)
                if door is not None:
                    parts = await self._request(one, door, deadline)
                else:
                    parts = [Submission(one.id, "send", to, b"", deadline, self._time(one))]
                # Should the old one come back, it hears this before it sends anything.
                drop = await self._ask(one, "drop") if one.day else None
                await self._commit([*(drop or ())[:1], *parts])
        except (Refused, Locked) as error:
            return Moved(one, 0, maybe, str(error))
        return Moved(one, len(one.left), maybe)

    async def _resubmit(self, one: Submitted, by: bytes = b"") -> bytes:
        """A new submission to whom it was not sent; the old one, if it goes on, is dropped. Raises Refused."""
        message, head = await self._copy(one)
        to = tuple(message.recipients[fate.number] for fate in one.addressees if fate.word != "sent")
        if not to:
            raise Refused("it was sent to all its recipients", "submit it again to send it again")
        envelope = {key: value for key, value in message.envelope.items() if key not in submitting.OURS}
        if not one.over:
            drop = await self._ask(one, "drop") if one.day else None
            note = Submission(one.id, "drop", one.gateway, b"", one.deadline, self._time(one))
            await self._commit(drop or [note])
        id, dots = await self._post(replace(message, recipients=to, envelope=envelope), head, {}, by)
        await self._account.feed.reached(dots)
        return id

    async def _known(self, id: bytes) -> Submitted:
        one = await self._one(id)
        if one is None:
            raise Refused("no submission of that id is known here", "`mesyx queue list` shows them")
        return one

    async def _read(self, query: Callable[[Connection], _T]) -> _T:
        def work() -> _T:
            with self._account.ledger.database.read() as db:
                return query(db)

        return await asyncio.to_thread(work)


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
