"""Senders and mail programs that are slow, endless, gone, greedy or false: none of it is kept, costs much, or keeps others
from being served.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvloop
from mesyx_smtp import mesyx_accesses, mesyx_ingresses

from mesyx_core.testing.context import StandIn
from mesyx_core.testing.view import MemoryView
from tests.faults.marks import fault

MAIL = b"MAIL FROM:<alice@example.org>\r\n"
TO = b"RCPT TO:<alice@example.org>\r\n"
BODY = b"From: alice@example.org\r\nSubject: x\r\n\r\nx\r\n"
RIGHT = b"AUTH PLAIN " + b64encode(b"\0alice\0secret") + b"\r\n"


@dataclass
class Far:
    """Our end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def says(self) -> bytes:
        """The next reply's last line; empty when the connection is over."""
        async with asyncio.timeout(20):
            while (line := await self.reader.readline())[3:4] == b"-":
                pass
            return line

    async def ask(self, *lines: bytes) -> bytes:
        """Send all at once; the reply to the last."""
        self.send(b"".join(lines))
        return [await self.says() for _ in lines][-1]


@dataclass
class Door:
    """A listener that runs, and what came in by it."""

    node: StandIn
    view: MemoryView = field(default_factory=lambda: MemoryView(identities=("alice@example.org",)))

    async def knock(self) -> Far:
        """A connection that has said hello."""
        host, _, port = self.node.bound[0].rpartition(":")
        far = Far(*await asyncio.open_connection(host, int(port)))
        await far.says()
        await far.ask(b"EHLO far\r\n")
        return far

    async def serves(self) -> None:
        """Somebody else's mail is taken in now."""
        far = await self.knock()
        assert (await far.ask(MAIL, TO, b"DATA\r\n"))[:3] == b"354"
        assert (await far.ask(BODY + b".\r\n"))[:3] == b"250"
        far.writer.close()

    async def let_go(self) -> None:
        """No delivery is under way any more."""
        for _ in range(1000):
            if not self.node.intake.open:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("a delivery is still under way")


@asynccontextmanager
async def door(provider: Any, **config: Any) -> AsyncIterator[Door]:
    made = Door(StandIn("door"))
    made.node.admit("alice", "secret", made.view)
    model = provider.config.model_validate({"listen": "127.0.0.1:0", **config})
    async with provider.open(model, made.node) as role:
        task = asyncio.get_running_loop().create_task(role.run())
        await made.node.up.wait()
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task])
            made.node.close()


def mx(scene: Callable[[Door], Awaitable[None]], **config: Any) -> None:
    """Play a scene at port 25."""
    _play(scene, mesyx_ingresses()[0], config)


def submission(scene: Callable[[Door], Awaitable[None]], **config: Any) -> None:
    """Play a scene where people's programs hand over mail."""
    _play(scene, mesyx_accesses()[0], config)


def _play(scene: Callable[[Door], Awaitable[None]], provider: Any, config: dict[str, Any]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), door(provider, **config) as made:
            await scene(made)

    uvloop.run(main())


@fault("sender-slow")
def test_a_line_that_never_ends_ends_the_connection() -> None:
    async def scene(door: Door) -> None:
        far = await door.knock()
        said = asyncio.ensure_future(far.says())
        while not said.done():
            far.send(b"N")
            await asyncio.wait([said], timeout=0.05)
        assert (await said)[:3] == b"421"
        await door.serves()

    mx(scene, timeouts={"command": 0.5}, connections_per_peer=1)


@fault("sender-vanishes")
def test_who_vanishes_amid_a_message_is_given_up_and_nothing_of_it_is_kept() -> None:
    async def scene(door: Door) -> None:
        far = await door.knock()
        await far.ask(MAIL, TO, b"DATA\r\n")
        far.send(b"half a mess")
        assert (await far.says())[:3] == b"421"
        await door.let_go()
        assert door.node.intake.kept == []
        await door.serves()

    mx(scene, timeouts={"data": 0.3})


@fault("sender-drips")
def test_a_message_that_drips_for_ever_ends_when_its_time_is_over() -> None:
    async def scene(door: Door) -> None:
        for begin, drop in ((b"DATA\r\n", b"x"), (b"BDAT 1\r\nx", b"BDAT 1\r\nx")):
            far = await door.knock()
            assert (await far.ask(MAIL, TO, begin))[:1] in b"23"
            answers: set[bytes] = set()
            with suppress(ConnectionError):
                while (b"421" not in answers) and not far.reader.at_eof():
                    far.send(drop)
                    await asyncio.sleep(0.05)
                    with suppress(TimeoutError):
                        answers.add((await asyncio.wait_for(far.reader.readline(), 0.02))[:3])
            assert b"421" in answers
            await door.let_go()
        assert door.node.intake.kept == []
        await door.serves()

    mx(scene, timeouts={"message": 0.5})


@fault("sender-endless", "sender-endless-chunk")
def test_a_message_without_end_is_cut_off_and_costs_no_memory() -> None:
    async def scene(door: Door) -> None:
        for begin in (b"DATA\r\n", b"BDAT 150000\r\n" + b"x" * 150_000):
            far = await door.knock()
            await far.ask(MAIL, TO, begin)
            tracemalloc.start()
            with suppress(ConnectionError):
                while not far.reader.at_eof():
                    far.send(b"BDAT 99999999\r\n" if begin[:1] == b"B" else b"x" * 50_000)
                    await asyncio.wait_for(far.writer.drain(), 10)
                    await asyncio.sleep(0)
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
            tracemalloc.stop()
            await door.let_go()
        assert door.node.intake.kept == []
        await door.serves()

    mx(scene, size="100KB")


@fault("sender-hangs-up")
def test_who_hangs_up_as_the_message_is_committed_has_sent_it_once() -> None:
    async def scene(door: Door) -> None:
        door.node.intake.gate = anyio.Event()
        far = await door.knock()
        await far.ask(MAIL, TO, b"DATA\r\n")
        far.send(BODY + b".\r\n")
        await door.node.intake.at_commit.wait()
        far.writer.transport.abort()
        await asyncio.sleep(0.05)
        door.node.intake.gate.set()
        await door.let_go()
        assert len(door.node.intake.kept) == 1

    mx(scene)


@fault("sender-deaf")
def test_who_does_not_read_is_not_listened_to() -> None:
    async def scene(door: Door) -> None:
        far = await door.knock()
        far.reader._transport.pause_reading()  # type: ignore[attr-defined] # asyncio has no other way
        sent = 0
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(5):
                while True:
                    far.send(b"NOOP\r\n" * 10_000)
                    await far.writer.drain()
                    sent += 60_000
        assert sent < 64 << 20
        await door.serves()

    mx(scene, timeouts={"command": 0.5, "data": 0.5}, errors=10**9)


@fault("sender-floods")
def test_one_peer_cannot_take_all_connections() -> None:
    async def scene(door: Door) -> None:
        friends = [await door.knock() for _ in range(2)]
        host, _, port = door.node.bound[0].rpartition(":")
        for _ in range(50):
            far = Far(*await asyncio.open_connection(host, int(port)))
            assert (await far.says())[:3] == b"421"
            assert await far.says() == b""
        assert (await friends[0].ask(b"QUIT\r\n"))[:3] == b"221"
        assert await friends[0].says() == b""
        await asyncio.sleep(0.05)
        await door.serves()

    mx(scene, connections_per_peer=2)


@fault("sender-smuggles")
def test_no_second_message_is_smuggled_in_behind_another_servers_end() -> None:
    async def scene(door: Door) -> None:
        for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r\r\n.\r\r\n"):
            far = await door.knock()
            await far.ask(MAIL, TO, b"DATA\r\n")
            said = await far.ask(b"one" + end + MAIL + TO + b"DATA\r\ntwo\r\n.\r\n")
            assert said.startswith(b"550 5.6.0 ")
            assert (await far.ask(b"NOOP\r\n"))[:3] == b"250"
        assert door.node.intake.kept == []

    mx(scene)


@fault("sender-injects")
def test_what_stands_in_clear_behind_starttls_is_never_obeyed() -> None:
    async def scene(door: Door) -> None:
        for listener in ("STARTTLS\r\nMAIL FROM:<evil@example.net>\r\n", "STARTTLS\r\n" + RIGHT.decode()):
            far = await door.knock()
            assert (await far.ask(listener.encode()))[:3] == b"554"
            assert await far.says() == b""

    mx(scene)
    submission(scene)


@fault("program-guesses")
def test_passwords_are_guessed_slowly_and_few_at_a_time() -> None:
    async def scene(door: Door) -> None:
        far = await door.knock()
        wrong = b"AUTH PLAIN " + b64encode(b"\0alice\0wrong") + b"\r\n"
        said = [(await far.ask(wrong))[:3] for _ in range(3)]
        assert said == [b"535", b"535", b"421"]
        assert await far.says() == b""
        assert door.node.slept == [1, 2, 4]

    submission(scene)


@fault("program-stays")
def test_who_does_not_log_in_may_not_stay() -> None:
    async def scene(door: Door) -> None:
        member, stranger = await door.knock(), await door.knock()
        assert (await member.ask(RIGHT))[:3] == b"235"
        said = asyncio.ensure_future(stranger.says())
        while not said.done():
            stranger.send(b"NOOP"[:1])
            await asyncio.wait([said], timeout=0.05)
        assert (await said)[:3] == b"421"
        assert (await member.ask(b"NOOP\r\n"))[:3] == b"250"

    submission(scene, timeouts={"login": 0.4})


@fault("program-greedy")
def test_programs_cannot_fill_the_memory_with_messages_that_never_end() -> None:
    async def scene(door: Door) -> None:
        greedy = [await door.knock() for _ in range(4)]
        for far in greedy:
            assert (await far.ask(RIGHT))[:3] == b"235"
            await far.ask(MAIL, TO, b"DATA\r\n")
        for far in greedy:
            far.send(b"x" * 700_000)
            await far.writer.drain()
        await asyncio.sleep(0.3)
        said = [await far.ask(b"\r\n.\r\n") for far in greedy]
        assert sum(each.startswith(b"452 4.3.1 ") for each in said) == 3
        assert door.view.submitted == []
        assert (await greedy[1].ask(MAIL, TO, b"DATA\r\n"))[:3] == b"354"
        assert (await greedy[1].ask(BODY + b".\r\n"))[:3] == b"250"
        assert len(door.view.submitted) == 1

    submission(scene, memory="1MiB", size="1MiB")


@fault("program-is-somebody-else")
def test_nobody_sends_as_somebody_else() -> None:
    async def scene(door: Door) -> None:
        far = await door.knock()
        assert (await far.ask(MAIL))[:3] == b"530"
        assert (await far.ask(RIGHT))[:3] == b"235"
        assert (await far.ask(b"MAIL FROM:<bob@example.org>\r\n")).startswith(b"553 5.7.1 ")
        assert (await far.ask(MAIL, TO, b"DATA\r\n"))[:3] == b"354"
        assert (await far.ask(BODY.replace(b"alice", b"bob") + b".\r\n")).startswith(b"550 5.7.1 ")
        assert door.view.submitted == []

    submission(scene)
