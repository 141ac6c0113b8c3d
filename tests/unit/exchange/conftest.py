"""Fixtures: a cluster of nodes in this process, and ways to wait for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from mesyx_core.vault.manifest import Member
from tests.unit.exchange.nodes import Cluster, member, until


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def wait_until() -> Callable[..., object]:
    return until


@pytest.fixture
def as_member() -> Callable[..., Member]:
    return member


@pytest.fixture
async def cluster(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        yield Cluster(tasks, tmp_path, stack)
        tasks.cancel_scope.cancel()
