"""What a member may not write is shown for what it is, whoever wrote it: each role against each kind."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from mesyx_core.api import Bytes
from mesyx_core.api.message import Kind as MessageKind
from mesyx_core.journal import Draft
from mesyx_core.record import content
from mesyx_core.record.entry import Kind
from mesyx_core.record.payloads import Target
from mesyx_core.record.powers import overstepped
from mesyx_core.vault import manifest
from mesyx_core.vault.nodekey import NodeKey
from tests.unit.mailbox.rig import Rig, Writing, mail
from tests.unit.record.test_powers import CONTENT, KINDS, ROLES

LOOSE = ("RESEAL", "PURGE", "VETO", "CLOSE")
"""Entries that need no epoch of their own."""


def govern(rig: Rig) -> None:
    """A member for each role, with that role alone."""
    current = rig.authority.effective
    for number, role in enumerate(ROLES):
        rig.secrets[role] = NodeKey(bytes([100 + number]) * 32)
    members = tuple(
        manifest.Member(rig.secrets[role].public, rig.secrets[role].recipient, frozenset((role,))) for role in ROLES
    )
    child = replace(
        current, number=2, parents=(current.hash,), first=current.store, members=(*current.members, *members)
    )
    rig.authority = rig.authority.accepts(manifest.sign(child, b"o" * 32))


async def write(rig: Rig, writing: Writing) -> dict[str, Any]:
    """One entry of each kind; where they stand."""
    found: dict[str, Any] = {}
    for kind in LOOSE:
        [seq] = await rig.journal.commit([(writing.log, Draft(Kind[kind], 1, 0, b"", os.urandom(40)))])
        found[kind] = (*writing.log.origin[1:], seq)
    letter = mail(1)
    assert isinstance(letter.body, Bytes)
    data = {kind: content.pack(replace(letter, kind=kind), letter.body.data) for kind in get_args(MessageKind)}
    data |= {kind: content.pack_inner(kind, os.urandom(8)) for kind in get_args(content.Inner)}
    target = Target("keyset", writing.keyset.id)
    for kind, packed in data.items():
        found[kind] = tuple((await writing.write(target, [packed]))[0])[:3]
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """By role and kind: what a client says of such an entry."""
    found: dict[tuple[str, str], str] = {}

    async def scene(folder: Path) -> None:
        rig = Rig(folder)
        govern(rig)
        async with rig.open():
            laptop = await rig.node("laptop")
            written = {role: await write(rig, await rig.node(role)) for role in ROLES}
            async with rig.account(laptop) as account:
                async with asyncio.timeout(60):
                    while (await account.status()).behind:  # noqa: ASYNC110 - nothing tells of it
                        await asyncio.sleep(0.01)
                for role, entries in written.items():
                    for kind, at in entries.items():
                        found[role, kind] = (await account.trace(*at)).why

    asyncio.run(scene(tmp_path_factory.mktemp("powers")))
    return found


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", LOOSE)
def test_what_stands_in_clear_is_judged_by_its_kind(seen: dict[tuple[str, str], str], role: str, kind: str) -> None:
    refused = seen[role, kind] == overstepped(kind.lower())
    assert refused is not KINDS[kind][ROLES.index(role)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", CONTENT)
def test_what_is_sealed_is_judged_by_what_is_inside(seen: dict[tuple[str, str], str], role: str, kind: str) -> None:
    wanted = {overstepped(kind)} if KINDS["SEALED"][ROLES.index(role)] else {overstepped("sealed")}
    assert (seen[role, kind] in wanted) is not CONTENT[kind][ROLES.index(role)]
