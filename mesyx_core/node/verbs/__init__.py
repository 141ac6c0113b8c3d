"""What commands ask of a node, whether it runs or not: one module a noun, one function a verb.

A verb takes the node and its arguments and returns plain JSON, or yields it piece by piece; one that takes long has a
parameter `tell` (`mesyx_core.node.progress.Tell`) and calls it as it goes on.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from mesyx_core.api import Refused
from mesyx_core.node.progress import quietly, told
from mesyx_core.node.verbs import (
    accounts,
    addresses,
    backups,
    doctor,
    health,
    invitations,
    keysets,
    logins,
    members,
    offline,
    plugins,
    queue,
    recovery,
    reencryption,
    shredding,
    stores,
    ways,
)

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

Verb = Callable[..., Any]

VERBS: Final[Mapping[str, Verb]] = MappingProxyType(
    {
        "store.create": stores.create,
        "store.kit": stores.kit,
        "store.kit_taken": stores.kit_taken,
        "store.list": stores.listing,
        "store.show": stores.show,
        "store.unlock": stores.unlock,
        "store.lock": stores.lock,
        "store.way.add": ways.add,
        "store.way.list": ways.listing,
        "store.way.remove": ways.remove,
        "store.add_node": invitations.add_node,
        "store.remove_node": members.remove_node,
        "store.suspend_node": members.suspend_node,
        "store.resume_node": members.resume_node,
        "store.restore": recovery.restore,
        "store.succeed": recovery.succeed,
        "store.merge": recovery.merge,
        "store.govern": offline.govern,
        "store.owner_key": offline.owner_key,
        "store.owner_key_taken": offline.owner_key_taken,
        "store.address.add": addresses.add,
        "store.address.remove": addresses.remove,
        "store.address.list": addresses.listing,
        "node.invite": invitations.invite,
        "keyset.list": keysets.listing,
        "keyset.policy": keysets.set_policy,
        "keyset.add": keysets.add,
        "keyset.retire": keysets.retire,
        "keyset.reseal": reencryption.reseal,
        "keyset.shred": shredding.shred,
        "keyset.compromised": reencryption.compromised,
        "keyset.import": keysets.import_,
        "keyset.export": keysets.export,
        "keyset.exported": keysets.exported,
        "keyset.open": keysets.open_,
        "keyset.close": keysets.close,
        "login.add": logins.add,
        "login.list": logins.listing,
        "login.remove": logins.remove,
        "account.add": accounts.add,
        "account.list": accounts.listing,
        "account.remove": accounts.remove,
        "queue.list": queue.listing,
        "queue.retry": queue.retry,
        "queue.drop": queue.drop,
        "queue.move": queue.move,
        "backup": backups.backup,
        "plugin.call": plugins.call,
        "status": health.status,
        "doctor": doctor.doctor,
        "trace": health.trace,
        "reload": health.reload,
    }
)


async def perform(node: Node, verb: str, arguments: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Run one verb: {"value": …} for each piece, {"progress": …} of what takes long, at last {"result": …}. Raises
    Refused for a verb or for arguments that this version does not know."""
    found = VERBS.get(verb)
    if found is None:
        raise Refused(
            f"this node does not know the command {verb!r}", "use the same release for the node and for `mesyx`"
        )
    signature = inspect.signature(found)
    own = {name: value for name, value in arguments.items() if name != "tell"}
    try:
        signature.bind(node, **own, **({"tell": quietly} if "tell" in signature.parameters else {}))
    except TypeError as error:
        raise Refused(f"wrong arguments for {verb}", "use the same release for the node and for `mesyx`") from error
    if inspect.isasyncgenfunction(found):
        async with aclosing(found(node, **own)) as values:
            async for value in values:
                yield {"value": value}
        yield {"result": None}
        return
    if "tell" not in signature.parameters:
        yield {"result": await found(node, **own)}
        return
    async with aclosing(told(lambda tell: found(node, **own, tell=tell))) as parts:
        async for part in parts:
            yield part
