"""`mesyx keyset shred`: destroy a keyset's own private keys on this client, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesyx_core.api import Refused
from mesyx_core.node import keysets
from mesyx_core.node.verbs.keysets import found
from mesyx_core.node.verbs.reencryption import opened
from mesyx_core.vault.keyset import key_id

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def shred(node: Node, store: str, name: str, insist: bool = False, look: bool = False) -> Any:
    """What would be destroyed and what speaks against it, with `look`; else it is, unless something does and nobody
    insists.
    """
    held = node.stores.named(store)
    account, roster = opened(node, held)
    keyset = found(roster, held, name)
    now = await keysets.confirmed(node, held)
    case = await node.shredding.case(held, account, roster, keyset, now)
    if not case.recipients:
        raise Refused(
            f"no private key is here that is of {roster.label(keyset)} alone", f"see `mesyx keyset list {held.name}`"
        )
    if not look:
        if case.against and not insist:
            raise Refused(
                f"the key of {roster.label(keyset)} is still needed: {'; '.join(case.against)}",
                "wait for that; --insist destroys it all the same, and says first what may be lost",
            )
        await node.shredding.destroy(held, case)
    return {
        "keyset": roster.label(keyset),
        "keys": sorted(key_id(one).hex() for one in case.recipients),
        "against": list(case.against),
        "epochs": case.epochs,
        "lost_for_all": case.last,
    }
