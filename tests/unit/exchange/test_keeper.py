"""A peer is dialled again and again, at every address, soon after a good session and every five seconds at worst."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import ByteStream

from mesyx_core.api import Temporary
from mesyx_core.builtin.memory import pair
from mesyx_core.exchange.errors import NotMember
from mesyx_core.exchange.keeper import keep

STORE, NODE = bytes(32), bytes(32)


class Script:
    """A network and a clock; each dial takes the next number of seconds, or raises."""

    def __init__(self, *sessions: float | Exception) -> None:
        self.sessions = list(sessions)
        self.now = 0.0
        self.waits: list[float] = []
        self.dialled: list[str] = []
        self.reports: list[tuple[str, str]] = []

    async def connect(self, address: str) -> ByteStream:
        self.dialled.append(address)
        if isinstance(self.sessions[0], Temporary):
            failure = self.sessions.pop(0)
            assert isinstance(failure, Temporary)
            raise failure
        return pair()[0]

    async def dial(self, stream: ByteStream, store: bytes, node: bytes) -> None:
        session = self.sessions.pop(0)
        if isinstance(session, Exception):
            raise session
        self.now += session

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if not self.sessions:
            raise StopAsyncIteration

    async def run(self, *addresses: str) -> None:
        with pytest.raises(StopAsyncIteration):
            await keep(
                self,
                STORE,
                NODE,
                lambda: addresses,
                self.connect,
                report=lambda state, why: self.reports.append((state, why)),
                monotonic=lambda: self.now,
                sleep=self.sleep,
            )


AWAY = Temporary("nobody answers")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_waits_grow_to_five_seconds_and_no_further() -> None:
    script = Script(*[AWAY] * 9)
    await script.run("a")
    assert script.waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]


@pytest.mark.anyio
async def test_a_good_session_starts_over() -> None:
    script = Script(AWAY, AWAY, AWAY, 60.0, AWAY)
    await script.run("a")
    assert script.waits == [0.2, 0.4, 0.8, 0.1, 0.2]


@pytest.mark.anyio
async def test_every_address_is_tried_before_waiting() -> None:
    script = Script(AWAY, AWAY, 60.0)
    await script.run("a", "b", "c")
    assert script.dialled == ["a", "b", "c"]
    assert script.waits == [0.1]


@pytest.mark.anyio
async def test_what_is_wrong_is_reported() -> None:
    script = Script(AWAY, NotMember("the peer refused"))
    await script.run("a")
    assert ("retry", "nobody answers") in script.reports
    assert ("down", "the peer refused") in script.reports


@pytest.mark.anyio
async def test_a_node_that_comes_back_is_reached(anyio_backend: str) -> None:
    script = Script(AWAY, 2.0)
    with anyio.fail_after(2):
        await script.run("a")
    assert ("up", "") in script.reports
