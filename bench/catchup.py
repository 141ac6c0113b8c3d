"""Catch-up: how fast a node that was away takes in what another holds; two processes, real TLS, real disks, loopback.

    python bench/catchup.py [--count 20000] [--size 4096] [--json]

Prints entries and megabytes a second, from the first byte of the connection to the last durable entry, and beside it
the latency of live pushes, from a commit at one node to the commit at the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import uvloop
from anyio.abc import SocketAttribute
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesyx_core.exchange import Exchange
from mesyx_core.journal import Draft, Journal
from mesyx_core.record.entry import Kind, Origin
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.keyset import IMPORTANCES, Keyset
from mesyx_core.vault.manifest import Manifest, Member, next_commitment, owner_public, parse, sign
from mesyx_core.vault.nodekey import NodeKey

SERVER, CLIENT = bytes(range(32)), bytes(range(1, 33))
PUSHES = 200


def document(folder: Path) -> bytes:
    """Manifest 1, with both nodes in it; made once."""
    path = folder / "manifest"
    if not path.exists():
        owner, following = (Ed25519PrivateKey.generate().private_bytes_raw() for _ in range(2))
        keys = NodeKey(SERVER), NodeKey(CLIENT)
        recipients = (keys[1].recipient,)
        manifest = Manifest(
            owner=owner_public(owner),
            next_owner=next_commitment(owner_public(following)),
            members=tuple(
                Member(node=key.public, recipient=key.recipient, roles=frozenset({role}))
                for key, role in zip(keys, ("accept", "client"), strict=True)
            ),
            keysets=(Keyset(recipients=recipients, start=None, end=None, importances=IMPORTANCES, fallback=True),),
            clients=recipients,
        )
        path.write_bytes(sign(manifest, owner))
    return path.read_bytes()


async def node(folder: Path, name: str, journal: Journal, secret: bytes) -> tuple[Exchange, Authority, NodeKey]:
    signed = document(folder)
    authority = Authority.of([signed])
    await journal.add_store(authority.store, "bench")
    await journal.put_manifest(authority.store, parse(signed).hash, signed)
    key = NodeKey(secret)

    async def no_manifest(store: bytes, document: bytes) -> None:
        raise RuntimeError

    return Exchange(journal, key, authority=lambda _: authority, on_manifest=no_manifest, name=name), authority, key


async def serve(folder: Path, count: int, size: int) -> None:
    """Fill a log, say where we listen, then commit one entry for each line on stdin."""
    async with Journal.open(folder / "server") as journal:
        exchange, authority, key = await node(folder, "server", journal, SERVER)
        log = await journal.begin_log(authority.store, key, authority.effective.hash, os.urandom(16), time.time)
        draft = (log, Draft(Kind.SEALED, 1, 0, os.urandom(32), os.urandom(size)))
        for start in range(0, count, 200):
            await journal.commit([draft] * min(200, count - start))
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, exchange.accept)
            hello = {"port": listener.extra(SocketAttribute.local_port), "run": log.origin.incarnation.hex()}
            print(json.dumps(hello), flush=True)
            while await anyio.to_thread.run_sync(sys.stdin.readline):
                await journal.commit([draft])
                print(json.dumps({"seq": log.seq, "at": time.monotonic()}), flush=True)
            group.cancel_scope.cancel()


async def measure(folder: Path, server: subprocess.Popen[str], count: int) -> dict[str, Any]:
    assert server.stdout is not None
    assert server.stdin is not None
    hello = json.loads(server.stdout.readline())
    async with Journal.open(folder / "client") as journal, anyio.create_task_group() as group:
        exchange, authority, _ = await node(folder, "client", journal, CLIENT)
        origin = Origin(authority.store, NodeKey(SERVER).public, bytes.fromhex(hello["run"]))
        news = anyio.Event()
        arrived: dict[int, float] = {}

        def note(_: Origin, seq: int) -> None:
            arrived[seq] = time.monotonic()
            news.set()

        journal.on_commit(note)
        start = time.monotonic()
        cpu = time.process_time()
        stream = await anyio.connect_tcp("127.0.0.1", hello["port"])
        group.start_soon(exchange.dial, stream, authority.store, origin.node)
        while count + 1 not in arrived:
            news = anyio.Event()
            await news.wait()
        took = arrived[count + 1] - start
        cpu = time.process_time() - cpu
        latencies = []
        for _ in range(PUSHES):
            news = anyio.Event()
            server.stdin.write("\n")
            server.stdin.flush()
            said = json.loads(await anyio.to_thread.run_sync(server.stdout.readline))
            while said["seq"] not in arrived:
                news = anyio.Event()
                await news.wait()
            latencies.append(arrived[said["seq"]] - said["at"])
            await anyio.sleep(0.003)
        group.cancel_scope.cancel()
    latencies.sort()
    return {
        "seconds": took,
        "cpu_microseconds_per_entry": 1e6 * cpu / count,
        "push_median_ms": 1000 * statistics.median(latencies),
        "push_p99_ms": 1000 * latencies[int(0.99 * len(latencies))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(KeyboardInterrupt):
        if options.serve:
            runner.run(serve(options.serve, options.count, options.size))
            return
        with tempfile.TemporaryDirectory(prefix="mesyx-bench-") as name:
            folder = Path(name)
            document(folder)
            command = [sys.executable, __file__, "--serve", name]
            command += ["--count", str(options.count), "--size", str(options.size)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
                figures = runner.run(measure(folder, server, options.count))
                assert server.stdin is not None
                server.stdin.close()
        figures["entries_per_second"] = options.count / figures["seconds"]
        figures["megabytes_per_second"] = options.count * options.size / figures["seconds"] / 1e6
        print(json.dumps(figures) if options.json else "\n".join(f"{k:>22}  {v:,.2f}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
