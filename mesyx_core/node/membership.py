"""Who is a member of a store, by the words that people use, and where the log of one that is not any more ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from mesyx_core.api import Refused
from mesyx_core.exchange.standing import Standing
from mesyx_core.node.stores import Store
from mesyx_core.vault.manifest import Cut, Manifest, Member
from mesyx_core.vault.names import LONGEST_NAME, Names

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

_SHORTEST = 4


def find(store: Store, names: Names | None, said: str) -> Member:
    """The member of this name, or whose key begins with these hex digits. Raises Refused."""
    return find_in(store.manifest, names, said)


def find_in(manifest: Manifest, names: Names | None, said: str) -> Member:
    """The same, of any manifest."""
    members = manifest.members
    found = [member for member in members if names is not None and names.node(member.node).name == said]
    if not found and len(said) >= _SHORTEST:
        found = [member for member in members if member.node.hex().startswith(said.lower())]
    if len(found) == 1:
        return found[0]
    known = ", ".join(called(names, member.node) for member in members)
    raise Refused(f"{said!r} is {'several nodes' if found else 'no node'} of the store", f"its nodes are: {known}")


def called(names: Names | None, node: bytes) -> str:
    """A node's name, or the beginning of its key."""
    return (names.node(node).name if names is not None else "") or node.hex()[:16]


def fresh_name(names: Names | None, node: bytes, said: str) -> str:
    """What a node is called from now on: what it calls itself, told from others of that name."""
    said = said[:LONGEST_NAME] if said.isprintable() else ""
    taken = {each.name for key, each in names.nodes.items() if key != node} if names is not None else set()
    if said not in taken:
        return said
    numbered = (f"{said[: LONGEST_NAME - 4]}-{number}" for number in range(2, 1000))
    return next((name for name in numbered if name not in taken), "")


async def cuts(node: Node, store: Store, member: bytes) -> tuple[Cut, ...]:
    """For each log of a member the last valid entry that this node knows."""
    heads = Standing(store.authority).valid(await node.journal.heads(store.id))
    return tuple(Cut(*head[:4]) for head in heads if head.node == member)


def without(manifest: Manifest, member: bytes, ends: Iterable[Cut]) -> Manifest:
    """The member is none any more; its logs end there."""
    others = tuple(each for each in manifest.members if each.node != member)
    return replace(manifest, members=others, cuts=_with(manifest, member, ends))


def suspended(manifest: Manifest, member: bytes, ends: Iterable[Cut]) -> Manifest:
    """It stays a member, without any role or right; its logs end there."""
    return replace(_changed(manifest, member, frozenset(), frozenset()), cuts=_with(manifest, member, ends))


def resumed(manifest: Manifest, before: Member) -> Manifest:
    """It has the roles and rights again that it had, and what it wrote meanwhile counts."""
    return replace(_changed(manifest, before.node, before.roles, before.rights), cuts=_with(manifest, before.node, ()))


def before_suspension(store: Store, member: bytes) -> Member | None:
    """As the newest manifest has it that gave it a role."""
    manifests = sorted(store.authority.manifests.values(), key=lambda manifest: -manifest.number)
    known = (manifest.member(member) for manifest in manifests)
    return next((one for one in known if one is not None and one.roles), None)


def _changed(manifest: Manifest, member: bytes, roles: frozenset[str], rights: frozenset[str]) -> Manifest:
    return replace(
        manifest,
        members=tuple(
            replace(each, roles=roles, rights=rights) if each.node == member else each for each in manifest.members
        ),
    )


def _with(manifest: Manifest, member: bytes, ends: Iterable[Cut]) -> tuple[Cut, ...]:
    return (*(cut for cut in manifest.cuts if cut.node != member), *ends)
