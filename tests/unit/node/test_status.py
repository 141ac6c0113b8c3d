"""`mesyx status` shows what the store's other members say of themselves, and `doctor` who does not answer."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mesyx_core.exchange.relay import Relay
from mesyx_core.node import summary
from mesyx_core.testing.cluster import STORE, Cluster, Host, alice_and_bob

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster(tmp_path: Path, anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Its nodes hear what others pass on from their first second on."""
    monkeypatch.setattr(Relay, "repeated", lambda self, made: False)
    async with alice_and_bob(tmp_path, carol=True) as cluster:
        yield cluster


async def members(host: Host) -> dict[str, Any]:
    """What a node's status shows of the others, once it has sessions."""
    [store] = (await host.ask("status"))["stores"]
    return {peer["node"]: peer for peer in store["peers"]}


async def answered(host: Host, count: int) -> dict[str, Any]:
    with anyio.fail_after(20):
        while True:
            found = await members(host)
            if sum(one["answer"] is not None for one in found.values()) == count:
                return found
            await anyio.sleep(0.05)


def key(host: Host) -> str:
    assert host.node is not None
    return host.node.key.public.hex()


async def test_every_member_shows_the_others_also_across_one_between(cluster: Cluster) -> None:
    assert cluster.carol is not None
    for host in (cluster.alice, cluster.bob, cluster.carol):
        found = await answered(host, 2)
        others = {key(each) for each in (cluster.alice, cluster.bob, cluster.carol)} - {key(host)}
        assert found.keys() == others
        for one in found.values():
            assert one["no_answer"] == ""
            assert one["answer"].keys() == {"version", "seconds", "disk_free", "queue", "signs", "instances"}
            assert one["answer"]["instances"] == [{"instance": "transport.meet", "state": "up"}]
            assert abs(one["heard"] - time.time()) < 10
    json.dumps(found)


async def test_one_that_does_not_answer_is_said_to_and_waited_for_two_seconds(cluster: Cluster) -> None:
    await answered(cluster.alice, 2)
    assert cluster.bob.node is not None

    async def silent(store: bytes, origin: bytes, value: Any) -> AsyncGenerator[Any, None]:
        await anyio.sleep_forever()
        yield None

    cluster.bob.node.exchange.signals.answers["status"] = silent
    began = time.monotonic()
    found = (await members(cluster.alice))[key(cluster.bob)]
    assert 2 <= time.monotonic() - began < 4
    assert found["answer"] is None
    assert found["no_answer"] == "no answer in time"


async def test_doctor_says_who_does_not_answer_and_when_it_was_last_heard_of(cluster: Cluster) -> None:
    assert cluster.carol is not None
    await answered(cluster.alice, 2)
    carol = key(cluster.carol)
    assert not [one for one in await cluster.alice.ask("doctor") if carol[:16] in one["what"]]
    await cluster.carol.end()
    with anyio.fail_after(20):
        while (await members(cluster.alice))[carol]["answer"] is not None:  # noqa: ASYNC110 - across nodes
            await anyio.sleep(0.05)
    [found] = [one for one in await cluster.alice.ask("doctor") if carol[:16] in one["what"]]
    assert found["level"] == "warning"
    assert "does not answer" in found["what"]
    assert f"last heard of {time.strftime('%Y-%m-%d')}" in found["what"]


async def test_doctor_names_bodies_that_are_not_fetched_and_why(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cluster.alice.node
    assert node is not None
    lacks = [(bytes([n]) * 32, size << 20) for n, size in enumerate((1, 300, 700, 5000))]

    async def lacking(store: bytes, *, max_count: int = 1000, least: int = 0, most: int = 1 << 62) -> Any:
        return [one for one in lacks if least <= one[1] <= most]

    monkeypatch.setattr(node.journal, "lacking", lacking)
    monkeypatch.setattr(node, "room", lambda: 200 << 20)
    found = {one["what"]: one for one in await cluster.alice.ask("doctor")}
    large = f"{STORE}: a large body is said to be larger than node.body_limit and not fetched; the largest has 5000 MiB"
    assert "body_limit" in found[large]["remedy"]
    waiting = found[f"{STORE}: 2 large bodies are not fetched, for the disk has no room for them"]
    assert waiting["level"] == "error"
    assert "556 MiB must be free" in waiting["remedy"]


async def test_a_summary_tells_nothing_of_other_stores(cluster: Cluster) -> None:
    await answered(cluster.alice, 2)
    await cluster.alice.ask("store.create", name="secret-other", passphrase="another passphrase")
    found = (await answered(cluster.bob, 2))[key(cluster.alice)]
    assert "secret" not in json.dumps(found["answer"])
    assert STORE not in json.dumps(found["answer"])


def test_what_a_hostile_member_says_is_cut_to_form() -> None:
    known = summary._known({"version": ["x"], "seconds": "long", "queue": 3, "instances": [1, {"instance": "a" * 999}]})
    assert known["queue"] == 3
    assert "seconds" not in known
    assert [len(one["instance"]) for one in known["instances"]] == [200]
    assert summary._known("nonsense")["instances"] == []
