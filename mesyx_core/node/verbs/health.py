"""`mesyx status`, `doctor` and `trace`: what runs, what waits, what is wrong and what to do about it."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mesyx_core.api import Busy, Refused
from mesyx_core.node import twins
from mesyx_core.node.verbs import queue

if TYPE_CHECKING:
    from mesyx_core.node.core import Node
    from mesyx_core.node.stores import Store


async def status(node: Node) -> Any:
    outbox = node.outgoing.status()
    return {
        "node": node.config.node.name,
        "key": node.key.public.hex(),
        "roles": list(node.config.node.roles),
        "running": node.live,
        "seconds": round(time.monotonic() - node.started) if node.live else 0,
        "instances": [
            {
                "instance": each.path,
                "use": each.bound.section.use,
                "state": each.health,
                "why": each.why,
                "seconds": round(time.monotonic() - each.since) if node.live else 0,
                "restarts": each.restarts,
            }
            for each in node.instances.running
        ],
        **({} if outbox is None else {"outbox": outbox}),
        "stores": [await _store(node, store) for store in node.stores],
    }


async def _store(node: Node, store: Store) -> dict[str, Any]:
    from mesyx_core.node.verbs.stores import _state

    heads = await node.journal.heads(store.id)
    found: dict[str, Any] = {
        "name": store.name,
        "fingerprint": store.fingerprint,
        "state": _state(node, store),
        "entries": sum(head.seq for head in heads),
        "bytes": await node.journal.usage(store.id),
        "missing_blobs": len(await node.journal.lacking(store.id)),
        "addresses": list(node.addresses.of(store.id)),
        "peers": await _members(node, store),
    }
    if store.account is not None:
        found["mailbox"] = (await store.account.status())._asdict()
        found["outgoing"] = await queue.summary(node, store)
    return found


async def _members(node: Node, store: Store) -> list[dict[str, Any]]:
    """The other members: the sessions with them, and what they say of themselves."""
    answers = await node.summaries.ask(store.id)
    return [{**peer, **answers.get(bytes.fromhex(peer["node"]), {})} for peer in node.peers.status(store.id)]


async def trace(node: Node, id: str) -> Any:
    """What is known here of the message that a network was told is sealed as `id`."""
    incarnation, _, seq = id.strip().partition("-")
    if not seq.isdecimal() or len(incarnation) != 12 or any(c not in "0123456789abcdef" for c in incarnation):
        raise Refused(f"{id!r} is not a trace id", "copy what stands after `sealed as`, like 3f9a01c2d4e5-1042")
    for store in node.stores:
        for head in await node.journal.heads(store.id):
            if head.incarnation.hex().startswith(incarnation) and head.seq >= int(seq):
                return await _traced(node, store, head.node, head.incarnation, int(seq))
    raise Refused(f"no message {id} is known here", "it may not have come to this node yet: see `mesyx status`")


async def _traced(node: Node, store: Store, origin: bytes, incarnation: bytes, seq: int) -> Any:
    found: dict[str, Any] = {
        "store": store.name,
        "node": origin.hex(),
        "incarnation": incarnation.hex(),
        "seq": seq,
        "sealed_here": origin == node.key.public,
        "held_by": node.peers.holding(store.id, origin, incarnation, seq),
    }
    if store.account is not None:
        found["message"] = (await store.account.trace(origin, incarnation, seq))._asdict()
    return found


async def reload(node: Node) -> Any:
    """Read the config again; only instances that changed are restarted."""
    if not node.live:
        raise Busy("no node is running here", "`mesyx run` reads the config as it is")
    return await node.reload()


async def doctor(node: Node) -> Any:
    findings = [finding async for finding in _findings(node)]
    return findings or [_finding("ok", "nothing is wrong that can be seen from here", "")]


def _finding(level: str, what: str, remedy: str) -> dict[str, Any]:
    return {"level": level, "what": what, "remedy": remedy}


async def _findings(node: Node) -> AsyncIterator[dict[str, Any]]:
    if not node.live:
        yield _finding("warning", "the node is not running", f"start it: mesyx run -c {node.config.file}")
    for check in (_files, _instances, _stores, _peers):
        for finding in await check(node):
            yield finding
    for finding in [*node.outgoing.findings(), *await queue.findings(node), *await twins.findings(node)]:
        yield finding


async def _files(node: Node) -> list[dict[str, Any]]:
    found = []
    if stat.S_IMODE(node.home.state.stat().st_mode) & 0o077:
        found.append(_finding("error", f"others can look into {node.home.state}", f"chmod 700 {node.home.state}"))
    free = shutil.disk_usage(node.home.state).free
    if free < 2 * node.config.node.disk_reserve:
        found.append(
            _finding(
                "error", f"only {free >> 20} MiB of disk are free", "make room: below the reserve, mail is put off"
            )
        )
    for warning in node.config.warnings():
        found.append(_finding("warning", f"{warning.file}: {warning.path}: {warning.what}", warning.remedy))
    return found


async def _instances(node: Node) -> list[dict[str, Any]]:
    found = []
    for each in node.instances.running:
        if node.live and each.health != "up":
            found.append(
                _finding(
                    "error", f"{each.path} is {each.health}: {each.why}", "mend the cause; it is tried again by itself"
                )
            )
        if each.self_signed:
            found.append(
                _finding(
                    "warning",
                    f"{each.path} shows a self-signed certificate",
                    f"set tls.certificate and tls.key in [{each.path}], or tell programs to trust it",
                )
            )
    return found


async def _stores(node: Node) -> list[dict[str, Any]]:
    found = []
    for store in node.stores:
        if node.keyring.kit(store.id) is not None:
            found.append(
                _finding(
                    "warning",
                    f"nobody has taken the recovery kit of {store.name}",
                    f"mesyx store kit {store.name} --kit FILE",
                )
            )
        if node.live and node.keyring.waits(store.id) and store.account is not None:
            found.append(
                _finding(
                    "warning",
                    f"private keys that came for the store {store.name} wait to be opened",
                    f"mesyx store unlock {store.name} --passphrase-file FILE",
                )
            )
        if node.live and node.keyring.has(store.id) and store.account is None:
            found.append(
                _finding(
                    "error",
                    f"the store {store.name} is locked",
                    f"mesyx store unlock {store.name} --passphrase-file FILE",
                )
            )
        if node.may("accept") and store.authority.may(node.key.public, "accept") and not node.addresses.of(store.id):
            found.append(
                _finding(
                    "warning",
                    f"no address leads to the store {store.name}",
                    f"mesyx store address add ADDRESS --store {store.name}",
                )
            )
        if await node.journal.usage(store.id) > 0.9 * node.config.node.store_quota:
            found.append(
                _finding(
                    "error",
                    f"the store {store.name} fills its quota",
                    "raise node.store_quota, or delete mail on a client",
                )
            )
    if not list(node.stores):
        hint = (
            "mesyx store create NAME"
            if node.may("client")
            else "mesyx node invite --role accept --role exchange --address ADDRESS"
        )
        found.append(_finding("warning", "this node holds no store yet", hint))
    return found


async def _peers(node: Node) -> list[dict[str, Any]]:
    unreachable = node.peers.unreachable()
    found = [
        _finding(
            "warning" if peer["client"] else "error",  # a laptop is off most of the day
            f"{peer['store']}: the node {str(peer['node'])[:16]} cannot be reached: {peer['why']}; "
            + _last_heard(await node.summaries.heard(peer["id"], bytes.fromhex(peer["node"]))),
            str(peer["remedy"]),
        )
        for peer in unreachable
    ]
    said = {(peer["id"], peer["node"]) for peer in unreachable}
    for store in node.stores if node.live else ():
        answers = await node.summaries.ask(store.id)
        found += [
            _finding(
                "warning",
                f"{store.name}: the node {member.hex()[:16]} does not answer ({one['no_answer']}); "
                + _last_heard(one["heard"]),
                "see whether it runs and is connected: `mesyx status` there; a laptop may just be off",
            )
            for member, one in answers.items()
            if one["answer"] is None and (store.id, member.hex()) not in said
        ]
        found += [
            _sign(f"{store.name}: the node {member.hex()[:16]}", sign)
            for member, one in answers.items()
            for sign in (one["answer"] or {}).get("signs", ())
        ]
    return found


def _sign(who: str, sign: str) -> dict[str, Any]:
    """What another member says of itself."""
    remedy = "see `mesyx doctor` there for what to do"
    if sign == "twice":
        return _finding("error", f"{who} hears of another one that writes under its key, and sends nothing", remedy)
    return _finding("warning", f"{who} was restored from a backup", remedy)


def _last_heard(time: int | None) -> str:
    if time is None:
        return "it was never heard of"
    return f"last heard of {datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%SZ}"
