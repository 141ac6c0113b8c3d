"""However logs differ, both sides find out what the other has, in few frames."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from mesyx_core.exchange.compare import Comparison
from mesyx_core.exchange.frames import Equal, Logs, Ranges, Same, pack
from mesyx_core.record.digest import Head

STORE = bytes(32)


def head(number: int, seq: int) -> Head:
    name = hashlib.sha256(number.to_bytes(4, "big")).digest()
    return Head(name, name[:16], seq, hashlib.sha256(b"%d %d" % (number, seq)).digest())


def compare(server: Comparison, client: Comparison) -> int:
    """Until both are silent; returns how many bytes it took."""
    said = server.begin(client.digest())
    listener, other = client, server
    total = 0
    while said:
        total += sum(len(pack(frame)) for frame in said)
        answers = []
        for frame in said:
            assert isinstance(frame, Same | Ranges | Equal | Logs)
            answers += listener.answer(frame)
        said, listener, other = answers, other, listener
    return total


logs = st.dictionaries(st.integers(0, 300), st.integers(1, 5), max_size=80)


@settings(max_examples=60, deadline=None)
@given(logs, logs)
def test_each_learns_what_the_other_has_of_its_own_logs(ours: dict[int, int], theirs: dict[int, int]) -> None:
    sides = [Comparison(STORE, [head(n, seq) for n, seq in held.items()]) for held in (ours, theirs)]
    compare(*sides)
    for side, held, other in ((sides[0], ours, theirs), (sides[1], theirs, ours)):
        assert side.found == {head(n, 1)[:2]: other.get(n, 0) for n in held}
        assert not side.forked
        assert side.done
        differing = {head(n, 1)[:2]: seq for n, seq in other.items() if held.get(n) != seq}
        assert differing.items() <= side.theirs.items()


def test_neither_side_is_done_before_the_other_has_spoken() -> None:
    ours, theirs = Comparison(STORE, [head(1, 5)]), Comparison(STORE, [])
    assert not theirs.done
    ours.begin(theirs.digest())
    assert not ours.done


def test_equal_ones_take_one_word() -> None:
    heads = [head(n, 7) for n in range(5000)]
    assert compare(Comparison(STORE, heads), Comparison(STORE, heads)) < 8


def test_one_difference_among_thousands_takes_few_kilobytes() -> None:
    heads = [head(n, 7) for n in range(5000)]
    ours, theirs = Comparison(STORE, heads), Comparison(STORE, [*heads[1:], head(0, 8)])
    assert compare(ours, theirs) < 8_000
    assert ours.found[heads[0][:2]] == 8


def test_another_branch_at_the_same_number_is_noticed() -> None:
    branch = head(1, 5)._replace(chain=bytes(32))
    ours, theirs = Comparison(STORE, [head(1, 5)]), Comparison(STORE, [branch])
    compare(ours, theirs)
    assert ours.forked == theirs.forked == {branch[:2]}
