"""`mesyx doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import shutil
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mesyx_core.node import breaches, lineage, reach, twins
from mesyx_core.node.finding import Finding, finding
from mesyx_core.node.verbs import accounts, queue

if TYPE_CHECKING:
    from mesyx_core.node.core import Node


async def doctor(node: Node) -> Any:
    findings = [one async for one in _findings(node)]
    return findings or [finding("ok", "nothing is wrong that can be seen from here", "")]


async def _findings(node: Node) -> AsyncIterator[Finding]:
    if not node.live:
        yield finding("warning", "the node is not running", f"start it: mesyx run -c {node.config.file}")
    for check in (_files, reach.findings, _instances, _stores, _bodies, _peers, accounts.findings):
        for one in await check(node):
            yield one
    for one in [
        *node.upkeep.findings(),
        *node.outgoing.findings(),
        *await queue.findings(node),
        *await twins.findings(node),
    ]:
        yield one
    for one in [*await lineage.findings(node), *await breaches.findings(node)]:
        yield one


async def _files(node: Node) -> list[Finding]:
    found = []
    if stat.S_IMODE(node.home.state.stat().st_mode) & 0o077:
        found.append(finding("error", f"others can look into {node.home.state}", f"chmod 700 {node.home.state}"))
    free = shutil.disk_usage(node.home.state).free
    if free < 2 * node.config.node.disk_reserve:
        found.append(
            finding("error", f"only {free >> 20} MiB of disk are free", "make room: below the reserve, mail is put off")
        )
    for warning in node.config.warnings():
        found.append(finding("warning", f"{warning.file}: {warning.path}: {warning.what}", warning.remedy))
    return found


async def _instances(node: Node) -> list[Finding]:
    found = []
    for each in node.instances.running:
        if node.live and each.health != "up":
            found.append(
                finding(
                    "error", f"{each.path} is {each.health}: {each.why}", "mend the cause; it is tried again by itself"
                )
            )
        if each.self_signed:
            found.append(
                finding(
                    "warning",
                    f"{each.path} shows a self-signed certificate",
                    f"set tls.certificate and tls.key in [{each.path}], or tell programs to trust it",
                )
            )
    return found


async def _stores(node: Node) -> list[Finding]:
    found = []
    for store in node.stores:
        if node.keyring.kit(store.id) is not None:
            found.append(
                finding(
                    "warning",
                    f"nobody has taken the recovery kit of {store.name}",
                    f"mesyx store kit {store.name} --kit FILE",
                )
            )
        if node.live and node.keyring.waits(store.id) and store.account is not None:
            found.append(
                finding(
                    "warning",
                    f"private keys that came for the store {store.name} wait to be opened",
                    f"mesyx store unlock {store.name} --passphrase-file FILE",
                )
            )
        if node.live and node.keyring.has(store.id) and store.account is None:
            found.append(
                finding(
                    "error",
                    f"the store {store.name} is locked",
                    f"mesyx store unlock {store.name} --passphrase-file FILE",
                )
            )
        if node.may("accept") and store.authority.may(node.key.public, "accept") and not node.addresses.of(store.id):
            found.append(
                finding(
                    "warning",
                    f"no address leads to the store {store.name}",
                    f"mesyx store address add ADDRESS --store {store.name}",
                )
            )
        member = node.stores.member(store)
        if member is None or not member.roles:
            how = "suspended in" if member is not None else "no member any more of"
            found.append(
                finding(
                    "warning",
                    f"this node is {how} the store {store.name}",
                    "its owner says so; if that is wrong, ask there for `mesyx store resume-node`, or invite again",
                )
            )
        if await node.journal.usage(store.id) > 0.9 * node.config.node.store_quota:
            found.append(
                finding(
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
        found.append(finding("warning", "this node holds no store yet", hint))
    return found


async def _bodies(node: Node) -> list[Finding]:
    """Bodies that others have and this node does not fetch."""
    found = []
    limit, room = node.config.node.body_limit, max(0, node.room())
    for store in node.stores:
        large = await node.journal.lacking(store.id, least=limit + 1)
        if large:
            found.append(
                finding(
                    "warning",
                    f"{store.name}: {_count(large)} said to be larger than node.body_limit and not fetched; "
                    f"the largest has {large[-1][1] >> 20} MiB",
                    "raise node.body_limit to fetch them; where nobody sent so much, a node of the store lies",
                )
            )
        waiting = await node.journal.lacking(store.id, least=room + 1, most=limit) if room < limit else []
        if waiting:
            found.append(
                finding(
                    "error",
                    f"{store.name}: {_count(waiting)} not fetched, for the disk has no room for them",
                    f"make room: {(waiting[0][1] + node.config.node.disk_reserve) >> 20} MiB must be free for the next",
                )
            )
    return found


def _count(bodies: list[tuple[bytes, int]]) -> str:
    return "a large body is" if len(bodies) == 1 else f"{len(bodies)} large bodies are"


async def _peers(node: Node) -> list[Finding]:
    unreachable = node.peers.unreachable()
    found = [
        finding(
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
            finding(
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


def _sign(who: str, sign: str) -> Finding:
    """What another member says of itself."""
    remedy = "see `mesyx doctor` there for what to do"
    if sign == "twice":
        return finding("error", f"{who} hears of another one that writes under its key, and sends nothing", remedy)
    return finding("warning", f"{who} was restored from a backup", remedy)


def _last_heard(time: int | None) -> str:
    if time is None:
        return "it was never heard of"
    return f"last heard of {datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%SZ}"
