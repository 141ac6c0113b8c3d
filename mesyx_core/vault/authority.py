"""Who may do what in a store, from all of its manifests that are known (architecture.md, section 3, Authority).

Depends on the set of manifests alone, never on the order in which they came: two nodes that hold the same documents
judge alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from types import MappingProxyType
from typing import Final

from .keyset import Keyset
from .manifest import MOST_TEXTS, Cut, Manifest, ManifestError, Member, next_commitment, parse

PURGE: Final = "purge"
"""The right to have ciphertext dropped on all nodes."""


class UnknownParent(ManifestError):
    """A manifest that follows one not held yet; ask for that one first."""


@dataclass(frozen=True)
class Authority:
    """A frozen view over a set of manifests of one store."""

    store: bytes
    manifests: Mapping[bytes, Manifest] = field(repr=False)
    """All that are known, by hash, parents before children."""
    generations: Mapping[bytes, int] = field(repr=False)
    """By hash, how often the owner key was succeeded up to that manifest."""

    @classmethod
    def of(cls, documents: Iterable[bytes]) -> Authority:
        """The view over these documents, in any order; ManifestError unless each follows from the others."""
        manifests = sorted((parse(document) for document in documents), key=lambda manifest: manifest.number)
        if not manifests:
            raise ManifestError("a store has at least one manifest")
        first = manifests[0]
        if first.parents:
            raise UnknownParent("the first manifest is missing")
        founded = cls(first.store, MappingProxyType({first.hash: first}), MappingProxyType({first.hash: 0}))
        return reduce(Authority._with, manifests[1:], founded)

    def accepts(self, document: bytes) -> Authority:
        """The view that takes this document in, too; ManifestError if it is forged or follows from none known.

        It may come from anyone. A manifest known already gives the same view again.
        """
        return self._with(parse(document))

    @cached_property
    def heads(self) -> tuple[bytes, ...]:
        """Hashes of the manifests in effect: without a child, and signed by the latest owner key."""
        return tuple(sorted(manifest.hash for manifest in self._heads))

    @cached_property
    def superseded(self) -> tuple[bytes, ...]:
        """Hashes of the manifests without a child that an owner key signed which has been succeeded; to be shown."""
        followed = self._followed
        return tuple(sorted(hash for hash in self.manifests if hash not in followed and hash not in self.heads))

    @cached_property
    def effective(self) -> Manifest:
        """What is in effect: the one head, or of several, what all of them allow until the owner signs their child."""
        heads = self._heads
        if len(heads) == 1:
            return heads[0]
        return reduce(_allowed_by_both, heads)

    @cached_property
    def joined(self) -> Manifest:
        """Of several heads, what their owner may sign as the child of all: what is in effect, and beside it the
        members, keysets and client recipients that one of them has added since they parted.
        """
        before = self._common()
        heads = self._heads
        known = {member.node for member in before.members} | {member.node for member in self.effective.members}
        added = {each.node: each for head in heads for each in head.members if each.node not in known}
        old = {keyset.id for keyset in before.keysets}
        return replace(
            self.effective,
            members=(*self.effective.members, *added.values()),
            keysets=(*self.effective.keysets, *(k for head in heads for k in head.keysets if k.id not in old)),
            clients=(*self.effective.clients, *(c for head in heads for c in head.clients if c not in before.clients)),
        )

    def _common(self) -> Manifest:
        """The newest manifest that all heads follow."""
        common = set.intersection(*(self._ancestors(head.hash) for head in self._heads))
        return max((self.manifests[hash] for hash in common), key=lambda manifest: (manifest.number, manifest.hash))

    def _ancestors(self, hash: bytes) -> set[bytes]:
        found, waiting = {hash}, [hash]
        while waiting:
            fresh = set(self.manifests[waiting.pop()].parents) - found
            found |= fresh
            waiting += fresh
        return found

    def member(self, node: bytes) -> Member | None:
        """The member with this public key, now."""
        return self._members.get(node)

    def may(self, node: bytes, role: str) -> bool:
        """Whether this node is a member with this role, now."""
        member = self._members.get(node)
        return member is not None and role in member.roles

    def roles(self, node: bytes, incarnation: bytes, seq: int) -> frozenset[str]:
        """What the writer of an entry may do in the store: a member's roles now; of what stands before the place where
        a manifest cut a log off, all the roles that its node ever had."""
        cut = next((cut for cut in self.effective.cuts if (cut.node, cut.incarnation) == (node, incarnation)), None)
        if cut is not None and seq <= cut.seq:
            past = (manifest.member(node) for manifest in self.manifests.values())
            return frozenset(role for member in past if member is not None for role in member.roles)
        member = self._members.get(node)
        return member.roles if member is not None else frozenset()

    def may_purge(self, node: bytes, keyset: bytes, incarnation: bytes = b"", seq: int = 0) -> bool:
        """Whether a node may have dropped what is sealed to a keyset: by its right `purge`, or `purge:ID` for that one
        alone. Of an entry before the place where a manifest cut its log off, by any right that the node ever had."""
        wanted = {PURGE, f"{PURGE}:{keyset.hex()}"}
        cut = next((cut for cut in self.effective.cuts if (cut.node, cut.incarnation) == (node, incarnation)), None)
        if cut is not None and 0 < seq <= cut.seq:
            past = (manifest.member(node) for manifest in self.manifests.values())
            return any(member is not None and wanted & member.rights for member in past)
        member = self._members.get(node)
        return member is not None and bool(wanted & member.rights)

    def __contains__(self, hash: object) -> bool:
        return hash in self.manifests

    @cached_property
    def _members(self) -> dict[bytes, Member]:
        return {member.node: member for member in self.effective.members}

    @cached_property
    def _followed(self) -> frozenset[bytes]:
        return frozenset(parent for manifest in self.manifests.values() for parent in manifest.parents)

    @cached_property
    def _heads(self) -> list[Manifest]:
        # A stolen key goes on signing after its owner has succeeded it: from then on it decides nothing.
        latest = max(self.generations.values())
        heads = [
            manifest
            for hash, manifest in self.manifests.items()
            if self.generations[hash] == latest and hash not in self._followed
        ]
        return sorted(heads, key=lambda manifest: manifest.hash)

    def _with(self, manifest: Manifest) -> Authority:
        if manifest.hash in self.manifests:
            return self
        if not manifest.parents or manifest.store != self.store:
            raise ManifestError("a manifest of another store")
        missing = [parent for parent in manifest.parents if parent not in self.manifests]
        if missing:
            raise UnknownParent("follows a manifest that is not known")
        parents = [self.manifests[parent] for parent in manifest.parents]
        _check_child(manifest, parents)
        generation = max(self.generations[parent.hash] + (parent.owner != manifest.owner) for parent in parents)
        return Authority(
            self.store,
            MappingProxyType({**self.manifests, manifest.hash: manifest}),
            MappingProxyType({**self.generations, manifest.hash: generation}),
        )


def _check_child(manifest: Manifest, parents: list[Manifest]) -> None:
    if manifest.number != 1 + max(parent.number for parent in parents):
        raise ManifestError("not numbered as the child of its parents")
    commitment = next_commitment(manifest.owner)
    same = [parent for parent in parents if parent.owner == manifest.owner]
    if any(parent.next_owner != commitment for parent in parents if parent.owner != manifest.owner):
        raise ManifestError("signed by a key that is neither the owner's nor the committed next one")
    # Else whoever steals the owner key could commit to a next one of his own.
    if same and manifest.next_owner not in {parent.next_owner for parent in same}:
        raise ManifestError("only the next owner key changes the commitment to the one after")


def _allowed_by_both(one: Manifest, other: Manifest) -> Manifest:
    return replace(
        one,
        number=max(one.number, other.number),
        time=max(one.time, other.time),
        members=_common_members(one, other),
        keysets=_common_keysets(one, other),
        closed=one.closed | other.closed,
        clients=tuple(set(one.clients) & set(other.clients)),
        cuts=_lowest(one.cuts + other.cuts),
        names=one.names or other.names,
        grace=max(one.grace, other.grace),
        merged=(*(one.merged or (one.hash,)), other.hash),
    )


def _common_members(one: Manifest, other: Manifest) -> tuple[Member, ...]:
    pairs = ((member, other.member(member.node)) for member in one.members)
    return tuple(
        replace(
            member,
            roles=member.roles & twin.roles,
            rights=member.rights & twin.rights,
            addresses=tuple(set(member.addresses) & set(twin.addresses)),
            dial=(member.dial + twin.dial)[:MOST_TEXTS],  # where to look for a node, not a right
        )
        for member, twin in pairs
        if twin is not None and twin.recipient == member.recipient
    )


def _common_keysets(one: Manifest, other: Manifest) -> tuple[Keyset, ...]:
    ids = {keyset.id for keyset in other.keysets}
    return tuple(keyset for keyset in one.keysets if keyset.id in ids)


def _lowest(cuts: tuple[Cut, ...]) -> tuple[Cut, ...]:
    """Per incarnation the lowest cut; of two at one place with different chains both stand, and nothing meets them."""
    lowest: dict[tuple[bytes, bytes], int] = {}
    for cut in cuts:
        origin = (cut.node, cut.incarnation)
        lowest[origin] = min(cut.seq, lowest.get(origin, cut.seq))
    return tuple(cut for cut in cuts if cut.seq == lowest[cut.node, cut.incarnation])
