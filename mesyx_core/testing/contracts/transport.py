"""The contracts of the three kinds of transports."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

from mesyx_core.api import MesyxError, Permanent, Physics, Temporary, Volume
from mesyx_core.testing.context import StandIn
from mesyx_core.testing.contract import Open, holds, lacks, refused
from mesyx_core.testing.contracts.provider import ProviderContract
from mesyx_core.testing.contracts.running import RunningContract

LARGE: Final = 1 << 20
NOBODY_SECONDS: Final = 10.0
UNREAD: Final = 64 << 20
"""So many bytes must not fit in between a sender and somebody who does not read."""
GONE: Final = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


async def read(stream: ByteStream, size: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    with anyio.fail_after(10):
        while len(data) < size:
            data += await stream.receive(size - len(data))
    return data


class DuplexContract(RunningContract, defines=True):
    """`api.Duplex`: a byte stream to another node, like TCP would give."""

    KNOWN = {
        "listens": "other nodes can dial it",
        "half_close": "one direction can end while the other goes on",
        "via": "dials by way of the dialer that its config names",
    }
    kind = "transport"
    dialling: ClassVar[Mapping[str, Any]] = {}
    """The config of the side that dials `config`, which listens."""

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Open, Open]]:
        """One that dials, and one that listens and echoes."""
        async with self.running() as far, self.context() as context:
            async with self.provider.open(self.provider.config.model_validate(dict(self.dialling)), context) as near:
                yield Open(near, context), far

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[ByteStream]:
        async with self.pair() as (near, far):
            stream = await near.role.connect(far.role.address)
            try:
                yield stream
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.aclose_forcefully(stream)

    async def test_it_says_what_it_is_like(self) -> None:
        async with self.opened() as (role, _):
            assert role.schemes, "it takes no addresses"
            assert all(scheme == scheme.lower() and scheme.isalnum() for scheme in role.schemes)
            assert isinstance(role.physics, Physics)
            assert role.physics.latency >= 0

    @holds("listens")
    async def test_it_says_where_it_can_be_reached(self) -> None:
        async with self.running() as (role, _):
            assert role.address.partition("://")[0] in role.schemes

    @lacks("listens")
    async def test_nobody_can_dial_it(self) -> None:
        async with self.running() as (role, context):
            assert role.address == "", 'declare "listens"'
            assert not context.bound

    async def test_without_a_listener_it_only_dials(self) -> None:
        async with self.context() as context:
            async with self.provider.open(self.provider.config.model_validate(dict(self.dialling)), context) as role:
                assert role.address == ""

    async def test_an_address_that_makes_no_sense_is_refused_for_good(self) -> None:
        async with self.opened() as (role, _):
            for address in ("", "nonsense", "no-such-scheme://host:1", f"{min(role.schemes)}://"):
                with refused(Permanent):
                    await role.connect(address)

    @holds("listens")
    async def test_where_nobody_listens_is_for_later(self) -> None:
        async with self.running() as (role, _):
            address = role.address
        async with self.opened() as (role, _):
            with anyio.fail_after(NOBODY_SECONDS), refused(Temporary):
                await role.connect(address)

    @holds("listens")
    async def test_bytes_pass_both_ways(self) -> None:
        data = os.urandom(LARGE)
        async with self.stream() as stream, anyio.create_task_group() as tasks:
            tasks.start_soon(stream.send, data)
            assert await read(stream, len(data)) == data

    @holds("listens")
    async def test_the_first_bytes_arrive_without_more(self) -> None:
        async with self.stream() as stream:
            for number in range(20):
                await stream.send(b"%d" % (number % 10))
                assert await read(stream, 1) == b"%d" % (number % 10)

    @holds("listens")
    async def test_no_more_is_given_than_asked_for(self) -> None:
        async with self.stream() as stream:
            await stream.send(b"abcdef")
            assert len(await stream.receive(4)) <= 4

    @holds("listens")
    async def test_several_streams_are_apart(self) -> None:
        async with self.pair() as (near, far):

            async def talk(number: int) -> None:
                data = bytes([number]) * 100_000
                async with await near.role.connect(far.role.address) as stream, anyio.create_task_group() as tasks:
                    tasks.start_soon(stream.send, data)
                    assert await read(stream, len(data)) == data

            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(talk, number)
            assert far.context.taken == 10

    @holds("listens")
    async def test_closing_one_end_ends_the_other(self) -> None:
        ended = anyio.Event()
        async with self.running(Ended(self.provider.name, ended)) as (far, _), self.opened() as (near, _):
            stream = await near.connect(far.address)
            await stream.send(b"x")
            await read(stream, 1)
            await stream.aclose()
            with anyio.fail_after(5):
                await ended.wait()
            with refused(*GONE):
                await stream.receive()
            with refused(*GONE):
                await stream.send(b"x")

    @holds("listens")
    async def test_the_stream_ends_when_the_node_is_done_with_it(self) -> None:
        async with self.running(Hasty(self.provider.name)) as (far, _), self.opened() as (near, _):
            stream = await near.connect(far.address)
            with anyio.fail_after(5), refused(*GONE):
                while True:
                    await stream.receive()
            await anyio.aclose_forcefully(stream)

    @holds("listens", "half_close")
    async def test_one_direction_can_end_first(self) -> None:
        async with self.running(Late(self.provider.name)) as (far, _), self.opened() as (near, _):
            stream = await near.connect(far.address)
            await stream.send(b"question")
            await stream.send_eof()
            assert await read(stream, 8) == b"question"
            await stream.aclose()

    @holds("listens")
    @lacks("half_close")
    async def test_ending_one_direction_ends_both(self) -> None:
        async with self.running(Late(self.provider.name)) as (far, _), self.opened() as (near, _):
            stream = await near.connect(far.address)
            await stream.send(b"question")
            await stream.send_eof()
            with anyio.fail_after(10), refused(*GONE):
                await read(stream, 8)
            await anyio.aclose_forcefully(stream)

    @holds("listens")
    async def test_who_does_not_read_holds_the_sender(self) -> None:
        async with self.running(Deaf(self.provider.name)) as (far, _), self.opened() as (near, _):
            stream = await near.connect(far.address)
            sent = 0
            with anyio.move_on_after(1.0):
                while sent < UNREAD:
                    await stream.send(bytes(1 << 20))
                    sent += 1 << 20
            await anyio.aclose_forcefully(stream)
            assert sent < UNREAD, "what nobody reads is kept in memory"

    @holds("listens")
    async def test_it_can_be_dialled_no_more_once_it_stopped(self) -> None:
        async with self.opened() as (near, _):
            async with self.running() as (far, _):
                address = far.address
                await anyio.aclose_forcefully(await near.connect(address))
            with refused(Temporary):
                await near.connect(address)

    @holds("via")
    async def test_it_dials_by_way_of_the_dialer_it_was_given(self) -> None:
        async with self.running() as (far, _), self.context() as context:
            config = self.provider.config.model_validate({**self.dialling, "via": "tor"})
            async with self.provider.open(config, context) as near:
                await anyio.aclose_forcefully(await near.connect(far.address))
            assert {via for _, via in context.dialled} == {"tor"}

    @lacks("via")
    async def test_it_does_not_claim_to_dial_by_way_of_another(self) -> None:
        assert "via" not in self.provider.config.model_fields, 'declare "via"'

    @holds("listens")
    async def test_two_nodes_talk_over_it(self) -> None:
        """Real ones: a message comes in at one and is read at the other."""
        from mesyx_core.testing.cluster import alice_and_bob

        with tempfile.TemporaryDirectory(prefix="mesyx-") as folder:
            transport = (self.provider, self.config, self.dialling)
            async with alice_and_bob(Path(folder), transport=transport) as cluster:
                assert (await cluster.deliver(b"Subject: over it\r\n\r\n")).word == "accept"
                assert await cluster.read(1) == [b"Subject: over it\r\n\r\n"]


class Ended(StandIn):
    """Echoes, and tells when the stream has ended."""

    def __init__(self, instance: str, ended: anyio.Event) -> None:
        super().__init__(instance)
        self._ended = ended

    async def accept_stream(self, stream: ByteStream, peer: Any) -> None:
        try:
            await super().accept_stream(stream, peer)
        except GONE:
            pass
        finally:
            self._ended.set()


class Hasty(StandIn):
    """Is done with a stream at once."""

    async def accept_stream(self, stream: ByteStream, peer: Any) -> None:
        return


class Late(StandIn):
    """Answers only when the other side has said all."""

    async def accept_stream(self, stream: ByteStream, peer: Any) -> None:
        data = b""
        try:
            async for part in stream:
                data += part
            await stream.send(data)
        except GONE:
            return


class Deaf(StandIn):
    """Reads the first piece of each stream and no more."""

    async def accept_stream(self, stream: ByteStream, peer: Any) -> None:
        await stream.receive(1)
        await anyio.sleep_forever()


class DialerContract(ProviderContract, defines=True):
    """`api.Dialer`: what `via` names."""

    KNOWN = {"publishes": "gives an outside address for a local listener"}
    kind = "transport"

    @asynccontextmanager
    async def echo(self) -> AsyncIterator[tuple[str, int]]:
        """Somebody on the other side who echoes."""

        async def handle(stream: ByteStream) -> None:
            async with stream:
                async for data in stream:
                    await stream.send(data)

        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, handle)
                yield "127.0.0.1", int(listener.extra(SocketAttribute.local_port))
                tasks.cancel_scope.cancel()

    async def test_it_reaches_whom_it_dials(self) -> None:
        data = os.urandom(LARGE)
        async with self.echo() as (host, port), self.opened() as (role, _):
            async with await role.dial(host, port) as stream, anyio.create_task_group() as tasks:
                tasks.start_soon(stream.send, data)
                assert await read(stream, len(data)) == data

    async def test_where_nobody_listens_is_for_later(self) -> None:
        async with self.echo() as (host, port):
            pass
        async with self.opened() as (role, _):
            with anyio.fail_after(NOBODY_SECONDS), refused(Temporary):
                await role.dial(host, port)

    @holds("publishes")
    async def test_a_published_address_is_dialled_while_the_scope_is_open(self) -> None:
        async with self.echo() as (host, port), self.opened() as (role, _):
            async with role.publish(f"{host}:{port}") as outside:
                at, _, number = outside.rpartition(":")
                async with await role.dial(at, int(number)) as stream:
                    await stream.send(b"hello")
                    assert await read(stream, 5) == b"hello"
            with refused(Temporary):
                await role.dial(at, int(number))

    @lacks("publishes")
    async def test_publishing_is_refused(self) -> None:
        async with self.opened() as (role, _):
            with refused(MesyxError):
                async with role.publish("127.0.0.1:1"):
                    pass


class SimplexContract(ProviderContract, defines=True):
    """`api.Simplex`: volumes that come and go, on which bundles appear whole or not at all."""

    KNOWN = {"full": "a volume has no more room than it says"}
    kind = "transport"

    async def volume(self, role: Any) -> Volume:
        """The first one that is there."""
        with anyio.fail_after(10):
            async for volume in role.volumes():
                found: Volume = volume
                return found
        raise AssertionError("there is no volume")

    async def bundles(self, volume: Volume) -> list[bytes]:
        """What is on a volume."""
        found: list[bytes] = []
        async for stream in volume.bundles():
            async with stream:
                found.append(b"".join([data async for data in stream]))
        return found

    async def put(self, volume: Volume, data: bytes) -> None:
        async with volume.write(len(data)) as stream:
            for start in range(0, len(data), 65536):
                await stream.send(data[start : start + 65536])

    async def test_what_is_written_is_there(self) -> None:
        one, other = os.urandom(300_000), b""
        async with self.opened() as (role, _):
            volume = await self.volume(role)
            before = await self.bundles(volume)
            await self.put(volume, one)
            await self.put(volume, other)
            assert sorted(await self.bundles(volume)) == sorted([*before, one, other])

    async def test_what_was_not_finished_is_not_there(self) -> None:
        async with self.opened() as (role, _):
            volume = await self.volume(role)
            before = await self.bundles(volume)
            with refused(ZeroDivisionError):
                async with volume.write(100) as stream:
                    await stream.send(b"x" * 50)
                    assert await self.bundles(volume) == before, "it is there before it is whole"
                    raise ZeroDivisionError
            assert await self.bundles(volume) == before

    async def test_what_is_there_stays_there(self) -> None:
        async with self.opened() as (role, _):
            volume = await self.volume(role)
            await self.put(volume, b"kept")
            assert b"kept" in await self.bundles(volume)
            assert b"kept" in await self.bundles(await self.volume(role))

    async def test_it_says_how_much_room_there_is(self) -> None:
        async with self.opened() as (role, _):
            assert (await self.volume(role)).free >= 0

    @holds("full")
    async def test_what_does_not_fit_is_refused_before_it_is_written(self) -> None:
        async with self.opened() as (role, _):
            volume = await self.volume(role)
            before = await self.bundles(volume)
            with refused(MesyxError):
                async with volume.write(volume.free + 1):
                    pass
            assert await self.bundles(volume) == before

    @lacks("full")
    async def test_a_volume_takes_more_than_it_says(self) -> None:
        async with self.opened() as (role, _):
            volume = await self.volume(role)
            async with volume.write(volume.free + 1) as stream:
                await stream.send(b"x")
            assert b"x" in await self.bundles(volume), 'declare "full"'
