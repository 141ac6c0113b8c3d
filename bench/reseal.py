"""Re-encryption: how fast a client moves a keyset's mail to another key. One process, one store, real disk.

    python bench/reseal.py [--epochs 3000] [--mails 30000] [--json]

Prints epochs a second, from the question which are left to the last new seal that is durable, opened again, checked
against its commitment and known to the index; bytes of log for each; and what moving the index takes. No message is
read: a store of a million messages with full epochs is 1,000 epochs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from mesyx_core.api import Bytes, Message
from mesyx_core.journal import Draft, Journal, Log
from mesyx_core.mailbox.account import Account
from mesyx_core.record import content, payloads
from mesyx_core.record.entry import Kind, Origin
from mesyx_core.record.marks import decode_purge
from mesyx_core.record.ops import Dot
from mesyx_core.record.payloads import Target
from mesyx_core.vault import age, epoch, seal
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.keyset import Keyset
from mesyx_core.vault.manifest import Manifest, Member, next_commitment, owner_public, sign
from mesyx_core.vault.nodekey import NodeKey

KEY = NodeKey(bytes(range(32)))
OWN, SHORT, LONG = (age.generate() for _ in range(3))
SOURCE, INTO = Keyset((SHORT.recipient,)), Keyset((LONG.recipient,), fallback=True)
TOGETHER = 50
"""Epochs written in one transaction."""


class Marks:
    """As much of `mailbox.account.Writer` as re-encryption uses."""

    node = KEY.public

    def __init__(self, journal: Journal, log: Log) -> None:
        self._journal = journal
        self._log = log

    async def marks(self, entries: Sequence[tuple[Kind, bytes]]) -> list[Dot]:
        seqs = await self._journal.commit([(self._log, Draft(kind, 0, 0, b"", payload)) for kind, payload in entries])
        return [Dot(*self._log.origin[1:], seq, 0) for seq in seqs]


def founded() -> Authority:
    owner, following = os.urandom(32), os.urandom(32)
    me = Member(KEY.public, KEY.recipient, frozenset({"accept", "client"}), frozenset({"purge"}))
    manifest = Manifest(
        owner=owner_public(owner),
        next_owner=next_commitment(owner_public(following)),
        members=(me,),
        keysets=(SOURCE, INTO),
        clients=(OWN.recipient,),
    )
    return Authority.of([sign(manifest, owner)])


def mail(number: int) -> bytes:
    head = f"Message-ID: <{number}@example.org>\r\nFrom: Bob <bob@example.org>\r\nSubject: Number {number}\r\n"
    body = f"{head}\r\nOf {number} things to be said, this is what was said on the day.\r\n".encode()
    return content.pack(Message(kind="mail", time=datetime.now(UTC), body=Bytes(body)), body)


def one(log: Log, number: int, mails: range) -> list[tuple[Log, Draft]]:
    """An epoch with these mails, closed."""
    seed = os.urandom(32)
    file = age.encrypt(seed, SOURCE.recipients)
    made = epoch.Epoch.begin(*log.origin, number, seed)
    shown = payloads.Epoch(Target("keyset", SOURCE.id), made.commitment, file)
    drafts = [Draft(Kind.EPOCH, number, 0, made.commitment, shown.encode())]
    for each in mails:
        index, key = made.take()
        context = seal.Context(*log.origin, Kind.SEALED, number, index, ())
        drafts.append(Draft(Kind.SEALED, number, index, *seal.seal(key, context, mail(each), os.urandom)))
    drafts.append(Draft(Kind.CLOSE, number, 0, b"", payloads.Close(len(mails)).encode()))
    return [(log, draft) for draft in drafts]


async def bench(folder: Path, epochs: int, mails: int) -> dict[str, float]:
    authority = founded()
    store = authority.store
    async with Journal.open(folder / "journal") as journal:
        await journal.add_store(store, "bench")
        log = await journal.begin_log(store, KEY, authority.effective.hash, os.urandom(16), time.time)
        places = [mails * number // epochs for number in range(epochs + 1)]
        for at in range(0, epochs, TOGETHER):
            numbers = range(at, min(at + TOGETHER, epochs))
            await journal.commit(
                [drafted for n in numbers for drafted in one(log, n + 1, range(places[n], places[n + 1]))]
            )
        async with Account.open(
            folder / "index",
            store,
            "bench",
            journal,
            lambda: authority,
            [OWN, SHORT, LONG],
            Marks(journal, log),  # type: ignore[arg-type]  # nothing else is written
            time.time,
            os.urandom,
        ) as account:
            feed = asyncio.create_task(account.run())
            try:
                await account.feed.reached([Dot(*log.origin[1:], log.seq, 0)])
                return await measured(account, journal, log.origin, epochs, mails)
            finally:
                feed.cancel()
                await asyncio.wait({feed})


async def measured(account: Account, journal: Journal, origin: Origin, epochs: int, mails: int) -> dict[str, float]:
    work, before = account.reencryption, await journal.usage(origin.store)
    began = time.perf_counter()
    done = await work.reseal(SOURCE, INTO)
    resealed = time.perf_counter() - began
    assert done.sealed == epochs
    added = await journal.usage(origin.store) - before
    began = time.perf_counter()
    await work.retire(SOURCE, INTO, drop=True)
    head = await journal.head(origin)
    assert head is not None
    [(_, entry)] = await journal.pick(origin, [head.seq])
    named = decode_purge(entry.payload or b"").named[0]
    await journal.purge(origin, named.seqs)
    await account.purged(origin, named.seqs)
    purged = time.perf_counter() - began
    began = time.perf_counter()
    assert await work.fold(SOURCE, INTO)
    folded = time.perf_counter() - began
    return {
        "epochs": epochs,
        "mails": mails,
        "epochs_per_second": round(epochs / resealed),
        "bytes_per_epoch": round(added / epochs),
        "seconds_sealed": round(resealed, 2),
        "seconds_purged": round(purged, 2),
        "seconds_index_moved": round(folded, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Re-encrypt a keyset.")
    parser.add_argument("--epochs", type=int, default=3000)
    parser.add_argument("--mails", type=int, default=30_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(bench(Path(folder), given.epochs, given.mails))
    if given.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name.replace('_', ' '):<22}{value:>12,}" for name, value in found.items()))


if __name__ == "__main__":
    main()
