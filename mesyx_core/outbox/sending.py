"""One attempt: open the request, commit the intent, give it to the network, commit what the network said."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from mesyx_core.api import Bytes, Egress, Message, MesyxError, Outcome, Reports, Temporary
from mesyx_core.journal import Draft, Journal, Log
from mesyx_core.outbox import queue
from mesyx_core.outbox.follow import Absent, Follower, Unreadable
from mesyx_core.outbox.queue import Job, Key, Told
from mesyx_core.outbox.telling import receipts, tell
from mesyx_core.outbox.ways import BlobBody
from mesyx_core.record.content import BlobRef
from mesyx_core.record.entry import Origin
from mesyx_core.record.outgoing import DROPPED, Fate, Intent, Request, decode_request
from mesyx_core.record.shape import RecordError

if TYPE_CHECKING:
    from mesyx_core.outbox.outbox import Outbox

log = logging.getLogger(__name__)

AGAIN: Final = 5.0
"""Seconds after which what the disk did not take is tried again."""
LONGEST: Final = 3600.0
"""Seconds after which an attempt is given up as if the network had put it off."""
REPORT_LATEST: Final = 900
"""Seconds past its deadline for which a failure waits for the egress that composes its report."""

NOBODY: Final[frozenset[int]] = frozenset()


class Asked(Exception):
    """The request cannot be opened now: its body is still on its way."""


async def opened(journal: Journal, follower: Follower, job: Job) -> Request | None:
    """The job's request; None when it cannot be read any more. Raises Asked."""
    if job.request is None:
        return None
    origin = Origin(job.store, job.request.node, job.request.incarnation)
    try:
        header, content = await follower.open(origin, job.request.seq)
        request = decode_request(content.value)
    except Absent:
        raise Asked from None
    except (Unreadable, RecordError):
        return None
    if isinstance(request.body, BlobRef):
        if request.body.hash not in {hash for hash, _ in header.blobs}:
            return None
        if not await journal.has_blob(request.body.hash):
            raise Asked
    return request


class Sending:
    """What the outbox does about one job at a time."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._used: dict[str, Egress] = {}
        """By network, what sent last: it reports what it was told, also when it is closed before that is committed."""
        self._said: dict[Key, dict[int, Fate]] = {}
        """What was said last of those who wait: in memory alone, for it is the network's words."""

    async def work(self, key: Key) -> None:
        """Whatever is due about a job. Never raises for what may pass."""
        box = self._outbox
        job = box.jobs.waiting(key)
        if job is None:
            return
        now = int(box.ways.now())
        if job.trying:
            await self._step(key, lambda job: queue.interrupt(job, now))
            return
        try:
            request = await opened(box.journal, box.follower, job)
        except Asked:
            request = None
            if now < job.deadline:
                box.later(key, AGAIN)
                return
        if now >= job.deadline:
            await self._expire(key, request, now)
        elif request is None or request.message is None:
            await self._step(key, queue.give_back)
        else:
            await self._attempt(key, request, request.message)

    async def give_back(self, key: Key) -> None:
        """The key of its day goes: tell the client to seal it again. The caller holds the lock."""
        await self._commit(key, queue.give_back, None)

    async def addresses(self, job: Job) -> Mapping[int, str]:
        """Of the recipients, as far as the request can be read now."""
        try:
            request = await opened(self._outbox.journal, self._outbox.follower, job)
        except Asked:
            return {}
        return request.numbered if request is not None else {}

    async def _expire(self, key: Key, request: Request | None, now: int) -> None:
        job = self._outbox.jobs.waiting(key)
        if job is not None and self._outbox.ways.egress(job.network) is None and now < job.deadline + REPORT_LATEST:
            self._outbox.later(key, AGAIN)
            return
        said = self._said.get(key, queue.NOTHING)
        await self._step(key, lambda job: queue.expire(job, now, said), request)

    async def _attempt(self, key: Key, request: Request, message: Message) -> None:
        box = self._outbox
        job = box.jobs.waiting(key)
        egress = box.ways.egress(message.network)
        if job is None or egress is None:
            box.later(key, AGAIN)
            return
        now = int(box.ways.now())
        addresses = request.numbered
        numbers = [n for n in queue.ready(job, now) if n in addresses]
        recipients = [addresses[n] for n in numbers]
        body = request.body
        message = replace(
            message,
            body=BlobBody(box.journal, body) if isinstance(body, BlobRef) else Bytes(body),
            recipients=tuple(recipients),
        )
        objection = await box.ways.objection(job.store, message) if numbers else ""
        if objection:
            await self._step(key, lambda job: queue.refuse(job, objection), request)
            return
        if not numbers or not await self._intend(key, numbers, now):
            return
        self._used[message.network] = egress
        found = await _send(egress, message, recipients)
        outcomes = {n: found[addresses[n]] for n in numbers if addresses[n] in found}
        schedule = box.ways.schedule(message.network)
        done = int(box.ways.now())
        owed = frozenset(n for n, outcome in outcomes.items() if outcome.word == "sent" and outcome.relayed)
        await self._step(key, lambda job: queue.settle(job, outcomes, schedule, done), request, owed)

    async def _intend(self, key: Key, numbers: Sequence[int], now: int) -> bool:
        """Commit that it is going to be sent. False when the disk does not take it; then it is not sent."""
        box = self._outbox
        async with box.lock:
            job = box.jobs.waiting(key)
            if job is None or job.trying or box.stopped:
                return False
            begun = queue.begin(job, numbers)
            intent = Intent(job.id, begun.attempt, tuple(numbers), box.own.stamp(now))
            try:
                entry = await tell(box.ways, box.days, begun, intent.pack())
                await box.commit([entry], box.jobs.rows({key: begun}))
            except Temporary:
                box.later(key, AGAIN)
                return False
            box.jobs.apply({key: begun})
            return True

    async def _step(
        self, key: Key, step: queue.Step, request: Request | None = None, owed: frozenset[int] = NOBODY
    ) -> None:
        """Commit a step with its receipts, and the reports that its sender wants: `owed` are recipients whose being
        sent is reported too. Waits until the disk takes it."""
        box = self._outbox
        while True:
            try:
                with anyio.CancelScope(shield=True):  # what the network has taken is written down before the node stops
                    async with box.lock:
                        await self._commit(key, step, request, owed)
                return
            except Temporary as error:
                log.warning("a receipt cannot be written: %s", error.what)
                await anyio.sleep(AGAIN)

    async def _commit(self, key: Key, step: queue.Step, request: Request | None, owed: frozenset[int] = NOBODY) -> None:
        box = self._outbox
        job = box.jobs.waiting(key)
        if job is None:
            return
        told = step(job)
        if told.fates and request is None:
            try:
                request = await opened(box.journal, box.follower, job)
            except Asked:
                request = None
        addresses = request.numbered if request is not None else {}
        late = queue.late(told, int(box.ways.now()))
        told = Told(late.job, told.fates)
        failed = [fate for fate in told.fates if fate.word == "never" and fate.reason != DROPPED]
        relayed = [fate for fate in told.fates if fate.number in owed]
        async with AsyncExitStack() as stack:
            entries: list[tuple[Log, Draft]] = []
            for fates in (failed, late.fates, relayed):
                report = await self._report(told.job, fates, request, addresses)
                if report is not None:
                    entries.append(await stack.enter_async_context(box.ways.letter(job.store, report)))
            if told.fates:
                now = box.own.stamp(box.ways.now())
                entries += await receipts(box.ways, box.days, told.job, told.fates, addresses, now)
            await box.commit(entries, box.jobs.rows({key: told.job}))
        box.jobs.apply({key: told.job})
        self._remember(key, told)
        _say(told)

    def _remember(self, key: Key, told: Told) -> None:
        if told.job.final:
            self._said.pop(key, None)
        elif told.fates:
            self._said.setdefault(key, {}).update((fate.number, fate) for fate in told.fates)

    async def _report(
        self, job: Job, fates: Sequence[Fate], request: Request | None, addresses: Mapping[int, str]
    ) -> Message | None:
        """The network's own report about these, if it has one."""
        told = {
            addresses[fate.number]: Outcome(
                word=fate.word, reason=fate.reason, remote=fate.remote, relayed=fate.word == "sent"
            )
            for fate in fates
            if fate.number in addresses and fate.word != "again"
        }
        egress = self._outbox.ways.egress(job.network) or self._used.get(job.network)
        if not told or request is None or request.message is None or not isinstance(egress, Reports):
            return None
        body = request.body
        whole: BlobBody | Bytes = BlobBody(self._outbox.journal, body) if isinstance(body, BlobRef) else Bytes(body)
        try:
            return await egress.report(replace(request.message, body=whole), told)
        except Exception as error:
            log.error("a report to a sender could not be composed: %s", type(error).__name__)
            return None


async def _send(egress: Egress, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
    """What the network said; an egress that fails has put it off."""
    try:
        with anyio.fail_after(LONGEST):
            return await egress.send(message, recipients)
    except MesyxError as error:  # of whatever type: it is about this node, not about a recipient
        outcome = Outcome(word="later", reason=error.what)
    except TimeoutError:
        outcome = Outcome(word="later", reason="4.4.7 the attempt took too long")
    except Exception as error:
        log.error("an egress failed: %s", type(error).__name__)
        outcome = Outcome(word="later", reason=f"4.3.0 {type(error).__name__} inside the egress")
    return dict.fromkeys(recipients, outcome)


def _say(told: Told) -> None:
    """Counts and the submission's id, never an address."""
    words = [fate.word for fate in told.fates]
    if words:
        counted = ", ".join(
            f"{words.count(word)} {word}" for word in ("sent", "later", "never", "again") if word in words
        )
        log.info("submission %s: %s", told.job.id.hex()[:12], counted)
