"""An invitation makes a server a member of a store it has never heard of, once."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from mesyx_core.builtin.memory import pair
from mesyx_core.exchange import InvitationRefused, LinkFailed, PeerEnded, Violation
from mesyx_core.exchange.frames import MAX_KEYS, Splitter
from mesyx_core.exchange.invitation import LIFETIME, PREFIX, Invitation, decode_line, make
from mesyx_core.vault.manifest import Member
from tests.unit.exchange.guests import Guests

NODE = bytes(range(32))


def invitation(
    now: float = 1000.0, node: bytes = NODE, addresses: tuple[str, ...] = ("alice@example.org",)
) -> Invitation:
    roles = frozenset({"accept", "exchange"})
    dial = ("https://mx1.example.org:8443", "tcp://192.0.2.1:7440")
    return make(node, dial, roles, addresses, now, lambda n: bytes(range(100, 100 + n)))


class TestTheLine:
    def test_it_says_all_again(self) -> None:
        assert decode_line(invitation().encode()) == invitation()

    def test_it_is_one_line_of_url_safe_text(self) -> None:
        line = invitation().encode()
        assert line.startswith(PREFIX)
        assert all(c.isalnum() or c in "-_" for c in line)
        assert len(line) < 350

    def test_white_space_of_copying_is_forgiven(self) -> None:
        line = invitation().encode()
        assert decode_line(f"  {line[:60]}\n  {line[60:]}\r\n") == invitation()

    def test_it_lasts_seven_days(self) -> None:
        assert not invitation(1000).expired(1000 + LIFETIME - 1)
        assert invitation(1000).expired(1000 + LIFETIME)

    @pytest.mark.parametrize("cut", [1, 5, 40])
    def test_a_cut_line_is_called_incomplete(self, cut: int) -> None:
        with pytest.raises(InvitationRefused, match="incomplete"):
            decode_line(invitation().encode()[:-cut])

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("", "not an invitation"),
            ("hello", "not an invitation"),
            ("mesyx2-AAAA", "another version"),
            (PREFIX, "incomplete"),
            (PREFIX + "é", "incomplete"),
            (PREFIX + "A" * 100_000, "too long"),
        ],
    )
    def test_what_is_none_is_refused(self, line: str, says: str) -> None:
        with pytest.raises(InvitationRefused, match=says):
            decode_line(line)

    def test_its_secret_is_not_in_its_repr_nor_its_id(self) -> None:
        one = invitation()
        assert one.secret.hex() not in repr(one)
        assert one.secret not in one.id


@pytest.fixture
async def guests(cluster: Any, as_member: Any) -> Guests:
    laptop, gateway = await cluster.node("laptop"), await cluster.node("gateway")
    cluster.store = cluster.owner.found(as_member(laptop.key, "client"))
    await laptop.hold(cluster.owner.documents)
    return Guests(cluster, laptop, gateway, as_member)


@pytest.mark.anyio
class TestRedeeming:
    async def test_the_gateway_holds_the_store_and_both_exchange(self, guests: Guests) -> None:
        await guests.join(await guests.invite("alice@example.org", "post@example.org"), addresses=["alice@example.org"])
        (about,) = guests.about
        assert about.recipient == guests.gateway.key.recipient
        assert about.addresses == ("alice@example.org", "post@example.org")
        (joining,) = guests.gateway.joined
        assert joining.member.addresses == ("alice@example.org",)
        await guests.laptop.take(guests.cluster.store, guests.cluster.owner.documents[-1])
        await guests.laptop.begin(guests.cluster.store)
        guests.cluster.connect(guests.laptop, guests.gateway)
        await guests.cluster.settled(guests.laptop, guests.gateway)

    async def test_repeating_it_is_harmless_even_after_expiry(self, guests: Guests) -> None:
        invited = await guests.invite()
        await guests.join(invited)
        guests.gateway.clock += 2 * LIFETIME
        await guests.join(invited)
        assert len(guests.gateway.joined) == 2

    async def test_repeating_it_grants_nothing_anew(self, guests: Guests) -> None:
        invited = await guests.invite("alice@example.org")
        await guests.join(invited, addresses=["alice@example.org"])
        guests.gateway.clock += 2 * LIFETIME
        await guests.join(invited)  # what the operator has taken away since does not come back
        assert [joining.addresses for joining in guests.gateway.joined] == [("alice@example.org",), ()]

    async def test_an_expired_one_is_not_even_tried(self, guests: Guests) -> None:
        invited = await guests.invite()
        guests.laptop.clock += LIFETIME
        here, _there = pair()
        with pytest.raises(InvitationRefused, match="expired"):
            await guests.laptop.exchange.join(here, invited, guests.cluster.store, lambda about: None)

    async def test_a_second_one_adds_an_address_and_grants_no_other(self, guests: Guests) -> None:
        await guests.join(await guests.invite("alice@example.org"), addresses=["alice@example.org"])
        members = guests.cluster.owner.manifest.members

        def changed(*addresses: str) -> list[Member]:
            return [replace(m, addresses=addresses) if m.node == guests.gateway.key.public else m for m in members]

        # The owner may write what he likes into a manifest that goes by another way: it grants nothing here.
        root = guests.cluster.owner.change(changed("alice@example.org", "root@example.org"))
        await guests.gateway.take(guests.cluster.store, root)
        guests.cluster.owner.change(changed("alice@example.org", "root@example.org", "post@example.org"))
        await guests.join(await guests.invite("post@example.org", secret=8))
        assert [joining.addresses for joining in guests.gateway.joined] == [
            ("alice@example.org",),
            ("post@example.org",),
        ]
        guests.cluster.owner.change(changed("alice@example.org", "postmaster@example.org"))
        with pytest.raises(InvitationRefused, match="does not grant"):
            await guests.join(await guests.invite("list@example.org", secret=9))

    async def test_the_secret_never_crosses(self, guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
        crossed = bytearray()
        monkeypatch.setattr(Splitter, "feed", _spy(crossed, Splitter.feed))
        invited = await guests.invite()
        await guests.join(invited)
        assert invited.id in crossed
        assert invited.secret not in crossed

    async def test_private_keys_travel_to_a_client_that_asked_for_them(self, guests: Guests) -> None:
        keys = "age1pq1" + "q" * 1950
        guests.keys = b"sealed" * 10_000, "alice"
        await guests.join(await guests.invite(roles=("client",), keys=keys), roles=frozenset({"client"}))
        assert guests.about[0].keys == keys
        (joining,) = guests.gateway.joined
        assert (joining.keys, joining.name) == guests.keys

    async def test_private_keys_that_nobody_asked_for_are_refused(self, guests: Guests) -> None:
        guests.keys = b"sealed", "alice"
        with pytest.raises(InvitationRefused, match="no client"):
            await guests.join(await guests.invite(roles=("client",)), roles=frozenset({"client"}))
        assert not guests.gateway.joined

    async def test_a_node_that_is_no_client_does_not_learn_the_stores_name(self, guests: Guests) -> None:
        guests.keys = b"", "alice"
        await guests.join(await guests.invite())
        assert guests.gateway.joined[0].name == ""

    @pytest.mark.parametrize("keys", [(b"x" * (MAX_KEYS + 1), ""), (b"", "x" * 65)])
    async def test_keys_and_names_beyond_bounds_end_the_join(self, guests: Guests, keys: tuple[bytes, str]) -> None:
        guests.keys = keys
        with pytest.raises((Violation, PeerEnded, LinkFailed)):
            await guests.join(await guests.invite(roles=("client",), keys="age1pq1"), roles=frozenset({"client"}))
        assert not guests.gateway.joined

    async def test_it_is_kept_sealed(self, guests: Guests) -> None:
        invited = await guests.invite("alice@example.org")
        rows = await guests.gateway.journal.rows("invitations")
        assert rows
        assert all(invited.secret not in row and b"alice" not in row for row in rows.values())

    async def test_the_operator_may_refuse(self, guests: Guests) -> None:
        async def no(joining: Any) -> None:
            raise InvitationRefused("the operator has to confirm this store first")

        guests.gateway.exchange._door._on_joined = no
        with pytest.raises(InvitationRefused, match="confirm"):
            await guests.join(await guests.invite())


def _spy(crossed: bytearray, real: Any) -> Any:
    def feed(self: Any, data: bytes) -> Any:
        crossed.extend(data)
        return real(self, data)

    return feed


def test_a_line_of_another_meaning_is_refused() -> None:
    raw = bytearray(base64.urlsafe_b64decode(invitation().encode()[len(PREFIX) :] + "=="))
    raw[1] = 2
    with pytest.raises(InvitationRefused):
        decode_line(PREFIX + base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode())
