"""The index survives being killed, restarted, damaged and thrown away."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mesyx_core.api import Create, File, Flag, Remove, Rename
from mesyx_core.mailbox import names, schema
from mesyx_core.mailbox.storage import open_database

INBOX = names.named("INBOX")
ALL = ((1, 2**32 - 1),)
_FEEDER = Path(__file__).with_name("feeder.py")


async def everything(view: Any) -> dict[str, dict[bytes, frozenset[str]]]:
    """Name of each mailbox to its messages and their flags."""
    found = {}
    for box in await view.mailboxes():
        rows = [row async for batch in view.rows(box.id, ALL, frozenset(("flags", "size"))) for row in batch]
        assert all(row.size for row in rows)
        assert len(rows) == box.exists
        found[box.name] = {row.id: row.flags for row in rows}
    return found


def _placed(rig: Any) -> dict[int, bytes]:
    """UID to message in INBOX, as the files say with nobody at work."""
    database = open_database(
        rig.folder / "index" / "index", [], rig.identities, os.urandom, schema.COMMON, schema.VERSION
    )
    try:
        assert database.check() == []
        with database.read() as db:
            sql = "SELECT p.uid, s.email FROM place p JOIN shown s ON s.id = p.shown"
            return dict(db.execute(sql).fetchall())
    finally:
        database.close()


def test_killed_at_any_moment_every_message_is_there_once_and_uids_never_change(
    play: Callable[..., None], rig: Any, letter: Callable[..., Any]
) -> None:
    count = 3000

    async def write(rig: Any) -> None:
        mx = await rig.node("mx")
        await mx.mail([letter(n, "word " * 100) for n in range(count)])

    play(write)
    chance = random.Random(7)
    known: dict[int, bytes] = {}
    interrupted = 0
    for _ in range(10):
        with subprocess.Popen([sys.executable, str(_FEEDER), str(rig.folder)], stdout=subprocess.PIPE) as feeder:
            assert feeder.stdout is not None
            feeder.stdout.readline()
            time.sleep(chance.random() * 0.8)
            feeder.kill()
        placed = _placed(rig)
        assert known.items() <= placed.items(), "a UID once given keeps its message"
        known = placed
        interrupted += len(placed) < count
        if len(placed) == count:
            break
    assert interrupted >= 2, "the kills were meant to come while messages were being opened"

    async def check(rig: Any) -> None:
        async with rig.account(await rig.node("laptop")) as account:
            await _until(account, "behind")
            view = account.view()
            rows = [row async for batch in view.rows(INBOX, ALL, frozenset(("size",))) for row in batch]
            assert all(row.size for row in rows)
            assert len({row.id for row in rows}) == len(rows) == count
            assert known.items() <= {row.uid: row.id for row in rows}.items()
            assert (await view.mailboxes(["INBOX"]))[0].uidnext == count + 1
            with account.shelf.use(next(iter(account.ledger.keysets))) as contents:
                assert contents.holds() == count
                assert contents.database.check() == []

    play(check)


def test_a_rebuilt_index_shows_the_same_and_says_so_in_uidvalidity(
    play: Callable[..., None], rig: Any, letter: Callable[..., Any]
) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(n) for n in range(40)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            view = account.view()
            await view.change([Create(name="Work"), Create(name="Gone")])
            work, gone = (await view.mailboxes(["Work", "Gone"]))[::-1]
            await view.change([Flag(mailbox=INBOX, uids=((3, 20),), add=frozenset(("\\Seen", "$A")))])
            await view.change([Flag(mailbox=INBOX, uids=((5, 9),), remove=frozenset(("\\Seen",)))])
            await view.change([File(mailbox=INBOX, uids=((5, 30),), to=work.id, move=True)])
            await view.change([File(mailbox=work.id, uids=((1, 4),), to=gone.id)])
            await view.change([Remove(mailbox=INBOX, uids=((1, 2),)), Rename(mailbox=work.id, name="Play")])
            uid = await view.append(work.id, letter(99))
            before, validity = await everything(view), (await view.mailboxes(["INBOX"]))[0].uidvalidity
            last = letter(99)
            assert uid
        later = time.time() + 5
        rig.now = lambda: later
        shutil.rmtree(rig.folder / "index")
        async with rig.account(laptop) as account:
            await account.feed.reached(await mx.mail([last]))
            await _until(account, "behind")
            view = account.view()
            after = await everything(view)
            new = after["INBOX"].keys() - before["INBOX"].keys()
            assert len(new) == 1, "the mail that came since"
            after["INBOX"] = {id: flags for id, flags in after["INBOX"].items() if id not in new}
            assert after == before
            assert (await view.mailboxes(["INBOX"]))[0].uidvalidity > validity

    play(scene)


def test_a_keysets_file_that_is_gone_is_filled_again_and_uids_stay(
    play: Callable[..., None], rig: Any, letter: Callable[..., Any]
) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(n) for n in range(20)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            uids, _ = await account.view().uids(INBOX)
        for file in (rig.folder / "index").glob("keyset-*.db*"):
            file.unlink()
        async with rig.account(laptop) as account:
            await _until(account, "waiting")
            rows = [row async for batch in account.view().rows(INBOX, ALL, frozenset(("size",))) for row in batch]
            assert [row.uid for row in rows] == uids
            assert all(row.size for row in rows)

    play(scene)


def test_no_text_of_a_message_is_in_any_file_of_the_index(
    play: Callable[..., None], rig: Any, letter: Callable[..., Any]
) -> None:
    async def scene(rig: Any) -> None:
        mx, laptop = await rig.node("mx"), await rig.node("laptop")
        dots = await mx.mail([letter(n, "unmistakable-secret-text " * 50) for n in range(50)])
        async with rig.account(laptop) as account:
            await account.feed.reached(dots)
            for file in (rig.folder / "index").iterdir():
                data = file.read_bytes()
                assert b"unmistakable" not in data
                assert b"alice@" not in data
                assert not data.startswith(b"SQLite format")

    play(scene)


async def _until(account: Any, what: str) -> None:
    """Return once the account's progress shows 0 for `what`."""
    for _ in range(1000):
        if not getattr(await account.status(), what):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError
