"""Who is let in, and who makes room: open connections of all listeners together, and of each address.

While there is room everybody may stay as long as the protocol lets them. When there is none, a stranger that has been
here for a while and brings next to nothing goes, and who comes gets its place; so connections on which nothing happens
keep nobody out, from however many addresses they come. Who has logged in, or proved to be a member, stays.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from mesyx_core.wire.limits import peer_key

GRACE: Final = 10.0
"""Seconds that everybody has to show what they came for."""
SLOW: Final = 50.0
"""Bytes a second, since it began, below which a connection counts as one on which nothing happens."""
LOOK: Final = 64
"""Connections, those that were not looked at for longest, among which the one to go is sought."""


@dataclass(slots=True, eq=False)
class Peer:
    """Who connected."""

    host: str
    port: int
    known: bool = False
    """A member, or somebody who has logged in."""

    @property
    def local(self) -> bool:
        return is_loopback(self.host)

    def welcome(self) -> None:
        self.known = True


class Inside(NamedTuple):
    """A connection that was let in."""

    address: str
    since: float
    brought: Callable[[], int]
    close: Callable[[], None]


class Doors:
    """Counts open connections. One of these is shared by all listeners of a node."""

    def __init__(self, total: int, per_peer: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.total: Final = total
        self.per_peer: Final = per_peer
        self._monotonic = monotonic
        self._inside: dict[Peer, Inside] = {}  # those that came or were looked at last, last
        self._of: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many are inside."""
        return len(self._inside)

    def enter(self, peer: Peer, brought: Callable[[], int], close: Callable[[], None]) -> bool:
        """Let one more in, if there is a place or one to be had. `brought` tells how many bytes have come from it, and
        `close` ends the connection at once; both may be called until it leaves."""
        address = peer_key(peer.host)
        while (full := self._of[address] >= self.per_peer) or len(self._inside) >= self.total:
            going = (
                self._idlest(self._strangers(address))
                if full
                else self._idlest(self._strangers()) or self._crowd(address)
            )
            if going is None:
                return False
            close_it = self._inside[going].close
            self.leave(going)
            close_it()
        self._inside[peer] = Inside(address, self._monotonic(), brought, close)
        self._of[address] += 1
        return True

    def leave(self, peer: Peer) -> None:
        """Its connection is over. Harmless to repeat."""
        gone = self._inside.pop(peer, None)
        if gone is not None:
            self._of[gone.address] -= 1
            if not self._of[gone.address]:
                del self._of[gone.address]

    def _strangers(self, address: str = "") -> Iterable[Peer]:
        """Of one address, or of all."""
        return (peer for peer, one in self._inside.items() if not peer.known and address in ("", one.address))

    def _idlest(self, strangers: Iterable[Peer]) -> Peer | None:
        """The one that brings least, if that is next to nothing."""
        now = self._monotonic()
        looked = list(islice(strangers, LOOK))
        for peer in looked:  # the next look is at others
            self._inside[peer] = self._inside.pop(peer)
        paces = {peer: self._pace(peer, now) for peer in looked if now - self._inside[peer].since > GRACE}
        least = min(paces, key=paces.__getitem__, default=None)
        return least if least is not None and paces[least] < SLOW else None

    def _crowd(self, address: str) -> Peer | None:
        """Of the address with most strangers, the one that brings least, unless who comes would have as many."""
        crowds = Counter(self._inside[peer].address for peer in self._strangers())
        most, count = max(crowds.items(), key=lambda one: one[1], default=("", 0))
        if count <= crowds[address] + 1:
            return None
        now = self._monotonic()
        return min(self._strangers(most), key=lambda peer: self._pace(peer, now))

    def _pace(self, peer: Peer, now: float) -> float:
        """Bytes a second."""
        one = self._inside[peer]
        return one.brought() / max(now - one.since, 1.0)


def is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in ("", "localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
