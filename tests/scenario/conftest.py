"""A joined pair of nodes for each module: starting one takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.scenario.cluster import Pair, cluster


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with cluster(tmp_path_factory.mktemp("pair")) as made:
        yield made


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether the long forms run: `nox -s corpus kill`."""
    return os.environ.get("MESYX_FULL") == "1"
