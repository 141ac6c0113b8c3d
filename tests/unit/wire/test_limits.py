"""Limits hold on a clock that the test turns."""

from mesyx_core.wire.limits import Bucket, Buckets, Connections, peer_key


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(2, 3, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    assert bucket.delay() == 0.5
    clock.now += 0.5
    assert [bucket.take(), bucket.take()] == [True, False]
    clock.now += 1000
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_jumps_back_takes_nothing_away() -> None:
    clock = Clock()
    bucket = Bucket(1, 2, clock)
    clock.now = -100
    assert bucket.take()


def test_one_peer_cannot_take_all_connections() -> None:
    connections = Connections(overall=5, per_peer=2)
    assert [connections.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [connections.enter(f"192.0.2.{n}") for n in (2, 3, 4, 5)] == [True, True, True, False]
    connections.leave("192.0.2.1")
    assert connections.enter("192.0.2.1")
    assert connections.open == 5


def test_an_ipv6_customer_is_one_peer() -> None:
    assert peer_key("2001:db8::1") == peer_key("2001:db8::ffff:1:2:3") != peer_key("2001:db8:0:1::1")
    assert peer_key("::ffff:192.0.2.1") == peer_key("192.0.2.1")
    assert peer_key("fe80::1%eth0") == peer_key("fe80::2")
    assert peer_key("unix") == "unix"


def test_buckets_are_bounded_in_number() -> None:
    buckets = Buckets(1, 1, Clock(), peers=2)
    assert buckets.of("192.0.2.1").take()
    assert not buckets.of("192.0.2.1").take()
    buckets.of("192.0.2.2")
    buckets.of("192.0.2.3")
    assert buckets.of("192.0.2.1").take()
