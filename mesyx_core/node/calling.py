"""What a command does: ask the running node, or take the state of one that does not run and do the work itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import anyio

from mesyx_core import config as configuration
from mesyx_core import control
from mesyx_core.api import Busy

WITH_PLUGINS: Final = frozenset({"node.invite", "store.add_node", "store.create", "doctor", "status"})
"""Verbs that look at the instances, or reach other nodes."""


async def call(file: Path, verb: str, arguments: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """What a command does: ask the running node, or without one take its state and do the work here.
    Yields {"progress": …}, at last {"result": …}. Raises MesyxError."""
    config = configuration.load(file)
    socket = config.state / "control.sock"
    for _ in range(20):
        try:
            async with aclosing(control.call(socket, verb, arguments)) as answers:
                async for answer in answers:
                    yield answer
            return
        except ConnectionError:
            pass
        # Only now what a whole node is made of: a command to a running one starts at once.
        from mesyx_core.node import verbs
        from mesyx_core.node.core import Node
        from mesyx_core.node.instances import transports
        from mesyx_core.node.run import harden

        ours = False
        harden()
        try:
            async with Node.opened(config, plugins=verb in WITH_PLUGINS) as node, transports(node):
                ours = True
                async for answer in verbs.perform(node, verb, arguments):
                    yield answer
            return
        except Busy:
            if ours:  # the verb itself wants a running node
                raise
            await anyio.sleep(0.1)  # a node that starts or stops: soon it has its socket, or is gone
    raise Busy(f"{config.state}: another mesyx process is using this state", "wait until it is done, then try again")
