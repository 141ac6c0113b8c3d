"""How an invitation is redeemed: both ends of a short conversation that ends with the server holding the store.

    client: join (its key, proved for this connection; the store; the invitation's id)
    server: about (its recipient, its name, what it grants, and, if it is to be a client, a recipient for private keys),
            or end with the reason
    client: the store's manifests, the newest of which makes the server a member; the proof, and the private keys
    server: joined, or end with the reason

Repeating it for the same store by the same client is harmless, also after the invitation has expired.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

import anyio

from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import ManifestError, Member
from mesyx_core.vault.nodekey import NodeKey

from .errors import InvitationRefused, Violation
from .frames import About, Documents, Join, Joined, Present
from .invitation import Invitation, proof, proved
from .register import Issued, Register
from .talk import Talk

ANSWER_SECONDS: Final = 60.0
MAX_DOCUMENTS: Final = 16 << 20
_PART: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """A store that a client brought with an invitation, everything about it checked."""

    store: bytes
    authority: Authority
    """Over all manifests presented and those held before."""
    documents: tuple[bytes, ...]
    """Those presented, parents first."""
    client: bytes
    """Key of the node that brought it."""
    member: Member
    """What the manifest lets this node do."""
    addresses: tuple[str, ...]
    """Of the mail addresses that the invitation grants, those that the client picked."""
    invitation: Invitation
    keys: bytes = b""
    """The store's private keys, sealed to the recipient that the invitation was issued with; empty for none."""
    name: str = ""
    """What the person calls the store, where this node is to be a client."""


class Showing(NamedTuple):
    """What a client brings."""

    documents: Sequence[bytes]
    """All manifests of the store, parents first, of which the newest has the inviting node in it."""
    keys: bytes = b""
    """Private keys sealed to `About.keys`."""
    name: str = ""


OnJoined = Callable[[Joining], Awaitable[None]]
Prepare = Callable[[About], Awaitable[Showing]]


# --- client -----------------------------------------------------------------------------------------------------------


async def redeem(talk: Talk, invitation: Invitation, key: NodeKey, store: bytes, prepare: Prepare) -> About:
    """Make the node that invites a member of `store`, over a session on which it has said hello.

    `prepare` gets what the node says of itself, and returns what it is shown.
    Raises InvitationRefused, LinkFailed, Violation, and whatever `prepare` raises.
    """
    talk.session.join(key, store, invitation.id)
    await talk.flush()
    about = await talk.hear(About)
    shown = await prepare(about)
    (head,) = Authority.of(shown.documents).heads
    for part in _parts(shown.documents):
        await talk.say(part)
    proven = proof(invitation.secret, invitation.node, key.public, store, head)
    await talk.say(Present(proven, shown.keys, shown.name))
    await talk.hear(Joined)
    return about


def _parts(documents: Sequence[bytes]) -> list[Documents]:
    parts: list[list[bytes]] = [[]]
    for document in documents:
        if parts[-1] and sum(map(len, parts[-1])) + len(document) > _PART:
            parts.append([])
        parts[-1].append(document)
    return [Documents(tuple(part), part is not parts[-1]) for part in parts]


# --- server -----------------------------------------------------------------------------------------------------------


class Door:
    """The inviting node's side."""

    def __init__(
        self,
        key: NodeKey,
        name: str,
        register: Register,
        authority: Callable[[bytes], Authority | None],
        on_joined: OnJoined,
        now: Callable[[], float],
    ) -> None:
        self._key = key
        self._name = name
        self._register = register
        self._authority = authority
        self._on_joined = on_joined
        self._now = now
        self._one_at_a_time = anyio.Lock()

    async def admit(self, talk: Talk, asked: Join) -> Joining:
        """Answer a join. Raises InvitationRefused with the reason for both sides, LinkFailed, Violation, and what
        `on_joined` raises."""
        issued = await self._good(asked)
        offer = issued.invitation
        roles = tuple(sorted(offer.roles))
        await talk.say(About(self._key.recipient, self._name[:255], roles, tuple(offer.addresses), issued.keys))
        documents = await _documents(talk)
        joining = self._judge(asked, issued, documents, await talk.hear(Present))
        async with self._one_at_a_time:
            issued = await self._good(asked)
            # Spent first: after a crash in between, only this client can go on.
            if not issued.spent:
                await self._register.spend(issued, asked.key, asked.store)
            await self._on_joined(replace(joining, addresses=()) if issued.done else joining)
            if not issued.done:
                await self._register.finish(issued, asked.key, asked.store)
        await talk.say(Joined())
        return joining

    async def _good(self, asked: Join) -> Issued:
        issued = await self._register.find(asked.invitation)
        if issued is None:
            raise InvitationRefused("that node knows no such invitation; it may have been withdrawn: ask for a new one")
        if issued.spent:
            if (issued.client, issued.store) != (asked.key, asked.store):
                raise InvitationRefused("this invitation was used already: ask for a new one")
        elif issued.invitation.expired(self._now()):
            when = datetime.fromtimestamp(issued.invitation.expires, UTC)
            raise InvitationRefused(f"this invitation expired on {when:%Y-%m-%d at %H:%M} UTC: ask for a new one")
        return issued

    def _judge(self, asked: Join, issued: Issued, documents: Sequence[bytes], shown: Present) -> Joining:
        offer = issued.invitation
        authority = self._authority_of(asked.store, documents)
        presented = Authority.of(documents)
        if len(presented.heads) != 1:
            raise InvitationRefused("the store has two newest manifests: its owner has to join them first")
        if not proved(shown.proof, offer.secret, self._key.public, asked.key, asked.store, presented.heads[0]):
            raise InvitationRefused("the proof of the invitation is wrong")
        member = authority.member(self._key.public)
        if member is None or member.recipient != self._key.recipient:
            raise InvitationRefused("the manifest presented does not name this node as it is")
        if authority.member(asked.key) is None:
            raise InvitationRefused("the manifest presented does not name the node that presents it")
        held = self._authority(asked.store)
        before = held.member(self._key.public) if held is not None else None
        if not member.roles <= offer.roles | (before.roles if before else frozenset()):
            raise InvitationRefused("the manifest asks for roles that the invitation does not offer")
        # What the manifest had before may stay in it. That is no grant: only of the invitation's own is any made.
        if not set(member.addresses) <= set(offer.addresses).union(before.addresses if before else ()):
            raise InvitationRefused("the manifest claims mail addresses that the invitation does not grant")
        if shown.keys and not (issued.keys and "client" in member.roles):
            raise InvitationRefused("private keys were sent to a node that is no client of the store")
        return Joining(
            store=asked.store,
            authority=authority,
            documents=tuple(documents),
            client=asked.key,
            member=member,
            addresses=tuple(address for address in member.addresses if address in offer.addresses),
            invitation=offer,
            keys=shown.keys,
            name=shown.name if "client" in member.roles else "",
        )

    def _authority_of(self, store: bytes, documents: Sequence[bytes]) -> Authority:
        try:
            authority = self._authority(store)
            if authority is None:
                authority = Authority.of(documents)
            for document in documents:
                authority = authority.accepts(document)
        except ManifestError as error:
            raise InvitationRefused(f"the manifests presented cannot be taken ({error})") from None
        if authority.store != store:
            raise InvitationRefused("the manifests presented are of another store")
        return authority


async def _documents(talk: Talk) -> list[bytes]:
    documents: list[bytes] = []
    weight = 0
    while True:
        part = await talk.hear(Documents)
        documents += part.documents
        weight += sum(map(len, part.documents))
        if weight > MAX_DOCUMENTS:
            raise Violation("too many manifests")
        if not part.more:
            return documents
