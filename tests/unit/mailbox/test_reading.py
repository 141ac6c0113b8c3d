"""What stays in memory of messages that were read."""

from __future__ import annotations

from mesyx_core.api import Bytes
from mesyx_core.mailbox.reading import OBJECTS, Kept


def test_no_more_stays_than_allowed_and_what_was_asked_for_longest_ago_goes_first():
    kept = Kept(1000 + 3 * OBJECTS)
    bodies = {n: Bytes(bytes(300)) for n in range(3)}
    kept.add(bodies)
    assert kept.take([0]) == {0: bodies[0]}
    kept.add({3: Bytes(bytes(300))})
    assert sorted(kept.take([0, 1, 2, 3])) == [0, 2, 3]
    kept.add({4: Bytes(bytes(1000 + 2 * OBJECTS))})
    assert sorted(kept.take(range(5))) == [4]


def test_what_is_added_twice_counts_once():
    kept = Kept(1000 + OBJECTS)
    for _ in range(5):
        kept.add({1: Bytes(bytes(900))})
    assert sorted(kept.take([1])) == [1]


def test_large_bodies_do_not_push_out_all_others():
    kept = Kept(1 << 20)
    kept.add({1: Bytes(b"small"), 2: Bytes(bytes(1 << 17))})
    assert sorted(kept.take([1, 2])) == [1]
