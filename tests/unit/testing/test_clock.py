"""Time passes only when it is turned, and everybody wakes in order."""

from __future__ import annotations

import anyio

from mesyx_core.testing import Clock


def test_who_sleeps_wakes_in_order_and_may_sleep_again() -> None:
    woken: list[tuple[str, float]] = []

    async def main() -> None:
        clock = Clock()

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await clock.sleep(nap)
                woken.append((name, clock.monotonic()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sleeper, "slow", 3600)
            tasks.start_soon(sleeper, "quick", 10, 10, 10)
            tasks.start_soon(sleeper, "never", 1e9)
            await clock.turn(9)
            assert woken == []
            before = clock.now()
            await clock.turn(3600)
            assert (clock.now() - before).total_seconds() == 3600
            assert clock.waiting == 1
            tasks.cancel_scope.cancel()
        assert clock.waiting == 0

    anyio.run(main)
    assert woken == [("quick", 10), ("quick", 20), ("quick", 30), ("slow", 3600)]
