"""`mesyx queue …`: what waits to be sent, on the client that submitted it and on the gateway that sends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mesyx_core.api import Locked, Refused
from mesyx_core.mailbox.account import Account
from mesyx_core.mailbox.orders import Moved
from mesyx_core.mailbox.submissions import Addressee, Submitted
from mesyx_core.node.clock import now
from mesyx_core.node.finding import Finding, Level, finding

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.stores import Store

KEPT: Final = 30 * 86400
"""Seconds for which `--all` shows what has ended."""
SILENT: Final = 86400
"""Seconds after which a gateway that is not heard of is spoken of as one that may be gone for good."""
PATIENCE: Final = 300
"""Seconds that something may wait before `doctor` speaks of it."""
SHORTEST: Final = 4
"""Digits of an id or a node key that are enough, if they fit one alone."""
STATES: Final = {
    "waits": "waits for a gateway",
    "asked": "with its gateway",
    "later": "is tried again",
    "again": "is sealed again",
    "dropping": "is being dropped",
}


async def listing(node: Node, all: bool = False) -> Any:
    """On a gateway ids, counts and times, no addresses, for it keeps none; on a client whom it is for as well."""
    rows: list[dict[str, Any]] = await node.outgoing.listing()
    since = int(now().timestamp()) - KEPT if all else None
    for store in _client_stores(node):
        if store.account is None:
            rows.append({"id": "", "store": store.name, "state": "locked", "recipients": []})
        else:
            rows += [_row(store, one) for one in await store.account.outbound.listing(since)]
    return rows


def _row(store: Store, one: Submitted) -> dict[str, Any]:
    time = now().timestamp()
    overdue = not one.over and time >= one.deadline
    return {
        "id": one.id.hex(),
        "store": store.name,
        "network": one.network,
        "state": one.state,
        "waits_for": "" if one.over else "its person: its time is over" if overdue else STATES.get(one.state, ""),
        "submitted": one.time,
        "seconds": max(0, int(time) - one.time),
        "deadline": one.deadline,
        "gateway": one.gateway.hex(),
        "sender": one.sender,
        "recipients": [_addressee(each) for each in one.addressees],
    }


def _addressee(one: Addressee) -> dict[str, Any]:
    return {
        "address": one.address,
        "state": one.word,
        "reason": one.reason,
        "remote": one.remote,
        "attempts": one.attempts,
        "next": one.next,
        "may_have_been_sent": one.maybe,
    }


async def retry(node: Node, id: str) -> Any:
    """Try now; what had failed is submitted anew."""
    _, account, one = await _find(node, id)
    fresh, what = await account.orders.retry(one.id)
    return {"id": fresh.hex(), "was": one.id.hex(), "done": what}


async def drop(node: Node, id: str) -> Any:
    """Send it no more."""
    _, account, one = await _find(node, id)
    return {"id": one.id.hex(), "done": await account.orders.drop(one.id)}


async def move(node: Node, to: str, id: str | None = None, source: str | None = None) -> Any:
    """Hand what is not known to be sent to another gateway: one submission, or all that one gateway has."""
    if (id is None) == (source is None):
        raise Refused("say what to move", "one ID, or --from NODE for all that a gateway has")
    if id is not None:
        store, account, one = await _find(node, id)
        moved = await account.orders.move(_member(store, to), ids=[one.id])
        return [_moved(store, each) for each in moved]
    rows: list[dict[str, Any]] = []
    assert source is not None
    holding = [store for store in _open(node) if _knows(store, source)]
    if not holding:
        raise _unknown(source)
    for store in holding:
        assert store.account is not None
        old, new = _member(store, source), _member(store, to)
        rows += [_moved(store, each) for each in await store.account.orders.move(new, source=old)]
    return rows


def _moved(store: Store, one: Moved) -> dict[str, Any]:
    return {
        "id": one.submission.id.hex(),
        "store": store.name,
        "recipients": one.recipients,
        "may_have_been_sent": list(one.maybe),
        "why_not": one.why,
    }


# --- finding -------------------------------------------------------------------------------------------------------


def _client_stores(node: Node) -> Iterator[Store]:
    return (store for store in node.stores if node.keyring.has(store.id))


def _open(node: Node) -> list[Store]:
    """Raises Locked, Refused."""
    stores = list(_client_stores(node))
    if not stores:
        raise Refused("this node is no client: it knows of requests, not of messages", "do that on the client")
    found = [store for store in stores if store.account is not None]
    if not found:
        raise Locked(
            f"the store {stores[0].name} is locked on this node",
            f"mesyx run, then mesyx store unlock {stores[0].name} --passphrase-file FILE",
        )
    return found


async def _find(node: Node, id: str) -> tuple[Store, Account, Submitted]:
    """A submission by the beginning of its id. Raises Locked, Refused."""
    digits = id.strip().lower()
    found = [
        (store, store.account, one)
        for store in _open(node)
        if store.account is not None
        for one in (await store.account.outbound.find(digits) if len(digits) >= SHORTEST else ())
    ]
    if len(found) != 1:
        what = "could be several submissions" if found else "is no submission that is known here"
        raise Refused(f"{id!r} {what}", "`mesyx queue list --all` shows their ids")
    return found[0]


def _knows(store: Store, text: str) -> bool:
    return len(_members(store, text)) == 1


def _members(store: Store, text: str) -> list[bytes]:
    given = text.strip().lower()
    return [
        member.node
        for member in store.manifest.members
        if (len(given) >= SHORTEST and member.node.hex().startswith(given))
        or any(given == (urlsplit(address).hostname or "") for address in member.dial)
    ]


def _member(store: Store, text: str) -> bytes:
    """A node by the beginning of its key, or by the host name that it is reached at. Raises Refused."""
    found = _members(store, text)
    if len(found) != 1:
        raise _unknown(text)
    return found[0]


def _unknown(text: str) -> Refused:
    return Refused(
        f"{text!r} names no one node of the store",
        "give the first digits of its key, or its host name: `mesyx store show NAME` has them",
    )


# --- status and doctor ---------------------------------------------------------------------------------------------


async def summary(node: Node, store: Store) -> dict[str, Any] | None:
    """For `mesyx status`: how many wait, since when, and for whom. None where the store is not open."""
    if store.account is None:
        return None
    waiting = await store.account.outbound.listing()
    heard = await _heard(node, store)
    return {
        "waiting": len(waiting),
        "since": min((one.time for one in waiting), default=None),
        "for": [
            {
                "gateway": gateway.hex() or "none yet",
                "messages": len(some),
                "since": min(one.time for one in some),
                "heard": heard.get(gateway),
            }
            for gateway, some in _by_gateway(waiting).items()
        ],
    }


def _by_gateway(waiting: Sequence[Submitted]) -> dict[bytes, list[Submitted]]:
    found: dict[bytes, list[Submitted]] = {}
    for one in waiting:
        found.setdefault(one.gateway, []).append(one)
    return found


async def _heard(node: Node, store: Store) -> dict[bytes, int]:
    """When each node of a store was last heard of; those connected, just now."""
    assert store.account is not None
    found = await store.account.outbound.heard.times()
    time = int(now().timestamp())
    for peer in node.exchange.peers():
        if peer.store == store.id:
            found[peer.node] = time
    return found


async def findings(node: Node) -> list[Finding]:
    """For `mesyx doctor`."""
    found: list[Finding] = []
    for store in _client_stores(node):
        if store.account is not None:
            found += await _store_findings(node, store, store.account)
    return found


async def _store_findings(node: Node, store: Store, account: Account) -> list[Finding]:
    time = int(now().timestamp())
    waiting = [one for one in await account.outbound.listing() if time - one.time > PATIENCE]
    heard = await _heard(node, store) if waiting else {}
    late = [one for one in waiting if time >= one.deadline]
    found = []
    if late:
        ids = late[0].id.hex()[:12]
        found.append(
            finding(
                "error",
                f"{store.name}: {_messages(len(late))}, and could not be sent in time",
                f"mesyx queue retry {ids}, or mesyx queue drop {ids}; `mesyx queue list` shows all",
            )
        )
    for gateway, some in _by_gateway([one for one in waiting if one not in late]).items():
        if not gateway:
            found.append(await _no_gateway(store, account, some, time))
        elif not store.authority.may(gateway, "accept"):
            what = (
                f"{store.name}: {_messages(len(some))} for the node {gateway.hex()[:16]}, which is no gateway any more"
            )
            found.append(finding("error", what, _handing_over(store, gateway, heard, time)))
        elif time - heard.get(gateway, 0) > SILENT:
            found.append(_silent(store, gateway, len(some), heard, time))
    return found


async def _no_gateway(store: Store, account: Account, some: Sequence[Submitted], time: int) -> Finding:
    level: Level = "error" if time - min(one.time for one in some) > SILENT else "warning"
    known = await account.outbound.gateways()
    remedy = (
        "start a gateway of the store, and see that this client reaches it: mesyx status"
        if known
        else "give a gateway of the store an [egress.smtp] section, and reload it"
    )
    return finding(level, f"{store.name}: {_messages(len(some))} for a gateway that can send", remedy)


def _silent(store: Store, gateway: bytes, count: int, heard: dict[bytes, int], time: int) -> Finding:
    last = heard.get(gateway, 0)
    since = f"for {(time - last) // 86400} days" if last and time - last >= 2 * SILENT else "for more than a day"
    what = f"{store.name}: {_messages(count)} for the gateway {gateway.hex()[:16]}, which was not heard of {since}"
    remedy = f"start it; if it is gone for good: {_handing_over(store, gateway, heard, time)}"
    return finding("error", what, remedy)


def _handing_over(store: Store, gateway: bytes, heard: dict[bytes, int], time: int) -> str:
    """The command, with the gateway heard of last that could take over."""
    others = [
        (heard.get(member.node, 0), member.node)
        for member in store.manifest.members
        if "accept" in member.roles and member.node != gateway and time - heard.get(member.node, 0) <= SILENT
    ]
    to = max(others)[1].hex()[:16] if others else "NODE, once the store has another gateway"
    return f"mesyx queue move --from {gateway.hex()[:16]} --to {to}"


def _messages(count: int) -> str:
    return "one message waits" if count == 1 else f"{count} messages wait"
