"""A client's mailboxes as the node opens and closes them."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from mesyx_core import config
from mesyx_core.mailbox.account import Account
from mesyx_core.node import home, verbs
from mesyx_core.node.core import Node

PHRASE = "a passphrase"


async def perform(node: Node, verb: str, **arguments: object) -> object:
    async with aclosing(verbs.perform(node, verb, arguments)) as answers:  # type: ignore[type-var]
        return [answer async for answer in answers][-1]["result"]


def client(folder: Path) -> config.Config:
    file, _ = home.create(folder, "laptop", ["client"])
    return config.load(file)


def test_unlocking_twice_at_once_opens_the_mailboxes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0
    real = Account.__init__

    def count(self: Account, *arguments: object) -> None:
        nonlocal opened
        opened += 1
        real(self, *arguments)  # type: ignore[arg-type]

    async def main() -> None:
        nonlocal opened
        async with Node.opened(client(tmp_path)) as node:
            node.live = True
            await perform(node, "store.create", name="alice", passphrase=PHRASE)
            await perform(node, "store.lock", name="alice")
            monkeypatch.setattr(Account, "__init__", count)
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(lambda: perform(node, "store.unlock", name="alice", passphrase=PHRASE))
            assert opened == 1

    anyio.run(main)
