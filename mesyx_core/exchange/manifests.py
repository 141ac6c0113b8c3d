"""Manifests over a session: heads first; what one lacks it asks for; nothing else runs before both hold the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from .errors import NotMember, Violation
from .frames import Documents, Heads, Lack
from .hub import Hub
from .session import Phase, Session

MAX_ROUNDS: Final = 8
MAX_TAKEN: Final = 8 << 20
"""Bytes of manifests taken from a peer that is not a member (yet)."""
_FRAME: Final = 1 << 20
_KNOWN: Final = 4096


class Manifests:
    """One session's talk about manifests."""

    def __init__(
        self, hub: Hub, session: Session, peer: bytes, opened: tuple[tuple[bytes, ...], bytes] = ((), b"")
    ) -> None:
        """`opened` are heads and digest of the client's open, on the server."""
        self._hub = hub
        self._session = session
        self._peer = peer
        self._theirs, self._digest = opened
        self._rounds = 0
        self._taken = 0
        self._changed = False

    @property
    def theirs(self) -> tuple[bytes, ...]:
        """The heads that the peer told last."""
        return self._theirs

    async def agree(self) -> None:
        """On the server: run the session if both hold the same manifests, else do the next thing towards it. Raises
        NotMember, Violation."""
        if self._session.phase is not Phase.MANIFESTS:
            return
        standing = self._hub.standing()
        if self._unknown():
            self._ask()
        elif not standing.shown(self._peer):
            raise NotMember("this node is not a member of the store")
        elif set(self._theirs) != set(standing.authority.heads):
            self._count()
            self._session.send(Heads(standing.authority.heads))
        elif not standing.served(self._peer):
            raise NotMember("this node is suspended in the store")
        else:
            self._session.run(await self._hub.comparison(), self._digest)

    async def take(self, frame: Heads | Lack | Documents) -> None:
        """A frame from the peer. Raises NotMember, Violation."""
        match frame:
            case Heads(heads):
                self._theirs = heads
                await self._next()
            case Lack(known):
                if not self._hub.standing().shown(self._peer):
                    raise NotMember("this node is not a member of the store")
                for part in _frames(await self._hub.documents(), frozenset(known)):
                    self._session.send(part)
            case Documents(documents, more):
                await self._documents(documents)
                if not more:
                    await self._learned()

    async def _next(self) -> None:
        if not self._session.dialled and self._session.phase is Phase.MANIFESTS:
            await self.agree()
        elif self._unknown():
            self._ask()

    async def _documents(self, documents: tuple[bytes, ...]) -> None:
        self._taken += sum(map(len, documents))
        if self._taken > MAX_TAKEN and not self._hub.standing().shown(self._peer):
            raise Violation("too many manifests")
        for document in documents:
            self._changed |= await self._hub.take(document)

    async def _learned(self) -> None:
        changed, self._changed = self._changed, False
        if changed:
            await self._hub.announce()
        elif self._unknown():
            # Nothing new, and still it claims heads that are not known: to a stranger only that he is one.
            raise NotMember("this node is not a member of the store")
        await self._next()

    def _unknown(self) -> bool:
        authority = self._hub.standing().authority
        return any(head not in authority for head in self._theirs)

    def _ask(self) -> None:
        self._count()
        standing = self._hub.standing()
        known = tuple(standing.authority.manifests) if standing.shown(self._peer) else ()
        self._session.send(Lack(known[-_KNOWN:]))

    def _count(self) -> None:
        if self._session.phase is Phase.MANIFESTS:
            self._rounds += 1
            if self._rounds > MAX_ROUNDS:
                raise Violation("the manifests come to no end")


def _frames(documents: dict[bytes, bytes], known: Collection[bytes]) -> Iterator[Documents]:
    part: list[bytes] = []
    weight = 0
    for document in (document for hash, document in documents.items() if hash not in known):
        if part and weight + len(document) > _FRAME:
            yield Documents(tuple(part), True)
            part, weight = [], 0
        part.append(document)
        weight += len(document)
    yield Documents(tuple(part), False)
