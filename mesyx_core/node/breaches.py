"""What came from other members and is not what it should be: kept aside, without effect, and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mesyx_core.exchange.flow import DIVERGED
from mesyx_core.exchange.standing import Standing
from mesyx_core.node import governing, membership
from mesyx_core.node.finding import Finding, finding
from mesyx_core.node.stores import Store
from mesyx_core.record.entry import Kind, Origin
from mesyx_core.record.powers import may_write, overstepped

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

BRANCH_REMEDY: Final = (
    "somebody else writes under its key, or its disk was put back while it ran: stop all that run under it, and start "
    "one again; what it writes from then on is taken"
)
BREACH_REMEDY: Final = (
    "they have no effect; if nobody tries that node out, its key may be in other hands: look at that machine, and "
    "give it a new key (`mesyx init` in a new folder)"
)

BEYOND_REMEDY: Final = (
    "they came after the owner had ended its logs, and have no effect; if they should count, `mesyx store resume-node` "
    "or an invitation of that node brings it back"
)


async def findings(node: Node) -> list[Finding]:
    """For `mesyx doctor`."""
    return _branches(node) + await _beyond(node) + await _violations(node)


def _branches(node: Node) -> list[Finding]:
    forked = {
        (peer.store, log[0])
        for peer in node.exchange.peers()
        for log, reason in peer.declined.items()
        if reason == DIVERGED
    }
    return [
        finding(
            "error",
            f"{held.name}: a log of the node {member.hex()[:16]} has two branches; the one that came first is kept",
            BRANCH_REMEDY,
        )
        for store, member in sorted(forked)
        if (held := node.stores.get(store)) is not None
    ]


async def _beyond(node: Node) -> list[Finding]:
    """What was written beyond the place where the owner ended a node's logs."""
    found = []
    for store in node.stores:
        names = governing.known_names(store)
        standing = Standing(store.authority)
        over: Counter[bytes] = Counter()
        for head in await node.journal.heads(store.id):
            over[head.node] += max(0, head.seq - standing.limit(head[:2]))
        for member, count in sorted(over.items()):
            if count:
                who = membership.called(names, member)
                entries = "an entry" if count == 1 else f"{count} entries"
                what = f"{store.name}: {entries} of {who}, which was taken out, are kept aside"
                found.append(finding("warning", what, BEYOND_REMEDY))
    return found


async def _violations(node: Node) -> list[Finding]:
    found = []
    for store in node.stores:
        names = governing.known_names(store)
        wrong = await store.account.violations() if store.account is not None else await _visible(node, store)
        for (member, what), count in sorted(wrong.items()):
            entries = "an entry" if count == 1 else f"{count} entries"
            who = membership.called(names, member)
            found.append(finding("warning", f"{store.name}: {who} wrote {entries}: {what}", BREACH_REMEDY))
    return found


async def _visible(node: Node, store: Store) -> Mapping[tuple[bytes, str], int]:
    """What a node that cannot open entries sees of those that overstep their writer's roles."""
    found: Counter[tuple[bytes, str]] = Counter()
    for head in await node.journal.heads(store.id):
        after = 0
        while marks := await node.journal.marks(Origin(store.id, *head[:2]), after):
            after = marks[-1][0]
            for seq, kind in marks:
                roles = store.authority.roles(head.node, head.incarnation, seq)
                if roles and not may_write(kind, roles):
                    found[head.node, overstepped(Kind(kind).name.lower())] += 1
    return found
