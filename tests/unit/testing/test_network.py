"""Bad weather is the same each time, and the exchange between nodes stands it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from mesyx_core.testing import soon
from mesyx_core.testing.cluster import alice_and_bob
from mesyx_core.testing.network import BadNetwork, Weather, bad_pair

DATA = bytes(range(256)) * 200


async def everything(stream: ByteStream) -> bytes:
    data = b""
    with anyio.move_on_after(0.2):
        try:
            async for part in stream:
                data += part
        except anyio.BrokenResourceError:
            return data
    return data


def through(weather: Weather, seed: int = 7) -> bytes:
    """What arrives of DATA."""
    heard: list[bytes] = []

    async def send(stream: ByteStream) -> None:
        try:
            await stream.send(DATA)
            await stream.send_eof()
        except anyio.BrokenResourceError:
            return

    async def main() -> None:
        near, far = bad_pair(seed, weather)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, near)
            heard.append(await everything(far))

    anyio.run(main)
    return heard[0]


def test_fair_weather_changes_nothing() -> None:
    assert through(Weather()) == DATA
    assert through(Weather(delay=0.001)) == DATA


@pytest.mark.parametrize("weather", [Weather(loss=0.3), Weather(duplicate=0.3), Weather(damage=0.3)])
def test_the_same_seed_is_the_same_weather(weather: Weather) -> None:
    assert through(weather) == through(weather) != DATA
    assert through(weather, 8) != through(weather, 9)


def test_what_is_lost_is_missing_and_what_is_doubled_comes_twice() -> None:
    assert len(through(Weather(loss=0.3))) < len(DATA)
    assert len(through(Weather(duplicate=0.3))) > len(DATA)
    assert len(through(Weather(damage=1.0))) == len(DATA)


def test_a_cut_comes_after_so_many_bytes_and_silence_too() -> None:
    assert through(Weather(cut=5000)) == DATA[:5000]
    assert DATA.startswith(through(Weather(mute=5000)))
    assert len(through(Weather(mute=5000))) <= 5000


@pytest.mark.parametrize(
    "weather",
    [Weather(cut=9000), Weather(loss=0.05), Weather(damage=0.05), Weather(duplicate=0.05)],
    ids=["cut", "loss", "damage", "duplicate"],
)
def test_nodes_in_bad_weather_lose_nothing_and_take_nothing_twice(weather: Weather, tmp_path: Path) -> None:
    network = BadNetwork(11)
    mails = [b"Subject: %d\r\n\r\n" % number + b"x" * 3000 + b"\r\n" for number in range(12)]

    async def main() -> None:
        async with alice_and_bob(tmp_path, network=network) as cluster:
            network.there = network.back = weather
            await cluster.restart(cluster.bob)
            before = network.dialled
            for mail in mails:
                assert (await cluster.deliver(mail)).word == "accept"
            await soon("another connection in that weather", lambda: network.dialled > before + 1, 20)
            network.clear_up()
            if weather.loss:  # of silence alone nobody knows before the third unanswered ping, a minute later
                await cluster.restart(cluster.bob)
            assert sorted(await cluster.read(len(mails))) == sorted(mails)

    anyio.run(main, backend_options={"use_uvloop": True})
