"""Mail out of a copy of a node's state, with private keys at hand: no node runs, nothing of the copy is changed.

The copy's journal is opened beside what is recovered, and an index is made of it there as a client makes one, under a
key that is in memory alone; so mailboxes, flags, deletions and doubles are what every client shows.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import anyio

from mesyx_core.api import Field, Message, Row, View
from mesyx_core.api.errors import Refused, Temporary
from mesyx_core.journal import Journal
from mesyx_core.mailbox.account import Account
from mesyx_core.mailbox.outbound import Part
from mesyx_core.node.backup import cannot
from mesyx_core.node.clock import now
from mesyx_core.node.keyring import Keyring
from mesyx_core.node.letters import Letters, Maildir, Mbox, distinct, place
from mesyx_core.node.progress import Tell, quietly
from mesyx_core.node.stores import fingerprint
from mesyx_core.record.entry import Kind
from mesyx_core.record.ops import Dot
from mesyx_core.vault import age
from mesyx_core.vault.authority import Authority

log = logging.getLogger(__name__)

Form: TypeAlias = Literal["maildir", "mbox"]
PLACES: Final = ("journal.db", "journal/journal.db", "state/journal/journal.db")
"""Of the database in a backup, a state folder, and a node's folder."""
KEYS: Final = ("keys", "state/keys")
SCRATCH: Final = ".recovering-"
LOOK: Final = 0.1
_FIELDS: Final[frozenset[Field]] = frozenset(("flags", "time"))
_ALL: Final = ((1, 0xFFFFFFFF),)


class Nobody:
    """Writes nothing: nobody is here who could."""

    node = bytes(32)

    async def ops(self, batches: Sequence[bytes]) -> list[Dot]:
        raise Refused("what is being recovered is not written to")

    async def message(self, message: Message) -> Dot:
        raise Refused("what is being recovered is not written to")

    async def post(self, parts: Sequence[Part]) -> list[Dot]:
        raise Refused("what is being recovered is not written to")

    async def marks(self, entries: Sequence[tuple[Kind, bytes]]) -> list[Dot]:
        raise Refused("what is being recovered is not written to")


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What is to be had out of what, and by which keys."""

    source: Path
    """A node's folder, its state folder, or a backup."""
    target: Path
    """A new folder: in it one for each store, where there are several, and one Maildir or mbox for each mailbox."""
    form: Form
    identities: Sequence[age.Identity]
    phrase: str = ""
    """Opens the keyring of the source."""
    only: str = ""
    """The one store, by its name there or its fingerprint."""
    tell: Tell = quietly


def recover(job: Recovery) -> list[dict[str, Any]]:
    """Write all mail that can be opened; what came of each store. Raises Refused, Temporary."""
    target = job.target
    if target.exists() and any(target.iterdir()):
        raise Refused(f"{target}: is not empty", "name a new folder")
    found = next((job.source / path for path in PLACES if (job.source / path).is_file()), None)
    if found is None:
        raise Refused(
            f"{job.source}: holds no journal",
            "name a node's folder, its state or a backup; of a journal in PostgreSQL, `mesyx backup` makes one",
        )
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _scratch(target) as scratch:
            _copied(found, scratch / "journal", job.tell)
            return anyio.run(_all, job, scratch, keyrings(job.source, scratch))
    except OSError as error:
        raise cannot(target, error) from error


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A folder beside what is recovered; it holds ciphertext alone."""
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=target))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copied(database: Path, folder: Path, tell: Tell) -> None:
    """The journal, so that nothing of the original is written to; bodies are linked where the file system can."""
    (folder / "blobs").mkdir(mode=0o700, parents=True)
    for suffix in ("", "-wal"):
        part = database.with_name(database.name + suffix)
        if part.exists():
            shutil.copyfile(part, folder / f"journal.db{suffix}")
    blobs = database.parent / "blobs"
    names = [each.name for each in os.scandir(blobs) if each.is_file()] if blobs.is_dir() else []
    for done, name in enumerate(names):
        try:
            os.link(blobs / name, folder / "blobs" / name)
        except OSError:
            shutil.copyfile(blobs / name, folder / "blobs" / name)
        tell("bodies", done + 1, len(names))


def keyrings(source: Path, scratch: Path) -> list[Keyring]:
    """Copies of those in the source, sealed as they are: to open one may change it."""
    found = []
    for number, folder in enumerate(source / path for path in KEYS if (source / path).is_dir()):
        copy = scratch / f"keys{number}"
        shutil.copytree(folder, copy, copy_function=shutil.copyfile)
        found.append(Keyring(copy))
    return found


async def _all(job: Recovery, scratch: Path, rings: Sequence[Keyring]) -> list[dict[str, Any]]:
    async with Journal.open(scratch / "journal", durable=False) as journal:
        stores = [(id, name) for id, name in await journal.stores() if job.only in ("", name, fingerprint(id))]
        if not stores:
            raise Refused(f"no store {job.only} is in it".replace("  ", " "), "see `mesyx store list` there")
        keys = opening(job, [id for id, _ in stores], rings)
        taken: set[str] = set()
        folders = [distinct(job.target / place(name), taken) if len(stores) > 1 else job.target for _, name in stores]
        found = zip(stores, folders, strict=True)
        return [await _store(job, journal, scratch, id, name, keys[id], folder) for (id, name), folder in found]


async def _store(
    job: Recovery,
    journal: Journal,
    scratch: Path,
    store: bytes,
    name: str,
    identities: Sequence[age.Identity],
    folder: Path,
) -> dict[str, Any]:
    async with _opened(journal, scratch / "index" / store.hex()[:16], store, name, identities) as account:
        await _read(account, job.tell)
        written, without = await _write(account.view(), folder, job.form, job.tell)
        left = await _left(account, without)
        return {"store": name, "fingerprint": fingerprint(store), "mailboxes": written, **left}


def opening(job: Recovery, stores: Sequence[bytes], rings: Sequence[Keyring]) -> dict[bytes, list[age.Identity]]:
    """What opens each store: what was given, and what is in a keyring that the passphrase opens. It may be another's,
    as a kit's: that is refused only where there is nothing else. Raises Refused, Temporary."""
    found = {store: list(job.identities) for store in stores}
    refusals: list[Refused | Temporary] = []
    for store in stores:
        for ring in rings if job.phrase else ():
            if ring.has(store):
                try:
                    found[store] += ring.open(store, job.phrase).keys()
                except (Refused, Temporary) as refused:
                    refusals.append(refused)
    if refusals and not any(found.values()):
        raise refusals[0]
    for each in refusals:
        log.warning("a keyring stays closed: %s", each.what)
    return found


@asynccontextmanager
async def _opened(
    journal: Journal, folder: Path, store: bytes, name: str, identities: Sequence[age.Identity]
) -> AsyncIterator[Account]:
    authority = Authority.of(await journal.manifests(store))
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    async with Account.open(
        folder,
        store,
        name,
        journal,
        lambda: authority,
        identities,
        Nobody(),
        lambda: now().timestamp(),
        os.urandom,
        own=age.generate(),
    ) as account:
        yield account


async def _read(account: Account, tell: Tell) -> None:
    """Index all that opens."""
    whole = sum(head.seq for head in await account.journal.heads(account.store))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(account.feed.run)
        while True:
            progress = await account.status()
            tell("entries", whole - progress.behind, whole)
            if account.feed.idle and not progress.behind:
                break
            await anyio.sleep(LOOK)
        tasks.cancel_scope.cancel()


async def _write(view: View, folder: Path, form: Form, tell: Tell) -> tuple[dict[str, int], int]:
    """How many messages of each mailbox were written, and how many have no body here."""
    written: dict[str, int] = {}
    taken: set[str] = set()
    done = 0
    mailboxes = [each for each in await view.mailboxes() if each.exists]
    whole = sum(each.exists for each in mailboxes)
    for mailbox in mailboxes:
        path = distinct(folder / place(mailbox.name), taken)
        letters: Letters = Maildir(path) if form == "maildir" else Mbox(path.with_name(f"{path.name}.mbox"))
        about = {row.uid: row async for rows in view.rows(mailbox.id, _ALL, _FIELDS) for row in rows}
        count = 0
        async for batch in view.content(mailbox.id, _ALL):
            for uid, body in batch:
                data = b"".join([chunk async for chunk in body.read()])
                await anyio.to_thread.run_sync(_add, letters, data, about[uid])
                count += 1
                tell("messages", done + count, whole)
        letters.close()
        written[mailbox.name] = written.get(mailbox.name, 0) + count
        done += count
    return written, whole - done


def _add(letters: Letters, data: bytes, row: Row) -> None:
    letters.add(data, row.time or now(), row.flags or ())


async def _left(account: Account, without: int) -> dict[str, Any]:
    """What could not be had, and which keys would open it."""
    progress = await account.status()
    targets = [target for target in await account.epochs() if target.kind == "keyset"]
    closed = sorted(target.id.hex() for target in targets if not account.seeds.opens(target))
    return {
        "locked": progress.locked,
        "keysets without a key": closed if progress.locked else [],
        "incomplete": progress.waiting + without,
        "violations": progress.violations,
    }


def complete(done: Iterable[dict[str, Any]]) -> bool:
    """Whether nothing was left behind."""
    return not any(each["locked"] or each["incomplete"] or each["violations"] for each in done)
