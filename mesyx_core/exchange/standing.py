"""What a store's authority says of nodes and logs, in the form in which sessions ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesyx_core.record.digest import Head
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import next_commitment

from .compare import Log

ANY: Final = 1 << 62


class Standing:
    """One authority, looked at."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self._cuts = {(cut.node, cut.incarnation): cut for cut in authority.effective.cuts}

    def member(self, node: bytes) -> bool:
        """Whether this node is one of the store's."""
        return self.authority.member(node) is not None

    def shown(self, node: bytes) -> bool:
        """Whether whoever proves this key is shown the store's manifests: a member, or the owner, who may have lost
        every node of his own.
        """
        manifest = self.authority.effective
        return self.member(node) or node == manifest.owner or next_commitment(node) == manifest.next_owner

    def served(self, node: bytes) -> bool:
        """Whether it is served what is in the store: a member that is suspended, without any role, is not."""
        member = self.authority.member(node)
        return member is not None and bool(member.roles)

    def limit(self, log: Log) -> int:
        """Up to which number entries of a log are valid: all of a member's, those within its cut of one that is a
        member no longer, or suspended.
        """
        if self.served(log[0]):
            return ANY
        cut = self._cuts.get(log)
        return cut.seq if cut else 0

    def valid(self, heads: Iterable[Head]) -> list[Head]:
        """Of what is held, what is valid: this is what is compared and given on."""
        return [clipped for clipped in map(self._clip, heads) if clipped is not None]

    def _clip(self, head: Head) -> Head | None:
        limit = self.limit(head[:2])
        if limit >= head.seq:
            return head
        cut = self._cuts.get(head[:2])
        return head._replace(seq=cut.seq, chain=cut.chain) if cut and cut.seq else None
