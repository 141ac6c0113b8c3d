"""Digests: how two nodes find out what one has and the other has not, in few bytes (architecture.md, section 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from mesyx_core.record.entry import Origin
from mesyx_core.vault import encoding, labels


class Head(NamedTuple):
    """How far a log is held."""

    node: bytes
    incarnation: bytes
    seq: int
    chain: bytes
    ended: bool = False
    """It has its end entry: nothing can follow. Not part of any digest."""


def digest(heads: Iterable[Head]) -> bytes:
    """One hash over all heads, in any order given."""
    return encoding.digest(labels.DIGEST, [list(head[:4]) for head in sorted(heads)])


def by_node(heads: Iterable[Head]) -> tuple[list[Head], dict[bytes, bytes]]:
    """The heads of running logs, and for each node one hash over its ended ones."""
    running: list[Head] = []
    ended: dict[bytes, list[Head]] = defaultdict(list)
    for head in sorted(heads):
        if head.ended:
            ended[head.node].append(head)
        else:
            running.append(head)
    hashes = {
        node: encoding.digest(labels.DIGEST_NODE, node, [list(head[1:4]) for head in group])
        for node, group in ended.items()
    }
    return running, hashes


def position(store: bytes, head: Head) -> str:
    """Where a log stands among all of the store's: 64 hexadecimal digits, evenly spread."""
    return encoding.digest(labels.ORIGIN, *Origin(store, head.node, head.incarnation)).hex()


def within(store: bytes, heads: Iterable[Head], prefix: str) -> list[Head]:
    """The heads whose position starts with `prefix`."""
    return [head for head in heads if position(store, head).startswith(prefix)]


def split(store: bytes, heads: Iterable[Head], prefix: str = "") -> list[tuple[bytes, int]]:
    """The range `prefix` in 16: (digest, count) of each next digit's part, in order.

    Of two nodes, those parts whose digests differ are split again, or listed once their count is small.
    """
    parts: list[list[Head]] = [[] for _ in range(16)]
    for head in heads:
        where = position(store, head)
        if where.startswith(prefix):
            parts[int(where[len(prefix)], 16)].append(head)
    return [(digest(part), len(part)) for part in parts]
