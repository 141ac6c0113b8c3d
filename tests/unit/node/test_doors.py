"""Connections on which nothing happens keep nobody out, and who has shown who it is stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesyx_core.node.doors import GRACE, LOOK, SLOW, Doors, Peer


class House:
    """Doors with a clock that is turned, and peers whose bytes are made up."""

    def __init__(self, total: int, per_peer: int) -> None:
        self.now = 0.0
        self.doors = Doors(total, per_peer, lambda: self.now)
        self.inside: list[Peer] = []

    def knock(self, host: str, brought: Callable[[], float] = lambda: 0.0) -> Peer | None:
        peer = Peer(host, 1)
        if not self.doors.enter(peer, lambda: int(brought()), lambda: self.inside.remove(peer)):
            return None
        self.inside.append(peer)
        return peer

    def crowd(self, count: int, each: int = 1, net: str = "192.0") -> None:
        for n in range(count):
            for _ in range(each):
                assert self.knock(f"{net}.{n >> 8}.{n & 255}")

    def hosts(self, net: str) -> int:
        return sum(peer.host.startswith(net) for peer in self.inside)


@pytest.fixture
def house() -> House:
    return House(1000, 100)


def test_silent_connections_of_a_few_addresses_keep_nobody_out_from_the_first_moment(house: House) -> None:
    house.crowd(10, 100)
    for n in range(200):
        assert house.knock(f"198.51.100.{n}")
    assert len(house.inside) == 1000
    assert house.hosts("198.") == 200


def test_silent_connections_of_a_thousand_addresses_keep_nobody_out_after_ten_seconds(house: House) -> None:
    house.crowd(1000)
    assert house.knock("198.51.100.1") is None
    house.now = GRACE + 1
    for n in range(200):
        assert house.knock(f"198.51.100.{n}")
    assert len(house.inside) == 1000


def test_dripping_is_as_good_as_silence(house: House) -> None:
    for n in range(1000):
        house.knock(f"192.0.{n >> 8}.{n & 255}", lambda: house.now * (SLOW - 1))
    house.now = GRACE + 1
    assert house.knock("198.51.100.1")


def test_who_is_at_work_stays_and_so_do_members_and_log_ins(house: House) -> None:
    busy = [house.knock(f"203.0.113.{n}", lambda: house.now * 2 * SLOW) for n in range(50)]
    known = [house.knock(f"203.0.113.{n}") for n in range(100, 150)]
    for each in known:
        assert each is not None
        each.welcome()
    house.crowd(900)
    house.now = 3600.0
    for n in range(3000):
        house.now += 0.1
        house.knock(f"198.{n >> 8}.{n & 255}.1")
    assert {*busy, *known} <= {*house.inside}
    assert len(house.inside) == 1000


def test_some_that_are_lively_do_not_hide_many_that_are_not(house: House) -> None:
    for n in range(LOOK):
        house.knock(f"203.0.113.{n}", lambda: house.now * 2 * SLOW)
    house.crowd(1000 - LOOK)
    house.now = GRACE + 1
    assert house.knock("198.51.100.1") is None  # looked at the lively ones
    assert house.knock("198.51.100.1")


def test_with_none_to_give_up_who_comes_is_turned_away(house: House) -> None:
    for n in range(1000):
        member = house.knock(f"192.0.{n >> 8}.{n & 255}")
        assert member is not None
        member.welcome()
    house.now = 3600.0
    assert house.knock("198.51.100.1") is None
    assert len(house.inside) == 1000


def test_a_crowd_does_not_grow_at_the_cost_of_others() -> None:
    house = House(100, 100)
    house.crowd(49, 2)
    for _ in range(50):
        house.knock("198.51.100.1")
    assert house.hosts("198.") == 2
    assert len(house.inside) == 100


def test_one_address_has_its_share_and_its_own_idle_ones_make_room_for_it() -> None:
    """As behind a proxy, or one router: what comes from there is of many."""
    house = House(1000, 5)
    first = [house.knock("127.0.0.1") for _ in range(5)]
    assert first[0] is not None
    first[0].welcome()
    assert house.knock("127.0.0.1") is None
    house.now = GRACE + 1
    assert house.knock("127.0.0.1")
    assert house.inside[0] is first[0]
    assert len(house.inside) == 5


def test_whoever_leaves_makes_room_once() -> None:
    house = House(2, 1)
    one, other = house.knock("192.0.2.1"), house.knock("2001:db8::1")
    assert one is not None
    assert other is not None
    assert house.knock("192.0.2.1") is None
    assert house.knock("2001:db8::2") is None  # the same /64
    house.doors.leave(one)
    house.doors.leave(one)
    assert house.knock("192.0.2.1")
    assert house.knock("192.0.2.2") is None


def test_a_knock_costs_a_few_looks_however_many_are_inside() -> None:
    looks = 0

    def brought() -> float:
        nonlocal looks
        looks += 1
        return 0

    house = House(5000, 100)
    for n in range(5000):
        house.knock(f"192.0.{n >> 8}.{n & 255}", brought)
    house.now = GRACE + 1
    looks = 0
    assert house.knock("198.51.100.1")
    assert looks == LOOK
