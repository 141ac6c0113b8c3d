"""An invitation makes a server a member of a store it has never heard of, once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mesyx_core.builtin.memory import pair
from mesyx_core.exchange import About, InvitationRefused, LinkFailed, PeerEnded, Showing, Violation, WrongNode
from mesyx_core.exchange.frames import MAX_KEYS, Splitter
from mesyx_core.exchange.invitation import LIFETIME, PREFIX, Invitation, decode_line, make, proof
from mesyx_core.vault.manifest import Member

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


class Guests:
    """A laptop with a store, a gateway that has never heard of it, and whatever passes between."""

    def __init__(self, cluster: Any, laptop: Any, gateway: Any, as_member: Callable[..., Member]) -> None:
        self.cluster = cluster
        self.laptop = laptop
        self.gateway = gateway
        self.as_member = as_member
        self.about: list[About] = []
        self.keys: tuple[bytes, str] = (b"", "")
        """What is sent with the manifests: private keys, and the store's name."""

    async def invite(
        self, *addresses: str, secret: int = 7, roles: Sequence[str] = ("accept", "exchange"), keys: str = ""
    ) -> Invitation:
        made = make(
            self.gateway.key.public,
            (),
            frozenset(roles),
            addresses,
            self.gateway.clock,
            lambda n: bytes([secret]) * n,
        )
        await self.gateway.exchange.register.issue(made, keys)
        return made

    async def join(self, invited: Invitation, by: Any = None, addresses: Sequence[str] = (), **changes: Any) -> None:
        here, there = pair()
        node = by or self.laptop
        store = changes.pop("store", self.cluster.store)

        async def prepare(about: About) -> Showing:
            self.about.append(about)
            documents: list[bytes] = self.cluster.owner.documents
            if self.cluster.owner.manifest.member(self.gateway.key.public) is None:
                new = replace(self.as_member(self.gateway.key, "accept", addresses=addresses), **changes)
                self.cluster.owner.change([*self.cluster.owner.manifest.members, new])
            return Showing(documents, *self.keys)

        self.cluster.tasks.start_soon(self.gateway.exchange.accept, there)
        await node.exchange.join(here, invited, store, prepare)


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

    async def test_an_expired_one_is_refused_by_the_server(self, guests: Guests) -> None:
        invited = await guests.invite()
        guests.gateway.clock += LIFETIME
        with pytest.raises(InvitationRefused, match=r"expired on 20\d\d-"):
            await guests.join(invited)
        assert "expired" in guests.gateway.exchange.refusals[-1].reason
        assert not guests.about  # nothing was signed for it

    async def test_an_expired_one_is_not_even_tried(self, guests: Guests) -> None:
        invited = await guests.invite()
        guests.laptop.clock += LIFETIME
        here, _there = pair()
        with pytest.raises(InvitationRefused, match="expired"):
            await guests.laptop.exchange.join(here, invited, guests.cluster.store, lambda about: None)

    async def test_a_used_one_is_refused_to_another_client(self, guests: Guests) -> None:
        invited = await guests.invite()
        await guests.join(invited)
        thief = await guests.cluster.node("thief")
        with pytest.raises(InvitationRefused, match="used already"):
            await guests.join(invited, by=thief)
        assert "used already" in guests.gateway.exchange.refusals[-1].reason

    async def test_a_used_one_is_refused_for_another_store(self, guests: Guests) -> None:
        invited = await guests.invite()
        await guests.join(invited)
        with pytest.raises(InvitationRefused, match="used already"):
            await guests.join(invited, store=b"\1" * 32)

    async def test_a_withdrawn_one_is_refused(self, guests: Guests) -> None:
        invited = await guests.invite()
        await guests.gateway.exchange.register.withdraw(invited.id)
        with pytest.raises(InvitationRefused, match="no such invitation"):
            await guests.join(invited)

    async def test_another_node_cannot_redeem_it_in_the_inviters_place(self, guests: Guests) -> None:
        invited = await guests.invite()
        guests.gateway = await guests.cluster.node("imposter")
        with pytest.raises(WrongNode):
            await guests.join(invited)

    async def test_addresses_that_were_not_granted_are_refused(self, guests: Guests) -> None:
        invited = await guests.invite("alice@example.org")
        with pytest.raises(InvitationRefused, match="does not grant"):
            await guests.join(invited, addresses=["root@example.org"])
        assert not guests.gateway.joined

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

    async def test_roles_that_were_not_offered_are_refused(self, guests: Guests) -> None:
        with pytest.raises(InvitationRefused, match="does not offer"):
            await guests.join(await guests.invite(), roles=frozenset({"accept", "client"}))

    async def test_who_knows_only_the_id_is_refused(self, guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
        invited = await guests.invite()
        monkeypatch.setattr("mesyx_core.exchange.join.proof", lambda secret, *values: proof(b"\0" * 16, *values))
        with pytest.raises(InvitationRefused, match="proof"):
            await guests.join(invited)
        assert not guests.gateway.joined

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

    async def test_private_keys_for_one_who_is_no_client_are_refused(self, guests: Guests) -> None:
        guests.keys = b"sealed", "alice"
        with pytest.raises(InvitationRefused, match="no client"):
            await guests.join(await guests.invite(keys="age1pq1"))
        assert not guests.gateway.joined

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
