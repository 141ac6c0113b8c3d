"""tests/test_filter.py of docs/tutorial/write-a-plugin.md."""

from __future__ import annotations

# [certification]
from pathlib import Path

import anyio
from mesyx_quiet.filter import FILTER

from mesyx_core.testing import FilterContract, mail
from mesyx_core.testing.cluster import Plugin, alice_and_bob, section


class TestQuiet(FilterContract):
    provider = FILTER
    config = {"lists": ["announce@lists.example.org"]}
    capabilities = frozenset({"marks"})
    examples = {"marks": mail(sender="announce@lists.example.org")}


# [/certification]


# [nodes]
def test_it_marks_what_comes_in(tmp_path: Path) -> None:
    config = section("filter", "quiet", "mine", {"lists": ["announce@lists.example.org"]})

    async def main() -> None:
        async with alice_and_bob(tmp_path, plugin=Plugin(filter=[FILTER]), bob=config) as cluster:
            verdict = await cluster.deliver(b"Subject: news\r\n\r\n", sender="announce@lists.example.org")
            assert verdict.importance == "low"
            assert await cluster.read(1) == [b"Subject: news\r\n\r\n"]

    anyio.run(main)


# [/nodes]
