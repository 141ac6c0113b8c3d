"""Alice and Bob: whole nodes in one process, with a plugin under test among them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
from pydantic import BaseModel

from mesyx_core.api import Context, Temporary
from mesyx_core.testing import refused
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


class Deaf:
    """No filter: it has no judge()."""


@asynccontextmanager
async def open_deaf(config: BaseModel, context: Context) -> AsyncIterator[Deaf]:
    yield Deaf()


def test_what_lacks_a_method_of_its_role_is_told_and_lets_nothing_slip_by(tmp_path: Path) -> None:
    plugin = Plugin(filter=[replace(filter_(), open=open_deaf)])

    async def main() -> None:
        async with alice_and_bob(tmp_path, plugin=plugin, bob=section("filter", "deaf", "mine", {})) as cluster:
            (shown,) = [i for i in (await cluster.bob.ask("status"))["instances"] if i["instance"] == "filter.deaf"]
            assert shown["state"] == "retry"
            assert "Deaf has no judge, which Filter asks for" in shown["why"]
            with refused(Temporary):
                await cluster.deliver(MAIL)

    run(main)
