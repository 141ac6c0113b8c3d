"""What every journal promises, whatever database is under it. Add a backend to `JOURNALS` to hold it to the same."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from mesyx_core.api import Refused
from mesyx_core.journal import (
    BlobAbsent,
    CommitFailed,
    Diverged,
    Draft,
    Journal,
    Log,
    LogEnded,
    Unreadable,
    database,
    migrate,
)
from mesyx_core.record.checkpoint import trail, verify
from mesyx_core.record.entry import (
    Entry,
    Kind,
    Origin,
    chain_over,
    chain_start,
    check_payload,
    decode_header,
    entry_id,
)
from mesyx_core.record.payloads import Earlier, decode_start
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.nodekey import NodeKey
from tests.contract.later import FAILING, update

pytestmark = pytest.mark.anyio

Opener: TypeAlias = Callable[[str], AbstractAsyncContextManager[Journal]]
JOURNALS = ["sqlite"]
STORE = b"s" * 32
MANIFEST = b"m" * 32
ALICE, BOB = NodeKey(b"a" * 32), NodeKey(b"b" * 32)


@pytest.fixture(params=JOURNALS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the journal of a name; the same name again is the same journal."""

    @asynccontextmanager
    async def sqlite(name: str) -> AsyncIterator[Journal]:
        async with Journal.open(tmp_path / name) as journal:
            yield journal

    return {"sqlite": sqlite}[request.param]


async def begin(journal: Journal, *, key: NodeKey = ALICE, store: bytes = STORE) -> Log:
    if store not in dict(await journal.stores()):
        await journal.add_store(store, "alice")
    return await journal.begin_log(store, key, MANIFEST, os.urandom(16), lambda: 1_800_000_000.5)


def sealed(payload: bytes, index: int = 0) -> Draft:
    return Draft(Kind.SEALED, 1, index, b"s" * 32, payload)


async def held(journal: Journal, origin: Origin) -> list[Entry]:
    return [entry for _, entry in await journal.entries(origin, 0, max_bytes=1 << 30, max_count=1 << 20)]


async def check_chain(journal: Journal, origin: Origin) -> None:
    """The entries are numbered without a gap, fit their headers, and lead to head and checkpoint."""
    head = await journal.head(origin)
    assert head is not None
    found = await journal.entries(origin, 0, max_bytes=1 << 30, max_count=1 << 20)
    assert [seq for seq, _ in found] == list(range(1, head.seq + 1))
    assert chain_over(chain_start(origin), (entry_id(entry.header) for _, entry in found)) == head.chain
    for _, entry in found:
        if entry.payload is not None:
            check_payload(decode_header(entry.header), entry.payload)
    checkpoint = verify(await journal.checkpoint(origin) or b"", origin)
    assert (checkpoint.seq, checkpoint.chain) == (head.seq, head.chain)


async def copy(source: Journal, target: Journal, origin: Origin, most: int = 1 << 20) -> int:
    """As an exchange would: ids under the checkpoint, then entries in batches."""
    checkpoint = await source.checkpoint(origin) or b""
    head = await target.head(origin)
    at, chain = (0, chain_start(origin)) if head is None else (head.seq, head.chain)
    way = trail(checkpoint, at, chain, await source.ids(origin, at))
    while batch := await source.entries(origin, at, max_count=most):
        start = way.chain(at)
        assert start is not None
        at = await target.receive(origin, at, start, [entry for _, entry in batch], checkpoint, way)
    return at


# --- stores and rows ----------------------------------------------------------------------------------------------------


async def test_stores_and_manifests_survive_a_restart_in_order(opened: Opener) -> None:
    async with opened("a") as journal:
        await journal.add_store(STORE, "alice")
        await journal.add_store(b"t" * 32, "bob")
        for document in (b"first", b"second", b"first"):
            await journal.put_manifest(STORE, hashlib.sha256(document).digest(), document)
        await journal.add_store(STORE, "alice2")
    async with opened("a") as journal:
        assert await journal.stores() == [(STORE, "alice2"), (b"t" * 32, "bob")]
        assert await journal.manifests(STORE) == [b"first", b"second"]
        assert await journal.manifests(b"t" * 32) == []


async def test_an_unknown_store_is_refused(opened: Opener) -> None:
    async with opened("a") as journal:
        with pytest.raises(Refused):
            await journal.manifests(STORE)
        with pytest.raises(Refused):
            await journal.put_manifest(STORE, b"h" * 32, b"document")
        with pytest.raises(Refused):
            await journal.begin_log(STORE, ALICE, MANIFEST, os.urandom(16), lambda: 0)


async def test_rows_are_put_replaced_and_removed_together(opened: Opener) -> None:
    async with opened("a") as journal:
        await journal.put("space", {"a": b"1", "b": b"2"})
        await journal.put("other", {"a": b"3"})
        await journal.put("space", {"a": b"4", "b": None, "c": b"", "gone": None})
    async with opened("a") as journal:
        assert await journal.rows("space") == {"a": b"4", "c": b""}
        assert await journal.get("other", "a") == b"3"
        assert await journal.get("space", "b") is None


# --- writing ------------------------------------------------------------------------------------------------------------


async def test_what_is_committed_is_there_after_a_restart(opened: Opener) -> None:
    payloads = [os.urandom(n * 500) for n in range(20)]
    async with opened("a") as journal:
        log = await begin(journal)
        for number, payload in enumerate(payloads):
            assert await journal.commit([(log, sealed(payload, number))]) == [number + 2]
        assert (log.seq, log.chain) == ((await journal.heads(STORE))[0][2:4])
        usage = await journal.usage(STORE)
    async with opened("a") as journal:
        entries = await held(journal, log.origin)
        assert [entry.payload for entry in entries[1:]] == payloads
        assert decode_header(entries[5].header)[:4] == (Kind.SEALED, 1, 4, b"s" * 32)
        assert await journal.usage(STORE) == usage == sum(entry.weight for entry in entries)
        await check_chain(journal, log.origin)


async def test_many_callers_at_once_get_numbers_without_gap_or_double(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        numbers: dict[int, bytes] = {}

        async def write(caller: int) -> None:
            for turn in range(10):
                payload = b"%d %d" % (caller, turn)
                (number,) = await journal.commit([(log, sealed(payload))])
                assert number not in numbers
                numbers[number] = payload

        async with anyio.create_task_group() as group:
            for caller in range(30):
                group.start_soon(write, caller)
        assert sorted(numbers) == list(range(2, 302))
        found = await journal.entries(log.origin, 1, max_count=1000)
        assert {seq: entry.payload for seq, entry in found} == numbers
        await check_chain(journal, log.origin)


async def test_a_checkpoint_has_its_time_and_the_manifest_cited(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        first = verify(await journal.checkpoint(log.origin) or b"", log.origin)
        assert (first.seq, first.manifest, first.time) == (1, MANIFEST, 1_800_000_000)
        log.cite(b"n" * 32)
        await journal.commit([(log, sealed(b"x")), (log, sealed(b"y"))])
        second = verify(await journal.checkpoint(log.origin) or b"", log.origin)
        assert (second.seq, second.manifest) == (3, b"n" * 32)


async def test_entries_of_several_stores_and_rows_are_one(opened: Opener) -> None:
    other = b"t" * 32
    async with opened("a") as journal:
        one, two = await begin(journal), await begin(journal, store=other)
        done = await journal.commit(
            [(one, sealed(b"1")), (two, sealed(b"2")), (one, sealed(b"3"))], rows=[("s", "k", b"v")]
        )
        assert done == [2, 2, 3]
        await journal.end_log(two)
        with pytest.raises(LogEnded):
            await journal.commit([(one, sealed(b"4")), (two, sealed(b"5"))], rows=[("s", "k", b"w")])
        assert one.seq == 3
        assert await journal.get("s", "k") == b"v"
        await check_chain(journal, one.origin)
        await check_chain(journal, two.origin)


async def test_one_bad_call_does_not_fail_those_it_shares_a_transaction_with(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        failed: list[BaseException] = []

        async def bad() -> None:
            try:
                await journal.commit((), rows=[("s", "k", {"no": "value"})])  # type: ignore[list-item]  # on purpose
            except Exception as error:
                failed.append(error)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(journal.commit, [(log, sealed(b"%d" % number))])
                group.start_soon(bad)
        assert len(failed) == 20
        assert log.seq == 21
        await check_chain(journal, log.origin)


async def test_listeners_hear_of_each_change_until_they_stop(opened: Opener) -> None:
    async with opened("a") as journal:
        heard: list[tuple[Origin, int]] = []
        log = await begin(journal)
        stop = journal.on_commit(lambda origin, seq: heard.append((origin, seq)))
        await journal.commit([(log, sealed(b"x")), (log, sealed(b"y"))])
        await anyio.lowlevel.checkpoint()
        stop()
        await journal.commit([(log, sealed(b"z"))])
        await anyio.lowlevel.checkpoint()
        assert heard == [(log.origin, 3)]


# --- incarnations -------------------------------------------------------------------------------------------------------


async def test_a_start_names_earlier_incarnations_without_end_once(opened: Opener) -> None:
    async with opened("a") as journal:
        first = await begin(journal)
        await journal.commit([(first, sealed(b"x"))])
        ended = await begin(journal)
        await journal.end_log(ended)
        await begin(journal, key=BOB)
    async with opened("a") as journal:
        second = await begin(journal)
    async with opened("a") as journal:
        third = await begin(journal)
        starts = [decode_start((await held(journal, log.origin))[0].payload or b"") for log in (second, third)]
        assert starts[0].manifest == MANIFEST
        assert starts[0].earlier == (Earlier(first.origin.incarnation, 2, first.chain),)
        assert [one.incarnation for one in starts[1].earlier] == [second.origin.incarnation]
        heads = {head.incarnation: head for head in await journal.heads(STORE)}
        assert heads[ended.origin.incarnation].ended
        assert not heads[first.origin.incarnation].ended


async def test_a_log_that_still_runs_is_not_named(opened: Opener) -> None:
    async with opened("a") as journal:
        await begin(journal)
        second = await begin(journal)
        assert decode_start((await held(journal, second.origin))[0].payload or b"").earlier == ()


async def test_nothing_follows_an_end(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        await journal.end_log(log)
        assert log.ended
        with pytest.raises(LogEnded):
            await journal.commit([(log, sealed(b"x"))])
        with pytest.raises(LogEnded):
            await journal.end_log(log)


async def test_an_incarnation_is_used_once(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        with pytest.raises(Diverged):
            await journal.begin_log(STORE, ALICE, MANIFEST, log.origin.incarnation, lambda: 0)


# --- reading ------------------------------------------------------------------------------------------------------------


async def test_entries_come_in_bounded_batches(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        await journal.commit([(log, sealed(b"p" * 1000, n)) for n in range(10)])
        assert [seq for seq, _ in await journal.entries(log.origin, 1, max_count=3)] == [2, 3, 4]
        assert [seq for seq, _ in await journal.entries(log.origin, 9, max_bytes=2500)] == [10, 11]
        assert [seq for seq, _ in await journal.entries(log.origin, 5, max_bytes=1)] == [6]
        assert await journal.entries(log.origin, 11) == []
        bare = await journal.entries(log.origin, 0, payloads=False)
        assert {entry.payload for _, entry in bare} == {None}
        assert [entry_id(entry.header) for _, entry in bare] == await journal.ids(log.origin, 0)
        picked = await journal.pick(log.origin, [7, 3, 99, 3, 0, -5, *range(1000, 1100)])
        assert picked == [one for one in await journal.entries(log.origin, 0) if one[0] in (3, 7)]
        unknown = Origin(STORE, BOB.public, b"i" * 16)
        assert await journal.pick(unknown, [1]) == []
        assert await journal.entries(unknown, 0) == await journal.ids(unknown, 0) == []
        assert await journal.head(unknown) is await journal.checkpoint(unknown) is None


# --- receiving ----------------------------------------------------------------------------------------------------------


async def test_a_copied_log_is_the_same(opened: Opener) -> None:
    async with AsyncExitStack() as stack:
        source, target = [await stack.enter_async_context(opened(name)) for name in "ab"]
        log = await begin(source)
        await source.commit([(log, sealed(os.urandom(300), n)) for n in range(50)])
        await source.end_log(log)
        await target.add_store(STORE, "copy")
        assert await copy(source, target, log.origin, 7) == 52
        assert await target.heads(STORE) == await source.heads(STORE)
        assert await target.checkpoint(log.origin) == await source.checkpoint(log.origin)
        assert await held(target, log.origin) == await held(source, log.origin)
        assert await target.usage(STORE) == await source.usage(STORE)
        await check_chain(target, log.origin)


async def test_receiving_goes_on_after_a_restart_in_the_middle(opened: Opener) -> None:
    async with opened("a") as source:
        log = await begin(source)
        await source.commit([(log, sealed(os.urandom(300), n)) for n in range(50)])
        checkpoint = await source.checkpoint(log.origin) or b""
        async with opened("b") as target:
            await target.add_store(STORE, "copy")
            way = trail(checkpoint, 0, chain_start(log.origin), await source.ids(log.origin, 0))
            batch = [entry for _, entry in await source.entries(log.origin, 0, max_count=20)]
            assert await target.receive(log.origin, 0, chain_start(log.origin), batch, checkpoint, way) == 20
            assert await target.checkpoint(log.origin) is None
        async with opened("b") as target:
            assert await copy(source, target, log.origin) == 51
            await check_chain(target, log.origin)


async def test_receiving_twice_changes_nothing(opened: Opener) -> None:
    async with AsyncExitStack() as stack:
        source, target = [await stack.enter_async_context(opened(name)) for name in "ab"]
        log = await begin(source)
        await source.commit([(log, sealed(b"x" * n)) for n in range(9)])
        checkpoint = await source.checkpoint(log.origin) or b""
        entries = await held(source, log.origin)
        await target.add_store(STORE, "copy")
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(target.receive, log.origin, 0, chain_start(log.origin), entries, checkpoint)
        assert await target.receive(log.origin, 0, chain_start(log.origin), entries, checkpoint) == 10
        assert await target.usage(STORE) == await source.usage(STORE)
        await source.commit([(log, sealed(b"y"))])
        more = await held(source, log.origin)
        checkpoint = await source.checkpoint(log.origin) or b""
        assert await target.receive(log.origin, 0, chain_start(log.origin), more, checkpoint) == 11
        await check_chain(target, log.origin)
        assert await target.receive(log.origin, 0, chain_start(log.origin), entries, await copy_of(source, log)) == 11


async def copy_of(source: Journal, log: Log) -> bytes:
    """An older checkpoint, as a slower peer would still send it."""
    entries = (await held(source, log.origin))[:10]
    return log.checkpoint(10, chain_over(chain_start(log.origin), (entry_id(one.header) for one in entries)))


async def test_nothing_is_kept_of_a_batch_with_anything_wrong_in_it(opened: Opener) -> None:
    async with AsyncExitStack() as stack:
        source, target = [await stack.enter_async_context(opened(name)) for name in "ab"]
        log, other = await begin(source), await begin(source, key=BOB)
        await source.commit([(log, sealed(b"x" * 9)), (log, sealed(b"y" * 9)), (other, sealed(b"x"))])
        await target.add_store(STORE, "copy")
        start = chain_start(log.origin)
        good = await held(source, log.origin)
        checkpoint = await source.checkpoint(log.origin) or b""
        foreign = await source.checkpoint(other.origin) or b""
        swapped = [good[0], good[1]._replace(payload=good[2].payload), good[2]]
        forged = checkpoint[:-1] + bytes([checkpoint[-1] ^ 1])
        for chain, entries, signed in [
            (start, good[:2], checkpoint),
            (start, [good[0], good[2], good[1]], checkpoint),
            (start, good[1:], checkpoint),
            (start, swapped, checkpoint),
            (start, [*good[:2], Entry(b"\x80", b"")], checkpoint),
            (start, good, forged),
            (start, good, foreign),
            (start, good, b"no checkpoint"),
            (b"c" * 32, good, checkpoint),
        ]:
            with pytest.raises(RecordError):
                await target.receive(log.origin, 0, chain, entries, signed)
        assert await target.heads(STORE) == []
        with pytest.raises(Diverged):
            await target.receive(log.origin, 1, chain_over(start, [entry_id(good[0].header)]), good[1:], checkpoint)
        assert await target.receive(log.origin, 0, start, good, checkpoint) == 3


async def test_another_branch_of_a_log_is_refused(opened: Opener) -> None:
    incarnation = b"i" * 16
    async with AsyncExitStack() as stack:
        one, two, target = [await stack.enter_async_context(opened(name)) for name in "abc"]
        for journal, text in ((one, b"one"), (two, b"two")):
            await journal.add_store(STORE, "alice")
            log = await journal.begin_log(STORE, ALICE, MANIFEST, incarnation, lambda: 0)
            await journal.commit([(log, sealed(text))])
        await target.add_store(STORE, "copy")
        await copy(one, target, log.origin)
        entries, checkpoint = await held(two, log.origin), await two.checkpoint(log.origin) or b""
        with pytest.raises(Diverged):
            await target.receive(log.origin, 0, chain_start(log.origin), entries, checkpoint)
        await check_chain(target, log.origin)


async def test_a_log_that_this_node_writes_takes_nothing_from_others(opened: Opener) -> None:
    async with AsyncExitStack() as stack:
        mine, clone = [await stack.enter_async_context(opened(name)) for name in "ab"]
        for journal in (mine, clone):
            await journal.add_store(STORE, "alice")
            log = await journal.begin_log(STORE, ALICE, MANIFEST, b"i" * 16, lambda: 0)
        await clone.commit([(log, sealed(b"x"))])
        entries, checkpoint = await held(clone, log.origin), await clone.checkpoint(log.origin) or b""
        with pytest.raises(Diverged):
            await mine.receive(log.origin, 0, chain_start(log.origin), entries, checkpoint)


async def test_missing_payloads_are_told_and_filled_once(opened: Opener) -> None:
    async with AsyncExitStack() as stack:
        source, target = [await stack.enter_async_context(opened(name)) for name in "ab"]
        log = await begin(source)
        payloads = [os.urandom(100) for _ in range(6)]
        await source.commit([(log, sealed(payload)) for payload in payloads])
        await target.add_store(STORE, "copy")
        stubs = [entry._replace(payload=None) for entry in await held(source, log.origin)]
        checkpoint = await source.checkpoint(log.origin) or b""
        await target.receive(log.origin, 0, chain_start(log.origin), stubs, checkpoint)
        assert await target.missing(log.origin) == [1, 2, 3, 4, 5, 6, 7]
        assert await target.missing(log.origin, 3, max_count=2) == [4, 5]
        heard: list[int] = []
        target.on_commit(lambda _, seq: heard.append(seq))
        with pytest.raises(RecordError):
            await target.fill(log.origin, [(2, payloads[1])])
        assert await target.fill(log.origin, [(4, payloads[2]), (3, payloads[1])]) == 2
        assert await target.fill(log.origin, [(3, payloads[1]), (99, b"none")]) == 0
        assert await target.missing(log.origin) == [1, 2, 5, 6, 7]
        start = (await held(source, log.origin))[0].payload or b""
        await target.fill(log.origin, [(1, start), *((n, payloads[n - 2]) for n in (2, 5, 6, 7))])
        await anyio.lowlevel.checkpoint()
        assert heard == [3, 1]
        assert await target.usage(STORE) == await source.usage(STORE)
        await check_chain(target, log.origin)


async def test_what_is_dropped_is_not_asked_for_again_and_what_is_purged_never_comes_back(opened: Opener) -> None:
    async with AsyncExitStack() as stack:
        source, target = [await stack.enter_async_context(opened(name)) for name in "ab"]
        log = await begin(source)
        payloads = [os.urandom(100) for _ in range(5)]
        await source.commit([(log, sealed(payload)) for payload in payloads])
        await target.add_store(STORE, "copy")
        entries, checkpoint = await held(source, log.origin), await source.checkpoint(log.origin) or b""
        await target.receive(log.origin, 0, chain_start(log.origin), entries, checkpoint)
        before = await target.usage(STORE)
        await target.drop(log.origin, [2, 3])
        await target.purge(log.origin, [3, 4, 99, 0, -1])
        assert before - await target.usage(STORE) == 300
        assert await target.missing(log.origin) == []
        assert await target.fill(log.origin, [(2, payloads[0]), (3, payloads[1]), (4, payloads[2])]) == 0
        await target.receive(log.origin, 0, chain_start(log.origin), entries, checkpoint)
        await target.drop(log.origin, [3, 4])
    async with opened("b") as again:  # it knows after a start, too
        gone = again.gone(log.origin)
        assert [seq for seq in range(100) if seq in gone.dropped] == [2]
        assert [seq for seq in range(100) if seq in gone.purged] == [3, 4]
        assert [seq for seq, entry in await again.entries(log.origin, 0) if entry.payload is None] == [2, 3, 4]
        assert await again.missing(log.origin) == []
        assert before - await again.usage(STORE) == 300
        await check_chain(again, log.origin)


async def test_a_purged_entrys_blob_goes_unless_another_entry_refers_to_it(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        alone, shared = journal.new_blob(), journal.new_blob()
        for blob in (alone, shared):
            await blob.write(os.urandom(1000))
            await blob.finish()
        empty = await journal.usage(STORE)
        await journal.commit([(log, sealed(b"one")._replace(blobs=(alone, shared)))])
        again = journal.new_blob()
        await again.write(await journal.read_blob(shared.hash, 0, 1000))
        await again.finish()
        await journal.commit([(log, sealed(b"two", 1)._replace(blobs=(again,)))])
        await journal.purge(log.origin, [2])
        assert not await journal.has_blob(alone.hash)
        assert await journal.has_blob(shared.hash)
        assert await journal.lacking(STORE) == []
        await journal.purge(log.origin, [3])
        assert not await journal.has_blob(shared.hash)
        assert 0 < await journal.usage(STORE) - empty < 1000


async def test_a_dropped_payload_is_in_no_file_of_the_journal(opened: Opener, tmp_path: Path) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        small, large = os.urandom(200), os.urandom(60_000)
        await journal.commit([(log, sealed(small)), (log, sealed(large, 1))])
        await journal.drop(log.origin, [2])
        await journal.purge(log.origin, [3])
        parts = [small, *(large[at : at + 100] for at in range(0, 60_000, 1000))]

        def there() -> bool:
            files = b"".join(file.read_bytes() for file in (tmp_path / "a").iterdir() if file.is_file())
            return any(part in files for part in parts)

        with anyio.fail_after(20):
            while there():  # noqa: ASYNC110  (files tell nobody)
                await anyio.sleep(0.01)


async def test_entries_that_say_something_of_others_are_found_alone(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        kinds = (Kind.EPOCH, Kind.SEALED, Kind.CLOSE, Kind.RESEAL, Kind.SEALED, Kind.PURGE, Kind.VETO, 99)
        await journal.commit([(log, Draft(kind, 1, 0, b"", b"x")) for kind in kinds])
        marked = [(2, Kind.EPOCH), (4, Kind.CLOSE), (5, Kind.RESEAL), (7, Kind.PURGE), (8, Kind.VETO)]
        assert await journal.marks(log.origin) == marked
        assert await journal.marks(log.origin, 4, max_count=2) == marked[2:4]
        assert not journal.over(log.origin)
        await journal.end_log(log)
        assert journal.over(log.origin)


async def test_a_log_is_over_once_its_node_has_named_it(opened: Opener) -> None:
    async with opened("a") as journal:
        first = (await begin(journal)).origin
    async with opened("a") as journal:
        assert not journal.over(first)
        await begin(journal)
        assert journal.over(first)


# --- blobs --------------------------------------------------------------------------------------------------------------


async def test_a_blob_is_held_from_the_commit_of_its_entry_on(opened: Opener) -> None:
    async with opened("a") as journal:
        log = await begin(journal)
        data = os.urandom(200_000)
        blob = journal.new_blob()
        await blob.write(data[:100_000])
        await blob.write(data[100_000:])
        ref = await blob.finish()
        assert await blob.read(99_990, 20) == data[99_990:100_010]
        assert ref == (hashlib.sha256(data).digest(), len(data))
        assert not await journal.has_blob(blob.hash)
        before = await journal.usage(STORE)
        await journal.commit([(log, sealed(b"with a blob")._replace(blobs=(blob,)))])
        assert await journal.usage(STORE) > before + len(data)
        blob.close()
    async with opened("a") as journal:
        (_, entry), *_ = await journal.entries(log.origin, 1)
        assert decode_header(entry.header).blobs == (ref,)
        parts = [await journal.read_blob(ref[0], at, 70_000) for at in range(0, 280_000, 70_000)]
        assert b"".join(parts) == data
        assert await journal.lacking(STORE) == []


async def test_a_blob_given_up_leaves_nothing(opened: Opener) -> None:
    async with opened("a") as journal:
        blob = journal.new_blob()
        await blob.write(b"x" * 1000)
        hash, _ = await blob.finish()
        blob.close()
        blob.close()
        assert not await journal.has_blob(hash)
        with pytest.raises(BlobAbsent):
            await journal.read_blob(hash, 0, 10)


async def test_a_blob_is_received_in_pieces_over_restarts(opened: Opener) -> None:
    data = os.urandom(50_000)
    async with opened("a") as source:
        log = await begin(source)
        blob = source.new_blob()
        await blob.write(data)
        hash, size = await blob.finish()
        await source.commit([(log, sealed(b"x")._replace(blobs=(blob,)))])
        async with opened("b") as target:
            await target.add_store(STORE, "copy")
            await copy(source, target, log.origin)
            assert await target.lacking(STORE) == [(hash, size)]
            part = await target.partial(hash, size)
            await part.append(data[:20_000])
            part.close()
        async with opened("b") as target:
            part = await target.partial(hash, size)
            assert part.offset == 20_000
            with pytest.raises(RecordError):
                await part.finish()
            heard: list[tuple[Origin, int]] = []
            target.on_commit(lambda origin, seq: heard.append((origin, seq)))
            await part.append(data[20_000:])
            with pytest.raises(RecordError):
                await part.append(b"more")
            await part.finish()
            await anyio.lowlevel.checkpoint()
            assert heard == [(log.origin, 2)]
            assert await target.lacking(STORE) == []
            assert await target.read_blob(hash, 49_999, 10) == data[-1:]
            assert await target.usage(STORE) == await source.usage(STORE)
        async with opened("b") as target:
            assert await target.lacking(STORE) == []


async def test_a_blob_with_the_wrong_bytes_is_dropped(opened: Opener) -> None:
    async with opened("a") as journal:
        part = await journal.partial(b"h" * 32, 10)
        await part.append(b"0123456789")
        with pytest.raises(RecordError):
            await part.finish()
        assert part.offset == 0
        assert not await journal.has_blob(b"h" * 32)


# --- end of a store -----------------------------------------------------------------------------------------------------


async def test_a_removed_store_leaves_the_others_alone(opened: Opener) -> None:
    other = b"t" * 32
    async with opened("a") as journal:
        gone, stays = await begin(journal), await begin(journal, store=other)
        blob = journal.new_blob()
        await blob.write(b"x" * 1000)
        hash, _ = await blob.finish()
        await journal.commit([(gone, sealed(b"x")._replace(blobs=(blob,))), (stays, sealed(b"y"))])
        await journal.put_manifest(other, b"h" * 32, b"document")
        with pytest.raises(Refused):
            await journal.remove_store(STORE)
        await journal.end_log(gone)
        await journal.remove_store(STORE)
        assert not await journal.has_blob(hash)
        assert await journal.heads(STORE) == []
    async with opened("a") as journal:
        assert await journal.stores() == [(other, "alice")]
        assert await journal.manifests(other) == [b"document"]
        await check_chain(journal, stays.origin)


# --- versions -----------------------------------------------------------------------------------------------------------


async def filled(journal: Journal) -> Origin:
    log = await begin(journal)
    blob = journal.new_blob()
    await blob.write(b"a large body")
    reference = await blob.finish()
    large = Draft(Kind.SEALED, 1, 1, b"s" * 32, b"payload", (blob,))
    await journal.commit([(log, sealed(b"small")), (log, large)], rows=[("space", "key", b"value")])
    assert await journal.has_blob(reference[0])
    return log.origin


async def complete(journal: Journal, origin: Origin) -> None:
    """All of it is there, and it can be gone on with."""
    await check_chain(journal, origin)
    found = [entry.payload for entry in await held(journal, origin)]
    assert found[1:] == [b"small", b"payload"]
    assert await journal.read_blob(hashlib.sha256(b"a large body").digest(), 0, 100) == b"a large body"
    assert await journal.rows("space") == {"key": b"value"}
    assert await journal.manifests(STORE) == [b"document"]
    log = await begin(journal, key=BOB)
    await journal.commit([(log, sealed(b"more"))], rows=[("new", "key", b"1"), ("new", "key", b"2")])
    await check_chain(journal, log.origin)
    assert await journal.rows("new") == {"key": b"2"}


async def test_a_later_schema_keeps_all_that_is_held_and_an_older_version_refuses_it(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened("a") as journal:
        origin = await filled(journal)
        await journal.put_manifest(STORE, MANIFEST, b"document")
    with monkeypatch.context() as later:
        update(later, tmp_path / "migrations")
        for _ in range(2):
            async with opened("a") as journal:
                await complete(journal, origin)
    with pytest.raises(Unreadable, match="later version") as refused:
        async with opened("a"):
            pass
    assert refused.value.remedy == "update Mesyx on this node"


async def test_a_migration_that_fails_changes_nothing(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened("a") as journal:
        origin = await filled(journal)
        await journal.put_manifest(STORE, MANIFEST, b"document")
    with monkeypatch.context() as later:
        update(later, tmp_path / "migrations", FAILING)
        with pytest.raises((Unreadable, CommitFailed)):
            async with opened("a"):
                pass
    async with opened("a") as journal:
        await complete(journal, origin)
    with monkeypatch.context() as later:
        update(later, tmp_path / "mended")
        async with opened("a") as journal:
            await complete(journal, origin)


async def test_a_schema_that_no_version_has_made_is_refused(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened("a") as journal:
        origin = await filled(journal)
        await journal.put_manifest(STORE, MANIFEST, b"document")
    with monkeypatch.context() as later:
        later.setattr(database, "HEAD", "9999")
        shutil.copytree(migrate.MIGRATIONS, tmp_path / "none", ignore=shutil.ignore_patterns("versions"))
        (tmp_path / "none" / "versions").mkdir()
        later.setattr(migrate, "MIGRATIONS", tmp_path / "none")
        with pytest.raises(Unreadable, match="no version of Mesyx"):
            async with opened("a"):
                pass
    async with opened("a") as journal:
        await complete(journal, origin)


# --- backups ------------------------------------------------------------------------------------------------------------


async def test_a_copy_is_one_state_of_all_whatever_is_committed_meanwhile(opened: Opener, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    target = tmp_path / "copy"
    target.mkdir()
    async with opened("a") as journal:
        log = await begin(journal)
        await journal.put_manifest(STORE, MANIFEST, b"document")
        await journal.commit([(log, sealed(b"x", index)) for index in range(1500)], rows=[("space", "last", b"x")])

        async def go_on() -> None:
            for index in range(50):
                await journal.commit([(log, sealed(b"y", index))], rows=[("space", "last", b"%d" % index)])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            database = await journal.copy(target, lambda done, of: told.append((done, of)))
        whole = await held(journal, log.origin)
    assert [each.name for each in target.iterdir()] == [database.name]
    assert told[-1][0] == told[-1][1]
    async with Journal.open(target) as copied:
        assert dict(await copied.stores()) == {STORE: "alice"}
        assert await copied.manifests(STORE) == [b"document"]
        found = await held(copied, log.origin)
        assert found == whole[: len(found)]
        await check_chain(copied, log.origin)
        last, row = found[-1].payload, await copied.get("space", "last")
        assert row == (b"x" if last == b"x" else b"%d" % (len(found) - len(whole) + 49))
