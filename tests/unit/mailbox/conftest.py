"""Fixtures: a store on one journal, mails for it, and a way to run a scene."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mesyx_core.api import Message
from tests.unit.mailbox.rig import Rig, mail


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def letter() -> Callable[..., Message]:
    return mail


@pytest.fixture
def play(rig: Rig) -> Callable[[Callable[[Rig], Coroutine[Any, Any, None]]], None]:
    """Run a scene over an open journal, within a minute."""

    def run(scene: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(60), rig.open():
                await scene(rig)

        asyncio.run(whole())

    return run
