"""Which gateway is asked to send something, and to which of its recipients of the day that is sealed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import NamedTuple

from mesyx_core.api import Refused
from mesyx_core.journal import Journal
from mesyx_core.mailbox.submissions import Gateway
from mesyx_core.record import checkpoint, payloads
from mesyx_core.record.entry import Origin
from mesyx_core.record.outgoing import Day
from mesyx_core.record.shape import RecordError
from mesyx_core.vault.authority import Authority
from mesyx_core.vault.manifest import Manifest
from mesyx_core.wire import addresses


class Door(NamedTuple):
    """A gateway, and the recipient of the day to seal to."""

    gateway: bytes
    day: Day


class Heard:
    """When each member was last heard of: the newest time that it has signed in any of its logs."""

    def __init__(self, journal: Journal, store: bytes) -> None:
        self._journal = journal
        self._store = store
        self._known: dict[Origin, tuple[int, int]] = {}

    async def times(self) -> dict[bytes, int]:
        """Node to Unix seconds by its own clock."""
        found: dict[bytes, int] = {}
        for head in await self._journal.heads(self._store):
            origin = Origin(self._store, head.node, head.incarnation)
            seq, time = self._known.get(origin, (0, 0))
            if seq != head.seq:
                time = await self._time(origin)
                self._known[origin] = (head.seq, time)
            found[head.node] = max(time, found.get(head.node, 0))
        return found

    async def _time(self, origin: Origin) -> int:
        signed = await self._journal.checkpoint(origin)
        return checkpoint.parse(signed)[0].time if signed is not None else 0

    async def whole(self, node: bytes, opened: Callable[[Origin, int], bool]) -> bool:
        """Whether everything that this node is known to have written is here and `opened` (up to a number): what a log
        says of others before it is known too."""
        heads = {h.incarnation: h.seq for h in await self._journal.heads(self._store) if h.node == node}
        for incarnation, seq in heads.items():
            origin = Origin(self._store, node, incarnation)
            if not opened(origin, seq):
                return False
            for _, entry in await self._journal.pick(origin, [1]):
                try:
                    start = payloads.decode_start(entry.payload or b"")
                except RecordError:
                    return False
                if any(heads.get(earlier.incarnation, 0) < earlier.seq for earlier in start.earlier):
                    return False
        return True


def choose(
    known: Mapping[bytes, Gateway],
    authority: Authority,
    heard: Mapping[bytes, int],
    *,
    network: str,
    senders: Collection[str],
    now: float,
    only: bytes = b"",
    used: Container[tuple[bytes, bytes]] = frozenset(),
) -> Door | None:
    """The gateway that is granted all that a message is sent as first, then the one heard of last; None when none can
    be asked now. `used` are (gateway, day) that were asked already; `only` leaves no other choice."""
    doors: list[tuple[bool, int, bytes, Day]] = []
    for node, gateway in known.items():
        member = authority.member(node)
        if member is None or "accept" not in member.roles or network not in gateway.networks or only not in (b"", node):
            continue
        day, grants = valid(gateway, now, used), normals(member.addresses)
        if day is not None and not any(turns_away(each, grants) for each in senders):
            doors.append((all(granted(each, grants) for each in senders), heard.get(node, 0), node, day))
    if not doors:
        return None
    _, _, node, day = max(doors)
    return Door(node, day)


def valid(gateway: Gateway, now: float, used: Container[tuple[bytes, bytes]] = frozenset()) -> Day | None:
    """Of the recipients of the day that can be sealed to now, the one that ends first."""
    days = (d for d in gateway.days if d.since <= now < d.until and (gateway.node, d.id) not in used)
    return min(days, key=lambda day: day.until, default=None)


def normals(given: Iterable[str]) -> set[str]:
    """Addresses in the form that they are compared in; what is no address is left out."""
    found: set[str] = set()
    for address in given:
        with contextlib.suppress(Refused):
            found.add(addresses.normal(address))
    return found


def granted_by(manifest: Manifest) -> set[str]:
    """Addresses that a store's gateways grant to it."""
    return normals(a for member in manifest.members if "accept" in member.roles for a in member.addresses)


def granted(sender: str, identities: Container[str]) -> bool:
    """Whether an address, with any +tag, is among normal ones; what is no address is not."""
    try:
        return addresses.normal(sender) in identities
    except Refused:
        return False


def turns_away(sender: str, grants: Collection[str]) -> bool:
    """Whether a gateway with these grants sends nothing for `sender`: it serves the domain and has not granted it."""
    if not grants or granted(sender, grants):
        return False
    return not {_domain(each) for each in grants}.isdisjoint(map(_domain, normals([sender])))


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
