"""What came from other members and is not what it should be: kept aside, without effect, and told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mesyx_core.exchange.flow import DIVERGED
from mesyx_core.node.finding import Finding, finding

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


async def findings(node: Node) -> list[Finding]:
    """For `mesyx doctor`."""
    return _branches(node) + await _violations(node)


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


async def _violations(node: Node) -> list[Finding]:
    found = []
    for store in node.stores:
        if store.account is not None:
            for (member, what), count in sorted((await store.account.violations()).items()):
                entries = "an entry" if count == 1 else f"{count} entries"
                who = member.hex()[:16]
                found.append(finding("warning", f"{store.name}: the node {who} wrote {entries}: {what}", BREACH_REMEDY))
    return found
