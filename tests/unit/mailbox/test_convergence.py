"""Views that opened the same entries show the same, in whatever order the logs came in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mesyx_core.mailbox import applying, directory, names, schema
from mesyx_core.mailbox.ledger import Ledger
from mesyx_core.mailbox.model import SEQ, Arrival
from mesyx_core.mailbox.storage import open_database
from mesyx_core.record import ops
from mesyx_core.record.ops import Batch, Dot, FileOp, FlagOp, Off, Op
from mesyx_core.vault import age

_PERSON = age.Identity.classic(b"p" * 32)
_MX = (b"m" * 32, b"m" * 16)
_CLIENTS = [(b"a" * 32, b"a" * 16), (b"b" * 32, b"b" * 16)]
_MESSAGES = 3
_BOXES = [names.named(name) for name in ("INBOX", "Archive", "Trash")]
_Entry = tuple[bytes, bytes, int]
_Keys = dict[tuple[_Entry, bytes, str], set[Dot]]


class Client:
    """A writer that names the dots it has seen, as a view does; its state is the plain definition of the sets."""

    def __init__(self, origin: tuple[bytes, bytes]) -> None:
        self.origin = origin
        self.log: list[bytes] = []
        self.seen: dict[_Entry, bytes] = {}
        self.keys: _Keys = {}
        for seq in range(1, _MESSAGES + 1):
            self.keys[(*_MX, seq), _BOXES[0], ""] = {Dot(*_MX, seq, 0)}

    def write(self, op: Op) -> None:
        at = (*self.origin, len(self.log) + 1)
        data = ops.encode(Batch(len(self.log) << 16, (op,)))
        self.log.append(data)
        self.apply(at, data)

    def apply(self, at: _Entry, data: bytes) -> None:
        self.seen[at] = data
        for n, op in enumerate(ops.decode(data).ops, 1):
            assert isinstance(op, FlagOp | FileOp)
            for entry in ops.each(op.entries):
                for off in op.off:
                    dots = {Dot(*ref, d.n) for d in off.dots for ref in ops.each((d.span,))}
                    dots |= {Dot(*entry, 0)} if off.own else set()
                    self.keys.get(_key(op, entry, off.key), set()).difference_update(dots)
                for key in op.add:
                    self.keys.setdefault(_key(op, entry, key), set()).add(Dot(*at, n))

    def flag(self, seq: int, on: bool) -> None:
        entry = (*_MX, seq)
        off = () if on else (self.off(entry, b"", "\\Seen"),)
        self.write(FlagOp(ops.spans([entry]), frozenset(("\\Seen",) if on else ()), off))

    def move(self, seq: int, source: int, to: int, keep: bool) -> None:
        entry = (*_MX, seq)
        off = () if keep else (self.off(entry, _BOXES[source], ""),)
        self.write(FileOp(ops.spans([entry]), frozenset((_BOXES[to],)), off))

    def off(self, entry: _Entry, box: bytes, flag: str) -> Off:
        dots = self.keys.get((entry, box, flag), set())
        own = Dot(*entry, 0) in dots
        return Off(flag or box, own, ops.dot_spans(dot for dot in dots if dot.n))

    def shown(self) -> dict[bytes, set[tuple[_Entry, bool]]]:
        found: dict[bytes, set[tuple[_Entry, bool]]] = {box: set() for box in _BOXES}
        for (entry, box, flag), dots in self.keys.items():
            if dots and not flag:
                found[box].add((entry, bool(self.keys.get((entry, b"", "\\Seen")))))
        return found


def _key(op: Op, entry: _Entry, key: str | bytes) -> tuple[_Entry, bytes, str]:
    return (entry, b"", str(key)) if isinstance(op, FlagOp) else (entry, bytes(key), "")  # type: ignore[arg-type]


@contextmanager
def _ledger() -> Iterator[Ledger]:
    with TemporaryDirectory() as folder:
        database = open_database(
            Path(folder) / "index", [_PERSON.recipient], [_PERSON], os.urandom, schema.COMMON, schema.VERSION
        )
        yield Ledger(database, lambda: 1_800_000_000.0)
        database.close()


def _arrival(entry: int, seq: int) -> Arrival:
    email = names.email(*_MX, seq)
    return Arrival(entry, 1, seq, None, False, _BOXES[0], "INBOX", frozenset(), email, email)


def _feed(ledger: Ledger, logs: dict[tuple[bytes, bytes], list[bytes]], order: list[int]) -> None:
    """Open logs entry by entry; each number in `order` picks the log that goes on, in a transaction of its own."""
    at = dict.fromkeys(logs, 0)

    for choice in [*order, *range(3 * sum(map(len, logs.values())))]:
        left = [origin for origin in sorted(logs) if at[origin] < len(logs[origin])]
        if not left:
            break
        origin = left[choice % len(left)]
        with ledger.change() as change:
            at[origin] += 1
            entry = change.origin(*origin) << SEQ | at[origin]
            change.db.execute(
                "INSERT OR IGNORE INTO epoch (origin, number, entry, commitment, used) VALUES (?, 1, 0, x'', x'')",
                (entry >> SEQ,),
            )
            data = logs[origin][at[origin] - 1]
            if origin == _MX:
                change.arrive(_arrival(entry, at[origin]))
                change.passed(entry)
            else:
                assert not applying.apply(change, entry, data, (1, at[origin]))
        while True:
            with ledger.change() as change:
                ready = change.retry_ready()
                for one in ready:
                    node, incarnation, seq = ledger.ref(one)
                    assert not applying.apply(change, one, logs[node, incarnation][seq - 1], (1, seq))
            if not ready:
                break


def _shown(ledger: Ledger) -> dict[bytes, set[tuple[_Entry, bool]]]:
    with ledger.database.read() as db:
        boxes = {box.row: box.id for box in directory.boxes(ledger, db)}
        found: dict[bytes, set[tuple[_Entry, bool]]] = {box: set() for box in _BOXES}
        for mailbox, shown, flags in db.execute("SELECT mailbox, shown, flags FROM place"):
            found[boxes[mailbox]].add((ledger.ref(shown), "\\Seen" in ledger.flag_names[flags]))
        listed = {box.id: box for box in directory.listed(ledger, db, None)}
        for mid, rows in found.items():
            assert (listed[mid].exists, listed[mid].unseen) == (len(rows), sum(not seen for _, seen in rows))
        return found


_STEP = st.one_of(
    st.tuples(st.just("flag"), st.integers(0, 1), st.integers(1, _MESSAGES), st.booleans()),
    st.tuples(
        st.just("move"),
        st.integers(0, 1),
        st.integers(1, _MESSAGES),
        st.integers(0, 2),
        st.integers(0, 2),
        st.booleans(),
    ),
    st.tuples(st.just("sync"), st.integers(0, 1)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_STEP, max_size=12), st.lists(st.integers(0, 2), max_size=20), st.lists(st.integers(0, 2), max_size=20))
def test_any_order_of_arrival_gives_one_result(
    steps: list[tuple[Any, ...]], first: list[int], second: list[int]
) -> None:
    clients = [Client(origin) for origin in _CLIENTS]
    for what, who, *how in steps:
        client, other = clients[who], clients[1 - who]
        if what == "flag":
            client.flag(*how)
        elif what == "move":
            client.move(*how)
        else:
            for at, data in other.seen.items():
                if at not in client.seen:
                    client.apply(at, data)
    whole = Client(_CLIENTS[0])
    for client in clients:  # what each saw stands before what it wrote of it
        for at, data in client.seen.items():
            if at not in whole.seen:
                whole.apply(at, data)
    logs = {_MX: [b""] * _MESSAGES, **{client.origin: client.log for client in clients}}
    for order in (first, second):
        with _ledger() as ledger:
            _feed(ledger, logs, order)
            assert _shown(ledger) == whole.shown()


def test_what_is_taken_off_stays_off_though_its_adding_comes_later() -> None:
    one, two = (Client(origin) for origin in _CLIENTS)
    one.flag(1, on=True)
    two.apply((*one.origin, 1), one.log[0])
    two.flag(1, on=False)
    two.move(1, 0, 1, keep=False)
    logs = {_MX: [b""], one.origin: one.log, two.origin: two.log}
    for order in ([1, 1, 0], [2, 1, 0], [0, 0, 0], [1, 1, 1]):
        with _ledger() as ledger:
            _feed(ledger, logs, order)
            assert _shown(ledger) == {_BOXES[0]: set(), _BOXES[1]: {((*_MX, 1), False)}, _BOXES[2]: set()}


def test_two_concurrent_moves_leave_the_message_in_both_places() -> None:
    one, two = (Client(origin) for origin in _CLIENTS)
    one.move(1, 0, 1, keep=False)
    two.move(1, 0, 2, keep=False)
    with _ledger() as ledger:
        _feed(ledger, {_MX: [b""], one.origin: one.log, two.origin: two.log}, [])
        shown = _shown(ledger)
    assert [len(shown[box]) for box in _BOXES] == [0, 1, 1]


def test_a_clock_in_2099_does_not_win_over_what_came_after_it() -> None:
    mid = names.named("Archive")
    early = ops.encode(Batch(4_070_908_800_000 << 16, (ops.NameOp(mid, "From the future"),)))
    seen = ops.dot_spans([Dot(*_CLIENTS[0], 1, 1)])
    later = ops.encode(Batch(1, (ops.NameOp(mid, "Plain", seen),)))
    for order in ([0, 0], [1, 1]):
        with _ledger() as ledger:
            _feed(ledger, {_CLIENTS[0]: [early], _CLIENTS[1]: [later]}, order)
            with ledger.database.read() as db:
                assert "Plain" in {box.name for box in directory.boxes(ledger, db)}


def test_concurrent_names_are_settled_alike_everywhere() -> None:
    mid = names.named("Archive")
    logs = {
        origin: [ops.encode(Batch(clock, (ops.NameOp(mid, name), ops.CreateOp("Same"))))]
        for origin, clock, name in zip(_CLIENTS, (5, 9), ("Lower", "Higher"), strict=True)
    }
    found = []
    for order in ([0], [1]):
        with _ledger() as ledger:
            _feed(ledger, logs, order)
            with ledger.database.read() as db:
                found.append([(box.id, box.name) for box in directory.boxes(ledger, db)])
    assert found[0] == found[1]
    assert {"Higher", "Same", "Same (2)"} <= {name for _, name in found[0]}


def test_a_deleted_mailbox_stays_for_what_its_deleter_did_not_see() -> None:
    made = ops.encode(Batch(1, (ops.CreateOp("Shared"),)))
    mid = names.made(Dot(*_CLIENTS[0], 1, 1))
    drop = ops.encode(Batch(2, (ops.DropOp(mid),)))
    put = ops.encode(Batch(2, (FileOp(ops.spans([(*_MX, 1)]), frozenset((mid,))),)))
    for logs in ({_CLIENTS[0]: [made, drop]}, {_CLIENTS[0]: [made, drop], _CLIENTS[1]: [put], _MX: [b""]}):
        for order in ([0, 0, 0], [1, 1, 1], [2, 1, 0]):
            with _ledger() as ledger:
                _feed(ledger, logs, order)
                with ledger.database.read() as db:
                    there = "Shared" in {box.name for box in directory.boxes(ledger, db)}
            assert there == (len(logs) > 1)
