"""A keyset whose private key somebody else has: nothing is sealed to it any more, what was is sealed anew and purged,
and the person is told what was exposed and which nodes have seen to it.

What was begun is kept in the node's rows until every member has confirmed it; until then this node goes on by itself,
for a gateway that was away may bring messages that were sealed to the key meanwhile. Those it purges after the store's
grace, as it has no owner key then; the command, given again, has them purged at once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import cbor2
from pydantic import JsonValue

from mesyx_core.api import MesyxError, Refused
from mesyx_core.mailbox.account import Account
from mesyx_core.node import keysets, membership, rotation
from mesyx_core.node.progress import Tell, quietly
from mesyx_core.node.purging import At
from mesyx_core.node.stores import Store
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.names import Names
from mesyx_core.vault.roster import Roster

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

SPACE: Final = "compromise"
NAME: Final = "purged"
PATIENCE: Final = 5.0
MOST: Final = 500
"""Purges asked about at a time."""

log = logging.getLogger(__name__)


class Job(NamedTuple):
    """What was begun for one keyset."""

    keyset: bytes
    name: str
    begun: int
    """Unix seconds."""
    first: int | None = None
    """When the first and"""
    last: int | None = None
    """the last message of those that were exposed came, in Unix seconds; None where there is none."""
    messages: int = 0
    sealed: int = 0
    """Sealed anew."""
    unread: int = 0
    """That no key here opens: they can be neither sealed anew nor purged."""
    purges: tuple[tuple[bytes, bytes, int], ...] = ()
    """The entries that name what has to go."""
    done: bool = False
    """Every member has confirmed it."""


class Compromise:
    """Made with the node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._alone = anyio.Lock()
        node.exchange.signals.answers[NAME] = self._answer

    async def begin(
        self, store: Store, account: Account, roster: Roster, by: keysets.Hand, chosen: Sequence[Keyset], tell: Tell
    ) -> None:
        """Close these keysets, exchange their short-term keys wherever they are in use, seal anew what was sealed to
        them, and have it purged."""
        lost = frozenset[str]().union(*(roster.short(each) for each in chosen))
        ids = {each.id for each in roster.keysets if not lost.isdisjoint(each.recipients)} | {
            each.id for each in chosen
        }
        await self._close(store, by, roster, lost, ids)
        jobs = await self._jobs(store)
        for each in roster.keysets:
            if each.id in ids and each.id not in jobs:
                jobs[each.id] = Job(each.id, roster.label(each), keysets.clock())
        await self._keep(store, jobs.values())
        owner = by.owner if isinstance(by.owner, bytes) else None
        for id in ids:
            await self._go_on(store, account, id, owner, tell)

    async def _close(
        self, store: Store, by: keysets.Hand, roster: Roster, lost: frozenset[str], ids: set[bytes]
    ) -> None:

        fresh = rotation.fresh(roster, lost, keysets.clock())
        made = {old: identity.recipient for old, identity in fresh.items()}

        def closed(current: Roster) -> Roster:
            return current.exchanged(made, keysets.clock()).without(ids)

        if fresh or not all(id in roster.closed for id in ids):
            await keysets.publish(self._node, store, by, closed, tuple(fresh.values()))

    async def round(self) -> None:
        """Go on with what is not confirmed everywhere, in every open store."""
        for store in self._node.stores:
            if store.account is None:
                continue
            for id, job in (await self._jobs(store)).items():
                if job.done:
                    continue
                try:
                    await self._go_on(store, store.account, id, None, quietly)
                    await self.report(store, None, [id])
                except MesyxError as error:
                    log.warning("what was exposed is not sealed anew: %s", error.what)

    async def _go_on(self, store: Store, account: Account, id: bytes, owner: bytes | None, tell: Tell) -> None:
        async with self._alone:
            job = (await self._jobs(store))[id]
            work = account.rewriting
            if job.first is None:
                first, last = await work.span({id})
                job = job._replace(first=first, last=last)
                await self._keep(store, [job])
            done = await work.rewrite({id}, partial(tell, f"messages of {job.name}"))
            wanted = await work.purges({id})
            named = {run for purge in wanted for run in purge.named}
            written: Sequence[tuple[bytes, bytes, int]] = ()
            if wanted and (owner is not None or not await self._named(account, job, named)):
                signed = [each.signed(store.id, owner) if owner is not None else each for each in wanted]
                written = await work.write(signed)
            job = job._replace(
                messages=max(job.messages, done.messages),
                sealed=job.sealed + done.sealed,
                unread=done.unread,
                purges=(*job.purges, *written),
            )
            await self._keep(store, [job])
            await self._node.purgings.look()

    async def _named(self, account: Account, job: Job, named: set[Any]) -> bool:
        """Whether a purge that waits names all of it already."""
        waiting = self._node.purgings.of.get(account.store)
        return waiting is not None and named <= waiting.named(At(*at) for at in job.purges)

    # --- the report ---------------------------------------------------------------------------------------------------

    async def report(
        self, store: Store, names: Names | None, ids: Sequence[bytes] | None = None
    ) -> list[dict[str, Any]]:
        """What was exposed, from when to when, and what each member has confirmed; done once all have."""
        jobs = [job for id, job in sorted((await self._jobs(store)).items()) if ids is None or id in ids]
        members = store.manifest.members
        left: dict[bytes, dict[bytes, int | None]] = {job.keyset: {} for job in jobs}

        async def one(node: bytes, job: Job) -> None:
            left[job.keyset][node] = await self._left(store, node, job)

        async with anyio.create_task_group() as tasks:
            for job in jobs:
                for member in members:
                    tasks.start_soon(one, member.node, job)
        found = [self._reported(names, job, left[job.keyset]) for job in jobs]
        over = [job._replace(done=True) for job, row in zip(jobs, found, strict=True) if row["done"] and not job.done]
        await self._keep(store, over)
        return found

    def _reported(self, names: Names | None, job: Job, left: dict[bytes, int | None]) -> dict[str, Any]:
        nodes = [
            {
                "node": node.hex(),
                "name": membership.called(names, node),
                "confirmed": count == 0,
                "why": "" if count == 0 else "no answer" if count is None else f"{count} purges are not done there",
            }
            for node, count in left.items()
        ]
        done = all(each["confirmed"] for each in nodes) and job.unread == 0
        return {
            "keyset": job.name,
            "id": job.keyset.hex(),
            "begun": job.begun,
            "exposed_from": job.first,
            "exposed_until": job.last,
            "messages": job.messages,
            "sealed_anew": job.sealed,
            "unread": job.unread,
            "nodes": nodes,
            "done": done,
        }

    async def _left(self, store: Store, node: bytes, job: Job) -> int | None:
        """How many purges a member has not done; None where it does not answer. One that has not heard of the manifest
        that closed the keyset has one to do in any case."""
        if node == self._node.key.public:
            return await self._undone(store.id, job.keyset, job.purges)
        value: JsonValue = {
            "keyset": job.keyset.hex(),
            "purges": [[at[0].hex(), at[1].hex(), at[2]] for at in job.purges[-MOST:]],
        }
        try:
            async with aclosing(self._node.exchange.ask(store.id, node, NAME, value, PATIENCE)) as answers:
                async for answer in answers:
                    return answer if type(answer) is int and answer >= 0 else None
        except MesyxError:
            pass
        return None

    async def _answer(self, store: bytes, origin: bytes, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
        held = self._node.stores.get(store)
        if held is None or not held.authority.may(origin, "client"):
            raise Refused("only clients are told what was purged")
        try:
            assert isinstance(value, dict)
            asked = value["purges"]
            assert isinstance(asked, list)
            purges = [_place(one) for one in asked[:MOST]]
            keyset = bytes.fromhex(str(value["keyset"]))
        except (AssertionError, KeyError, TypeError, ValueError):
            raise Refused("not a question of this release") from None
        yield await self._undone(store, keyset, purges)

    async def _undone(self, store: bytes, keyset: bytes, purges: Sequence[tuple[bytes, bytes, int]]) -> int:
        held = self._node.stores.get(store)
        await self._node.purgings.look()
        judged = self._node.purgings.of.get(store)
        if held is None or judged is None:
            return len(purges) + 1
        closed = keyset in held.manifest.closed or all(each.id != keyset for each in held.manifest.keysets)
        return sum(not judged.done(At(*at)) for at in purges) + (not closed)

    # --- rows ---------------------------------------------------------------------------------------------------------

    async def _jobs(self, store: Store) -> dict[bytes, Job]:
        rows = await self._node.rows.all(SPACE)
        found = [_job(value) for key, value in rows.items() if key.startswith(store.id.hex()[:16])]
        return {job.keyset: job for job in found}

    async def _keep(self, store: Store, jobs: Iterable[Job]) -> None:
        await self._node.rows.put(SPACE, {_key(store, job.keyset): cbor2.dumps(list(job)) for job in jobs})


def _key(store: Store, keyset: bytes) -> str:
    return f"{store.id.hex()[:16]}-{keyset.hex()}"


def _job(value: bytes) -> Job:
    job = Job(*cbor2.loads(value))
    return job._replace(purges=tuple((node, run, seq) for node, run, seq in job.purges))


def _place(value: JsonValue) -> tuple[bytes, bytes, int]:
    """Raises ValueError, TypeError."""
    if not isinstance(value, list):
        raise ValueError
    node, run, seq = value
    return bytes.fromhex(str(node)), bytes.fromhex(str(run)), int(str(seq))
