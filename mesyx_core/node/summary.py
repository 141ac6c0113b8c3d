"""What other members of a store say of themselves when asked by a signal: for `mesyx status` and `doctor`."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydantic import JsonValue

from mesyx_core.api import MesyxError
from mesyx_core.record import checkpoint
from mesyx_core.record.entry import Origin

if TYPE_CHECKING:
    from mesyx_core.node.core import Node

NAME: Final = "status"
PATIENCE: Final = 2.0
"""Seconds for which the others are waited for, all at once."""
SIGNS: Final = ("restored", "twice")
"""What a node may say of itself: it was restored from a backup; another one writes under its key."""
MOST: Final = 100
"""Instances that are told of."""
WORDS: Final = 200
STOPPED: Final = "this node is not running"


class Summaries:
    """Answers for this node, and asks the others."""

    def __init__(self, node: Node) -> None:
        self._node = node
        node.exchange.signals.answers[NAME] = self._answer

    async def _answer(self, store: bytes, origin: bytes, value: JsonValue) -> AsyncGenerator[JsonValue, None]:
        """To a member of the store: nothing of other stores, no names, no reasons meant for an operator."""
        node = self._node
        yield {
            "version": version("mesyx"),
            "seconds": round(time.monotonic() - node.started),
            "disk_free": shutil.disk_usage(node.home.state).free,
            "queue": node.outgoing.waiting(store),
            "signs": [*node.outgoing.signs()],
            "instances": [{"instance": each.path, "state": each.health} for each in node.instances.running[:MOST]],
        }

    async def ask(self, store: bytes) -> dict[bytes, dict[str, Any]]:
        """Every other member by its key: `answer`, or `no_answer` and why, and when it was last `heard` of."""
        held = self._node.stores.get(store)
        others = [m.node for m in held.manifest.members if m.node != self._node.key.public] if held else []
        found: dict[bytes, dict[str, Any]] = {}

        async def one(node: bytes) -> None:
            found[node] = {**await self._one(store, node), "heard": await self.heard(store, node)}

        async with anyio.create_task_group() as tasks:
            for node in others:
                tasks.start_soon(one, node)
        return found

    async def _one(self, store: bytes, node: bytes) -> dict[str, Any]:
        if not self._node.live:
            return {"answer": None, "no_answer": STOPPED}
        try:
            async with aclosing(self._node.exchange.ask(store, node, NAME, None, PATIENCE)) as answers:
                async for answer in answers:
                    return {"answer": _known(answer), "no_answer": ""}
            why = "it has nothing to say"
        except MesyxError as error:
            why = error.what[:WORDS]
        return {"answer": None, "no_answer": why}

    async def heard(self, store: bytes, node: bytes) -> int | None:
        """When anything was last heard of a member, in Unix seconds: a session, a signal, or what it has signed."""
        last = self._node.exchange.heard_of(store, node)
        times = [] if last is None else [last]
        for head in await self._node.journal.heads(store):
            signed = await self._node.journal.checkpoint(Origin(store, *head[:2])) if head.node == node else None
            if signed is not None:
                times.append(checkpoint.parse(signed)[0].time)
        return int(max(times)) if times else None


def _known(answer: JsonValue) -> dict[str, Any]:
    """Of what another node says, what has the form it should have."""
    said: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    numbers = {key: said[key] for key in ("seconds", "disk_free", "queue") if type(said.get(key)) is int}
    instances, signs = said.get("instances"), said.get("signs")
    return {
        "version": str(said.get("version", ""))[:WORDS],
        **numbers,
        "signs": [sign for sign in SIGNS if isinstance(signs, list) and sign in signs],
        "instances": [
            {key: str(one.get(key, ""))[:WORDS] for key in ("instance", "state")}
            for one in (instances if isinstance(instances, list) else [])[:MOST]
            if isinstance(one, dict)
        ],
    }
