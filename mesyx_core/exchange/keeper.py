"""Keeps one node connected to one peer of a store: dials its addresses in turn, and again when the session ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import anyio
from anyio.abc import ByteStream

from mesyx_core.api import Health, MesyxError, Permanent

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
LASTED: Final = 1.0
"""Seconds after which a session counts as a success."""


class Dials(Protocol):
    """What `keep` needs of the exchange."""

    async def dial(self, stream: ByteStream, store: bytes, node: bytes) -> None: ...


async def keep(
    exchange: Dials,
    store: bytes,
    node: bytes,
    addresses: Callable[[], Sequence[str]],
    connect: Callable[[str], Awaitable[ByteStream]],
    *,
    report: Callable[[Health, str], None] = lambda state, why: None,
    monotonic: Callable[[], float] = anyio.current_time,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    random: Callable[[int], bytes] | None = None,
) -> None:
    """Runs until cancelled. `addresses` is asked before each round, so a manifest's change counts at once. Waits at
    most 5 seconds between rounds, and starts over at 0.1 after a session that lasted a second. `report` gets "up" while
    a session runs, else "retry" and why."""
    wait = FIRST_WAIT
    while True:
        lasted = False
        for address in tuple(addresses()):
            started = monotonic()
            try:
                stream = await connect(address)
                report("up", "")
                await exchange.dial(stream, store, node)
                report("retry", "the connection ended")
            except MesyxError as error:
                report("down" if isinstance(error, Permanent) else "retry", str(error))
            lasted = monotonic() - started >= LASTED
            if lasted:
                break
        wait = FIRST_WAIT if lasted else min(wait * 2, LONGEST_WAIT)
        await sleep(wait * (_jitter(random) if random else 1.0))


def _jitter(random: Callable[[int], bytes]) -> float:
    """0.75 … 1.0, so that a gateway's clients do not all come back in the same moment."""
    return 1.0 - random(1)[0] / 1024
