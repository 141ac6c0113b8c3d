"""An owner without any node is shown the manifests, and presents the next; nobody else is shown any."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest

from mesyx_core.builtin.memory import pair
from mesyx_core.exchange import NotMember, Violation
from mesyx_core.exchange.rescue import OwnerSigner
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import sign

pytestmark = pytest.mark.anyio


async def rescued(cluster: Any, serving: Any, key: bytes, prepare: Any, store: bytes | None = None) -> bytes:
    stranger = await cluster.node("new")
    here, there = pair()
    cluster.tasks.start_soon(serving.exchange.accept, there)
    with anyio.fail_after(10):
        node: bytes = await stranger.exchange.rescue(here, store or cluster.store, OwnerSigner(key), prepare)
    return node


def next_of(cluster: Any, grace: int = 1, key: bytes | None = None) -> Any:
    async def prepare(documents: Sequence[bytes], node: bytes) -> bytes:
        authority = Authority.of(documents)
        old = authority.effective
        changed = replace(old, number=old.number + 1, parents=(old.hash,), first=authority.store, grace=grace)
        return sign(changed, key or cluster.owner.private)

    return prepare


@pytest.mark.parametrize("which", ["private", "following"])
async def test_the_owner_is_shown_all_and_what_he_presents_is_in_effect(cluster: Any, which: str) -> None:
    _, gateway = await cluster.two()
    shown: list[bytes] = []

    async def prepare(documents: Sequence[bytes], node: bytes) -> bytes:
        shown.extend(documents)
        return bytes(await next_of(cluster)(documents, node))

    assert await rescued(cluster, gateway, getattr(cluster.owner, which), prepare) == gateway.key.public
    assert shown == cluster.owner.documents
    assert gateway.authorities[cluster.store].effective.grace == 1


async def nothing(documents: Sequence[bytes], node: bytes) -> bytes:
    raise AssertionError("it was shown something")


async def test_another_key_is_shown_nothing(cluster: Any) -> None:
    _, gateway = await cluster.two()
    with pytest.raises(NotMember):
        await rescued(cluster, gateway, os.urandom(32), nothing)


async def test_another_store_is_refused_in_the_same_words(cluster: Any) -> None:
    _, gateway = await cluster.two()
    with pytest.raises(NotMember) as one:
        await rescued(cluster, gateway, cluster.owner.private, nothing, bytes(32))
    assert "not a member of the store" in one.value.what


async def test_what_the_owner_may_not_sign_is_not_taken(cluster: Any) -> None:
    _, gateway = await cluster.two()

    async def forged(documents: Sequence[bytes], node: bytes) -> bytes:
        document = bytearray(await next_of(cluster)(documents, node))
        document[-1] ^= 1
        return bytes(document)

    with pytest.raises(Violation):
        await rescued(cluster, gateway, cluster.owner.private, forged)
    assert gateway.authorities[cluster.store].effective == cluster.owner.manifest


async def test_the_owner_is_served_nothing_but_manifests(cluster: Any) -> None:
    """He proves a key that is no node's: a session with it never runs."""
    _, gateway = await cluster.two()
    await gateway.write(await gateway.begin(cluster.store), 3)
    stranger = await cluster.node("new")
    stranger.exchange._key = OwnerSigner(cluster.owner.private)
    await stranger.hold(cluster.owner.documents)
    wire = cluster.connect(stranger, gateway)
    with anyio.fail_after(10):
        await wire.ended.wait()
    assert isinstance(wire.error, NotMember)
    assert await stranger.held(cluster.store) == {}
