"""Keep what was opened.

First what was in messages, in the keysets' files; then, in one transaction of the common file, where everything is and
how far the logs are opened. Dying in between leaves rows that the next attempt finds and leaves as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from mesyx_core.api import Changed, Locked
from mesyx_core.mailbox import accounts, applying, submissions
from mesyx_core.mailbox.contents import Contents, Inside
from mesyx_core.mailbox.ledger import Change, Ledger
from mesyx_core.mailbox.model import SEQ, Why
from mesyx_core.mailbox.opening import Closed, Deed, Item, Later, Letter, NewEpoch, NewSeal, Nothing, Violation, Word
from mesyx_core.mailbox.seeds import Seeds
from mesyx_core.mailbox.shelf import Shelf
from mesyx_core.record.ops import OpsError
from mesyx_core.record.outgoing import Account, AccountRemoved
from mesyx_core.record.payloads import Target

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """What one transaction did."""

    modseq: int
    changed: Sequence[Changed]
    ready: Sequence[int]
    """Entries that waited for something in it."""
    opened: int
    """Messages and ops in it."""
    posted: bool
    """It tells something new of what goes out."""
    retry: Sequence[Why]
    """Entries that waited for these reasons may be opened now."""


class Keeper:
    """The writing side of the index; for one thread at a time."""

    def __init__(self, ledger: Ledger, shelf: Shelf, seeds: Seeds) -> None:
        self._seeds = seeds
        self._ledger = ledger
        self._shelf = shelf

    def keep(self, items: Sequence[Item]) -> Kept:
        """Keep these items, in order; all of them or, on an exception, none in the common file."""
        passed = self._keep_insides([item for item in items if isinstance(item, Letter)])
        with self._ledger.change() as change:
            for item in items:
                if isinstance(item, Letter) and item.inside.entry in passed:
                    change.put_off(item.inside.entry, passed[item.inside.entry])
                else:
                    _record(change, item)
            ready = change.retry_ready()
        opened = sum(isinstance(item, Letter | Deed) for item in items)
        resealed = {(item.origin, item.number) for item in items if isinstance(item, NewSeal)}
        self._seeds.look_again(resealed)
        epochs = [(item.entry >> SEQ, item.number) for item in items if isinstance(item, NewEpoch)]
        self._seeds.retry(epochs)
        posted = bool(change.posted) or change.published
        retry: list[Why] = ["epoch"] if epochs else []
        if any(isinstance(item, NewSeal) and item.good for item in items):
            retry += ["locked", "epoch"]
        return Kept(change.modseq, change.changed, ready, opened, posted, retry)

    def _keep_insides(self, letters: list[Letter]) -> dict[int, Why]:
        """Which of them could not be kept, and why."""
        by_target: dict[Target, list[Inside]] = {}
        for letter in letters:
            by_target.setdefault(letter.target, []).append(letter.inside)
        passed: dict[int, Why] = {}
        for target, insides in by_target.items():
            try:
                with self._shelf.use(target) as contents:
                    passed.update(_add(contents, insides))
            except Locked:
                passed.update((inside.entry, "locked") for inside in insides)
        return passed


def _add(contents: Contents, insides: Sequence[Inside]) -> dict[int, Why]:
    try:
        contents.add(insides)
    except (ValueError, OverflowError) as error:  # a value that SQLite cannot hold
        if len(insides) == 1:
            log.error("a message could not be indexed: %s; it is tried again at the next start", type(error).__name__)
            return {insides[0].entry: "fault"}
        return {entry: why for inside in insides for entry, why in _add(contents, [inside]).items()}
    return {}


def _record(change: Change, item: Item) -> None:
    if isinstance(item, Letter):
        _letter(change, item)
    elif isinstance(item, Deed):
        _deed(change, item)
    elif isinstance(item, Word):
        _word(change, item)
    elif isinstance(item, NewEpoch):
        change.learn(item.entry, item.number, item.commitment, item.epoch)
        if item.wanted:
            change.put_off(item.entry, "body")
    elif isinstance(item, NewSeal):
        change.sealed(item.entry, item.origin, item.number, *item.seal, item.good)
        change.passed(item.entry)
    elif isinstance(item, Closed):
        change.closed(item.entry, item.number)
    elif isinstance(item, Nothing):
        change.passed(item.entry)
    elif isinstance(item, Later):
        change.put_off(item.entry, item.why)
    elif isinstance(item, Violation):
        change.violation(item.entry, item.what)
    else:
        change.put_off(item.entry, "blob")


_REPEATED = "repeats a key of its epoch"


def _letter(change: Change, letter: Letter) -> None:
    entry = letter.inside.entry
    if not change.has(entry):
        if not change.use(entry, letter.place):
            change.violation(entry, _REPEATED)
            return
        arrival = letter.arrival._replace(keyset=change.keyset(letter.target))
        if letter.stands:
            change.stand(entry, arrival)
        else:
            change.arrive(arrival)
        if letter.copy is not None:
            submissions.file(change, entry, letter.copy)
    else:
        change.lies_in(entry, letter.target)
    change.passed(entry)


def _word(change: Change, word: Word) -> None:
    if change.use(word.entry, word.place):
        if isinstance(word.value, Account | AccountRemoved):
            accounts.tell(change, word.entry, word.value)
        else:
            submissions.tell(change, word.entry, word.value, word.day)
        change.passed(word.entry)
    else:
        change.violation(word.entry, _REPEATED)


def _deed(change: Change, deed: Deed) -> None:
    try:
        applied = applying.apply(change, deed.entry, deed.data, deed.place)
    except OpsError:
        applied = "not in the form that ops have"
    if applied:
        change.violation(deed.entry, applied)
