"""What is odd about a store's manifests: two newest ones, signatures of a key that was succeeded, one held back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mesyx_core.node.finding import Finding, finding
from mesyx_core.record.checkpoint import parse
from mesyx_core.record.entry import Origin

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.stores import Store

STOLEN: Final = (
    "they have no effect; if you did not sign them, somebody has the owner key from before `mesyx store succeed`"
)
HELD_BACK: Final = (
    "until it comes, this node goes by an older one; if it stays so, the nodes that this one is connected to hold it "
    "back: connect it to another member"
)


async def findings(node: Node) -> list[Finding]:
    """For `mesyx doctor`."""
    found = []
    for store in node.stores:
        if len(store.authority.heads) > 1:
            what = f"{store.name}: its owner has signed {len(store.authority.heads)} manifests side by side"
            remedy = f"only what all of them allow is in effect: mesyx store merge {store.name}"
            found.append(finding("warning", what, remedy))
        if store.authority.superseded:
            what = f"{store.name}: manifests signed by an owner key that was succeeded are passed over"
            found.append(finding("warning", what, STOLEN))
        if await _held_back(node, store):
            what = f"{store.name}: another member goes by a manifest that this node was not shown"
            found.append(finding("warning", what, HELD_BACK))
    return found


async def _held_back(node: Node, store: Store) -> bool:
    """Whether a running log's checkpoint cites a manifest that is not known here."""
    for head in await node.journal.heads(store.id):
        if not head.ended and store.authority.member(head.node) is not None:
            data = await node.journal.checkpoint(Origin(store.id, head.node, head.incarnation))
            if data is not None and parse(data)[0].manifest not in store.authority:
                return True
    return False
