"""Blob files and what a crash may leave of them."""

from __future__ import annotations

import gc
import hashlib
import os
from contextlib import closing
from pathlib import Path

import pytest

from mesyx_core.journal import Draft, Journal
from mesyx_core.journal.transaction import Transaction
from mesyx_core.vault.nodekey import NodeKey

pytestmark = pytest.mark.anyio
STORE = b"s" * 32


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def commit_blob(journal: Journal, data: bytes) -> bytes:
    await journal.add_store(STORE, "alice")
    log = await journal.begin_log(STORE, NodeKey(b"a" * 32), b"m" * 32, os.urandom(16), lambda: 0)
    blob = journal.new_blob()
    await blob.write(data)
    await blob.finish()
    await journal.commit([(log, Draft(3, 1, 0, b"s" * 32, b"x", (blob,)))])
    return blob.hash


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").iterdir()} - {"partial"}


async def test_a_pending_blob_has_no_name(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        blob = journal.new_blob()
        await blob.write(b"x" * 1000)
        assert names(tmp_path) == set()
        blob.close()


async def test_without_nameless_files_a_blob_has_a_passing_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    async with Journal.open(tmp_path) as journal:
        hash = await commit_blob(journal, b"data")
        assert names(tmp_path) == {hash.hex()}
        left = journal.new_blob()
        await left.write(b"x")
        assert len(names(tmp_path)) == 2
        left.close()
        assert names(tmp_path) == {hash.hex()}
        assert await journal.read_blob(hash, 0, 10) == b"data"


async def test_a_start_sweeps_what_no_entry_refers_to(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        hash = await commit_blob(journal, b"data")
    for name in (".new-0123", "f" * 64, f"partial/{'e' * 64}"):
        (tmp_path / "blobs" / name).write_bytes(b"left")
    (tmp_path / "blobs" / "README").write_bytes(b"not ours")
    async with Journal.open(tmp_path) as journal:
        assert names(tmp_path) == {hash.hex(), "README"}
        assert list((tmp_path / "blobs" / "partial").iterdir()) == []
        assert await journal.read_blob(hash, 0, 10) == b"data"


async def test_a_blob_that_is_gone_is_asked_for_again(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        hash = await commit_blob(journal, b"data")
        usage = await journal.usage(STORE)
    (tmp_path / "blobs" / hash.hex()).unlink()
    async with Journal.open(tmp_path) as journal:
        assert await journal.lacking(STORE) == [(hash, 4)]
        assert await journal.usage(STORE) == usage - 4
        part = await journal.partial(hash, 4)
        await part.append(b"data")
        part.close()
        (tmp_path / "blobs" / "partial" / hash.hex()).rename(tmp_path / "blobs" / hash.hex())
    async with Journal.open(tmp_path) as journal:
        assert await journal.lacking(STORE) == []
        assert await journal.usage(STORE) == usage
        assert hashlib.sha256(await journal.read_blob(hash, 0, 10)).digest() == hash


async def test_what_was_committed_does_not_stay_in_memory(tmp_path: Path) -> None:
    """Nor until the garbage collector comes by: a transaction may have 32 MiB of entries."""
    async with Journal.open(tmp_path) as journal:
        hashes = [await commit_blob(journal, b"%d" % number) for number in range(10)]
        for hash in hashes:
            (tmp_path / "blobs" / hash.hex()).unlink()
    async with Journal.open(tmp_path) as journal:
        gc.collect()
        gc.disable()
        try:
            for number, hash in enumerate(hashes):
                with closing(await journal.partial(hash, 1)) as partial:
                    await partial.append(b"%d" % number)
                    await partial.finish()
            await journal.put("space", {"key": b"value"})
            assert sum(isinstance(one, Transaction) for one in gc.get_objects()) <= 1
        finally:
            gc.enable()
        assert await journal.lacking(STORE) == []
