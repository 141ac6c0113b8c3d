"""Alice and Bob: whole nodes in one process, with a plugin under test among them."""

from __future__ import annotations

from pathlib import Path

import anyio

from mesyx_core.testing.cluster import Plugin, alice_and_bob, section
from mesyx_core.testing.memory import PostOffice, filter_

MAIL = b"Subject: hello\r\n\r\nAlice, are you there?\r\n"


def run(main) -> None:  # type: ignore[no-untyped-def]
    anyio.run(main, backend_options={"use_uvloop": True})


def test_a_message_comes_in_at_bobs_and_is_read_at_alices(tmp_path: Path) -> None:
    async def main() -> None:
        async with alice_and_bob(tmp_path, carol=True) as cluster:
            assert (await cluster.deliver(MAIL, "nobody@example.org")).word == "reject"
            assert (await cluster.deliver(MAIL)).word == "accept"
            assert await cluster.read(1) == [MAIL]
            await cluster.restart(cluster.alice)
            await cluster.restart(cluster.bob)
            assert (await cluster.deliver(b"Subject: two\r\n\r\n")).word == "accept"
            assert await cluster.read(2) == [MAIL, b"Subject: two\r\n\r\n"]

    run(main)


def test_a_filter_judges_and_an_ingress_takes_in(tmp_path: Path) -> None:
    office = PostOffice()
    plugin = Plugin(filter=[filter_()], ingress=[office.ingress()])
    sections = section("filter", "words", "mine", {}) + section("ingress", "office", "mine", {"box": "here"})

    async def main() -> None:
        async with alice_and_bob(tmp_path, plugin=plugin, bob=sections) as cluster:
            assert (await cluster.deliver(MAIL, sender="reject@words.example")).word == "reject"
            assert (await cluster.deliver(MAIL, sender="mark@words.example")).mailbox == "Junk"
            assert await cluster.read(1, "Junk") == [MAIL]
            assert await office.post("here", "bob", "alice@example.org", b"a line")

    run(main)
