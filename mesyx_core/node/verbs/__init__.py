"""What commands ask of a node, whether it runs or not: one module a noun, one function a verb.

A verb takes the node and its arguments and returns plain JSON; one that takes long also reports progress.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import JsonValue

from mesyx_core.api import Refused
from mesyx_core.node.verbs import (
    accounts,
    addresses,
    doctor,
    health,
    invitations,
    keysets,
    logins,
    members,
    queue,
    stores,
)

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

Verb = Callable[..., Awaitable[JsonValue]]

VERBS: Final[Mapping[str, Verb]] = MappingProxyType(
    {
        "store.create": stores.create,
        "store.kit": stores.kit,
        "store.kit_taken": stores.kit_taken,
        "store.list": stores.listing,
        "store.show": stores.show,
        "store.unlock": stores.unlock,
        "store.lock": stores.lock,
        "store.add_node": invitations.add_node,
        "store.remove_node": members.remove_node,
        "store.suspend_node": members.suspend_node,
        "store.resume_node": members.resume_node,
        "store.address.add": addresses.add,
        "store.address.remove": addresses.remove,
        "store.address.list": addresses.listing,
        "node.invite": invitations.invite,
        "keyset.list": keysets.listing,
        "keyset.policy": keysets.set_policy,
        "keyset.add": keysets.add,
        "keyset.retire": keysets.retire,
        "keyset.import": keysets.import_,
        "keyset.export": keysets.export,
        "keyset.exported": keysets.exported,
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
        "status": health.status,
        "doctor": doctor.doctor,
        "trace": health.trace,
        "reload": health.reload,
    }
)


async def perform(node: Node, verb: str, arguments: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Run one verb. Raises Refused for a verb or arguments that this version does not know."""
    found = VERBS.get(verb)
    if found is None:
        raise Refused(
            f"this node does not know the command {verb!r}", "use the same release for the node and for `mesyx`"
        )
    try:
        inspect.signature(found).bind(node, **arguments)
    except TypeError as error:
        raise Refused(f"wrong arguments for {verb}", "use the same release for the node and for `mesyx`") from error
    yield {"result": await found(node, **arguments)}
