"""kill -9 at any moment takes nothing that was acknowledged, and leaves nothing half done."""

from __future__ import annotations

import hashlib
import os
import random
import select
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import anyio
import pytest

from mesyx_core.journal import Journal
from mesyx_core.record.checkpoint import verify
from mesyx_core.record.entry import Origin, chain_next, chain_start, check_payload, decode_header, entry_id
from mesyx_core.record.payloads import decode_start

KILLS = int(os.environ.get("MESYX_KILLS", "10"))
STORE = b"s" * 32

WRITER = """
import hashlib, os, random, sys, time
from pathlib import Path
import anyio
from mesyx_core.journal import Draft, Journal
from mesyx_core.vault.nodekey import NodeKey

async def main():
    async with Journal.open(Path(sys.argv[1])) as journal:
        await journal.add_store(b"s" * 32, "alice")
        log = await journal.begin_log(b"s" * 32, NodeKey(b"a" * 32), b"m" * 32, os.urandom(16), time.time)
        name = log.origin.incarnation.hex()

        async def caller(number):
            while True:
                payload = os.urandom(random.randrange(8000))
                blobs = ()
                if random.random() < 0.1:
                    blob = journal.new_blob()
                    await blob.write(os.urandom(random.randrange(20_000, 200_000)))
                    await blob.finish()
                    blobs = (blob,)
                digest = hashlib.sha256(payload).hexdigest()
                draft = Draft(3, 1, 0, b"s" * 32, payload, blobs)
                seqs = await journal.commit([(log, draft), (log, draft)], rows=[("last", str(number), payload)])
                os.write(1, f"{name} {seqs[0]} {seqs[1]} {number} {digest}\\n".encode())

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(caller, number)

anyio.run(main, backend_options={"use_uvloop": True})
"""


class Acknowledged:
    """What the killed processes were told is durable."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[int, str]] = defaultdict(dict)
        self.last: dict[str, str] = {}

    def take(self, output: bytes) -> None:
        for line in output.decode().split("\n")[:-1]:
            incarnation, first, second, caller, digest = line.split()
            self.entries[incarnation] |= {int(first): digest, int(second): digest}
            self.last[caller] = digest


def run_and_kill(folder: Path, chance: random.Random) -> bytes:
    """Everything the writer said before it was killed, some time after its first word."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = b""
    deadline = None
    try:
        while deadline is None or time.monotonic() < deadline:
            if select.select([process.stdout], [], [], 0.005)[0]:
                output += os.read(process.stdout.fileno(), 1 << 20)
                deadline = deadline or time.monotonic() + chance.uniform(0, 0.5)
            assert process.poll() is None, "the writer ended by itself"
    finally:
        process.kill()
        process.wait()
    return output + process.stdout.read()


async def check(folder: Path, told: Acknowledged) -> None:
    async with Journal.open(folder) as journal:
        referred: set[bytes] = set()
        kept: dict[str, list[str]] = {}
        earlier: set[bytes] = set()
        for head in await journal.heads(STORE):
            origin = Origin(STORE, head.node, head.incarnation)
            kept[head.incarnation.hex()] = await check_log(journal, origin, referred, earlier)
        for incarnation, entries in told.entries.items():
            for seq, digest in entries.items():
                assert kept[incarnation][seq - 1] == digest
        assert len({head.incarnation for head in await journal.heads(STORE)} - earlier) == 1
        for hash in referred:
            assert await journal.has_blob(hash)
        assert await journal.lacking(STORE) == []
        assert {path.name for path in (folder / "blobs").iterdir()} == {hash.hex() for hash in referred} | {"partial"}
        rows = {key: hashlib.sha256(value).hexdigest() for key, value in (await journal.rows("last")).items()}
        everything = {digest for log in kept.values() for digest in log}
        assert set(rows.values()) <= everything
        assert set(rows) >= set(told.last)


async def check_log(journal: Journal, origin: Origin, referred: set[bytes], earlier: set[bytes]) -> list[str]:
    """Payload hashes in order, once the log has shown to be whole."""
    chain = chain_start(origin)
    seen: list[str] = []
    while batch := await journal.entries(origin, len(seen)):
        for seq, (header, payload) in batch:
            assert seq == len(seen) + 1
            assert payload is not None
            decoded = decode_header(header)
            check_payload(decoded, payload)
            chain = chain_next(chain, entry_id(header))
            seen.append(decoded.sha256.hex())
            referred |= {hash for hash, _ in decoded.blobs}
            if seq == 1:
                earlier |= {one.incarnation for one in decode_start(payload).earlier}
    head = await journal.head(origin)
    assert head is not None
    assert (head.seq, head.chain) == (len(seen), chain)
    checkpoint = verify(await journal.checkpoint(origin) or b"", origin)
    assert (checkpoint.seq, checkpoint.chain) == (head.seq, head.chain)
    return seen


@pytest.mark.timeout(60 + 30 * KILLS)
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    chance = random.Random(7)  # moments, not secrets
    told = Acknowledged()
    for _ in range(KILLS):
        told.take(run_and_kill(tmp_path, chance))
        anyio.run(check, tmp_path, told)
    assert len(told.entries) == KILLS
