"""What people do about messages that wait to be sent: try now, take back, hand to another gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mesyx_core.api import Locked, Refused
from mesyx_core.mailbox import submitting
from mesyx_core.mailbox.gateways import normals, turns_away
from mesyx_core.mailbox.outbound import PATIENCE
from mesyx_core.mailbox.submissions import Submitted
from mesyx_core.record.outgoing import Submission

if TYPE_CHECKING:
    from mesyx_core.mailbox.account import Account


class Moved(NamedTuple):
    """What became of an order to hand something to another gateway."""

    submission: Submitted
    recipients: int
    maybe: tuple[str, ...]
    """Whom the old gateway may have sent it to."""
    why: str = ""
    """Why it was not moved."""


class Orders:
    """One store's; for the event loop that opened its account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._outbound = account.outbound

    async def retry(self, id: bytes) -> tuple[bytes, str]:
        """Try now: (the submission's id, what was done). What had failed is submitted anew, under an id of its own.
        Raises Refused, Locked, Temporary."""
        await self._account.resealing.check()
        async with self._outbound.lock:
            one = await self._known(id)
            if one.over:
                return await self._resubmit(one), "submitted anew"
            if one.dropping:
                raise Refused("it is being dropped", "submit it again")
            deadline = max(one.deadline, int(self._account.now()) + PATIENCE)
            if not one.day or any(fate.word == "again" for fate in one.addressees):
                if await self._account.resealing.seal(one, b"" if one.day else one.gateway, deadline):
                    return id, "sealed"
                note = Submission(id, "send", one.gateway, b"", deadline, self._outbound.time(one))
                await self._outbound.commit([note])
                return id, "waits"
            ask = await self._outbound.ask(one, "retry")
            if ask is None:
                raise Refused(
                    "its gateway has published no key that could be used now",
                    "wait until it is heard of again, or hand over: mesyx queue move ID --to NODE",
                )
            await self._outbound.commit(ask)
            return id, "asked"

    async def drop(self, id: bytes) -> str:
        """Send it no more: "dropped" when no gateway has it, else "asked". Raises Refused when it has ended."""
        async with self._outbound.lock:
            one = await self._known(id)
            if one.over:
                raise Refused("it has ended already", "`mesyx queue list --all` shows how")
            await self._outbound.commit(await self._outbound.drop(one))
            return "asked" if one.day else "dropped"

    async def move(self, to: bytes, *, ids: Sequence[bytes] = (), source: bytes = b"") -> list[Moved]:
        """Hand to another gateway what is not known to be sent: these, or all that `source` has. Raises Refused,
        Temporary."""
        if not self._account.authority().may(to, "accept"):
            raise Refused("that node is no gateway of this store", "`mesyx store show NAME` shows its nodes")
        await self._account.resealing.check()
        async with self._outbound.lock:
            chosen = [await self._known(id) for id in ids] or [
                one for one in await self._outbound.listing() if one.gateway == source and not one.dropping
            ]
            return [await self._move(one, to) for one in chosen]

    async def _move(self, one: Submitted, to: bytes) -> Moved:
        maybe = tuple(fate.address for fate in one.left if fate.maybe)
        try:
            if one.gateway == to and one.day:
                raise Refused("that gateway has it already", "mesyx queue retry ID")
            if one.dropping:
                raise Refused("it is being dropped", "submit it again")
            member = self._account.authority().member(to)
            grants = normals(member.addresses if member is not None else ())
            for sender in await self._outbound.senders(one):
                if turns_away(sender, grants):
                    raise Refused(
                        f"that gateway has not granted {sender}", "invite there with --address, then add-node here"
                    )
            if one.over or any(gateway == to for gateway, _ in one.requests):
                await self._resubmit(one, to)
            else:
                await self._hand_over(one, to)
        except (Refused, Locked) as error:
            return Moved(one, 0, maybe, str(error))
        return Moved(one, len(one.left), maybe)

    async def _hand_over(self, one: Submitted, to: bytes) -> None:
        now = int(self._account.now())
        deadline = one.deadline if one.deadline > now else now + PATIENCE
        parts = await self._outbound.request(one, deadline, to)
        if parts is None:
            parts = [Submission(one.id, "send", to, b"", deadline, self._outbound.time(one))]
        # Should the old one come back, it hears this before it sends anything. No note of it: the new one's counts.
        drop = await self._outbound.ask(one, "drop") if one.day else None
        await self._outbound.commit([*(drop or ())[:1], *parts])

    async def _resubmit(self, one: Submitted, by: bytes = b"") -> bytes:
        """A new submission to whom it was not sent; the old one, if it goes on, is dropped. Raises Refused, Locked."""
        message, head = await self._outbound.copy(one)
        to = tuple(message.recipients[fate.number] for fate in one.addressees if fate.word != "sent")
        if not to:
            raise Refused("it was sent to all its recipients", "submit it again to send it again")
        envelope = {key: value for key, value in message.envelope.items() if key not in submitting.OURS}
        id, fresh = await self._outbound.fresh(replace(message, recipients=to, envelope=envelope), head, {}, by)
        dropped = [] if one.over else await self._outbound.drop(one)
        await self._outbound.commit([*dropped, *fresh])
        return id

    async def _known(self, id: bytes) -> Submitted:
        one = await self._outbound.one(id)
        if one is None:
            raise Refused("no submission of that id is known here", "`mesyx queue list --all` shows them")
        return one
