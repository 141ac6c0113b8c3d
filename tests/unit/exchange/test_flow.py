"""Each log gets its turn, no more is under way than fits the window, and nothing is sent that the peer has."""

from __future__ import annotations

from mesyx_core.exchange.flow import DIVERGED, Flow

A, B, C = ((bytes([n]) * 32, bytes([n]) * 16) for n in range(3))


def flow(**held: int) -> Flow:
    made = Flow(window=1000)
    for name, seq in held.items():
        made.grew({"a": A, "b": B, "c": C}[name], seq)
    return made


def test_a_compared_log_waits_until_it_is_known_what_the_peer_has() -> None:
    one = Flow()
    one.begin({A: 10})
    assert one.next() is None
    assert not one.settled
    one.found({A: 4})
    assert one.next() == (A, 4)


def test_a_log_that_is_new_is_sent_from_its_start() -> None:
    assert flow(a=1).next() == (A, 0)


def test_logs_take_turns() -> None:
    one = flow(a=100, b=1)
    one.sent(A, 50, 10)
    assert one.next() == (B, 0)
    one.sent(B, 1, 10)
    assert one.next() == (A, 50)


def test_a_full_window_waits_for_the_peer() -> None:
    one = flow(a=100)
    one.sent(A, 50, 1000)
    assert one.next() is None
    one.holds(A, 50)
    assert one.next() == (A, 50)
    assert one.acked == {A: 50}


def test_settled_means_durable_there() -> None:
    one = flow(a=2)
    one.sent(A, 2, 10)
    assert not one.settled
    assert one.waiting == 2
    one.holds(A, 2)
    assert one.settled
    assert one.waiting == 0


def test_what_the_peer_sent_is_not_sent_back() -> None:
    one = Flow()
    one.holds(A, 5)
    one.grew(A, 5)
    assert one.next() is None
    one.grew(A, 6)
    assert one.next() == (A, 5)


def test_a_declined_log_frees_the_window_and_comes_back_with_a_new_manifest() -> None:
    one = flow(a=9)
    one.sent(A, 9, 1000)
    one.decline(A, DIVERGED)
    one.grew(A, 10)
    assert one.next() is None
    assert one.settled
    one.reconsider()
    assert one.next() == (A, 0)


def test_the_peer_may_ask_to_go_back_but_not_for_ever() -> None:
    one = flow(a=9)
    for _ in range(16):
        one.sent(A, 9, 10)
        one.rewind(A, 3)
        assert one.next() == (A, 3)
    one.rewind(A, 3)
    assert one.next() is None
    assert one.declined == {A: DIVERGED}
