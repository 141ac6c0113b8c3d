"""Fixtures: a cluster of nodes in this process, and ways to wait for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mesyx_core.vault.manifest import Member
from tests.unit.exchange.nodes import Cluster, clustered, member, until


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
    async with clustered(tmp_path) as made:
        yield made
