"""Work that takes long, and whoever asked for it goes away."""

from __future__ import annotations

import threading
import time

import anyio
import pytest
from anyio.to_thread import run_sync

from mesyx_core.node.progress import Tell, told

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_work_tells_how_far_it_is_and_what_came_of_it() -> None:
    async def work(tell: Tell) -> str:
        tell("entries", 1, 2)
        await anyio.sleep(0.3)
        return "done"

    assert [part async for part in told(work)] == [
        {"progress": {"what": "entries", "done": 1, "of": 2}},
        {"result": "done"},
    ]


async def test_nothing_goes_on_once_work_is_broken_off() -> None:
    ended = threading.Event()

    def copying(tell: Tell) -> None:
        try:
            for done in range(1000):
                tell("entries", done, 1000)
                time.sleep(0.01)
        finally:
            ended.set()

    parts = told(lambda tell: run_sync(copying, tell))
    async for _ in parts:
        break
    await parts.aclose()
    assert ended.is_set()


async def test_nor_when_the_node_stops() -> None:
    ended = threading.Event()

    def copying(tell: Tell) -> None:
        try:
            for done in range(1000):
                tell("entries", done, 1000)
                time.sleep(0.01)
        finally:
            ended.set()

    async def asked() -> None:
        async for _ in told(lambda tell: run_sync(copying, tell)):
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asked)
        await anyio.sleep(0.3)
        tasks.cancel_scope.cancel()
    assert ended.wait(0.5)
