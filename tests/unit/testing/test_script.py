"""A scripted peer says its lines, and shows where the other side left the script."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import ByteStream

from mesyx_core.builtin.memory import pair
from mesyx_core.testing import play
from mesyx_core.testing.script import steps


async def greeter(stream: ByteStream) -> None:
    """Greets, echoes one line, and leaves."""
    await stream.send(b"220 mx1 ESM")
    await stream.send(b"TP ready\r\n")
    await stream.send(b"250 " + await stream.receive())
    await stream.aclose()


def played(script: str, seconds: float = 0.2) -> list[str]:
    heard: list[str] = []

    async def main() -> None:
        here, there = pair()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(greeter, there)
            try:
                heard.extend(await play(here, script, seconds=seconds))
            finally:
                tasks.cancel_scope.cancel()

    try:
        anyio.run(main)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return heard


def test_a_talk_that_follows_the_script() -> None:
    heard = played("""
        # the greeting
        < 220 mx1 … ready
        > hello there
        < 250 hello there
        .
        """)
    assert heard == ["220 mx1 ESMTP ready", "250 hello there"]


def test_octets_are_said_and_heard_as_written() -> None:
    assert played("<| 220 mx1 ESMTP ready\\r\\n\n>| \\x00\\xff\n<| 250 \\x00\\xff\n.") == [
        "220 mx1 ESMTP ready",
        "250 \x00\ufffd",
    ]


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("< 220 mx2 ESMTP ready", ["- < 220 mx2 ESMTP ready", "+ < 220 mx1 ESMTP ready", "line 1 of the script"]),
        ("< 220 …\n> hi\n< 250 ho", ["  > hi", "- < 250 ho", "+ < 250 hi", "line 3"]),
        ("< 220 …\n> hi\n< 250 hi\n< 251 …", ["- < 251 …", "+ (the stream ended)"]),
        ("< 220 …\n< 250 …", ["- < 250 …", "+ (nothing for 0.2 s)"]),
        ("< 220 …\n> hi\n.", ["- .", "+ < 250 hi"]),
    ],
)
def test_where_the_script_is_left_both_are_shown(script: str, shown: list[str]) -> None:
    with pytest.raises(AssertionError) as caught:
        played(script)
    for line in shown:
        assert line in str(caught.value)


def test_a_script_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        list(steps("< 220\n? what"))
