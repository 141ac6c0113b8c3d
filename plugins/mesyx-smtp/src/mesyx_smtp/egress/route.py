"""Where a domain's mail goes: its mail exchangers (RFC 5321, section 5.1; RFC 7505) and their addresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from mesyx_core.api import Misconfigured
from mesyx_smtp.egress.address import AddressError, to_ascii
from mesyx_smtp.egress.client import Fate
from mesyx_smtp.egress.config import Server

SECONDS: Final = 20.0
"""For one answer, of all DNS servers together."""
EXCHANGES: Final = 20
"""Mail exchangers of a domain that are looked at."""
RESOLV_CONF: Final = Path("/etc/resolv.conf")


class Unroutable(Exception):
    """There is no way there, for now or for good."""

    def __init__(self, fate: Fate) -> None:
        self.fate = fate


class NoSuchName(Exception):
    """DNS says that there is no such name."""


class DnsLater(Exception):
    """DNS does not say; it may later."""


class Exchange(NamedTuple):
    """A host that takes a domain's mail."""

    preference: int
    name: str


class Dns(Protocol):
    """What is asked of DNS. Names are in A-labels and lower case, without a dot at the end; "" is the root."""

    async def exchanges(self, domain: str) -> Sequence[Exchange]:
        """MX records, in no order. Raises NoSuchName, DnsLater."""

    async def addresses(self, host: str) -> Sequence[str]:
        """AAAA and A records. Raises NoSuchName, DnsLater."""


async def route(
    names: Dns, domain: str, ourselves: frozenset[str], random: Callable[[int], bytes]
) -> tuple[Exchange, ...]:
    """The hosts to try, best first, equals in random order. Raises Unroutable."""
    try:
        found = await names.exchanges(domain)
    except NoSuchName:
        raise Unroutable(Fate("never", f"5.1.2 there is no domain {domain}")) from None
    except DnsLater:
        raise Unroutable(Fate("soft", f"4.4.3 DNS does not answer for {domain}")) from None
    if not found:
        return (Exchange(0, domain),)
    usable = [each for each in found if each.name]
    if not usable:
        raise Unroutable(Fate("never", f"5.1.10 {domain} takes no mail (null MX)"))
    usable = [each for each in usable if _is_host(each.name)]
    if not usable:
        raise Unroutable(Fate("never", f"5.4.4 {domain} has no mail exchanger whose name could be one"))
    own = min((each.preference for each in usable if each.name in ourselves), default=None)
    if own is not None:  # those that we are a spare for; mail for the others would come back to us
        usable = [each for each in usable if each.preference < own]
        if not usable:
            raise Unroutable(Fate("never", f"5.4.6 mail loop: {domain} says that its mail comes to this node"))
    return tuple(sorted(set(usable), key=lambda each: (each.preference, random(8)))[:EXCHANGES])


def inward(address: str) -> bool:
    """Whether an address leads to this machine, or to what only its own link reaches: no stranger's mail server is
    there, but servers that trust whoever comes from here."""
    found = ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None) or found
    return bool(mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified)


async def hosts(names: Dns, exchange: Exchange, random: Callable[[int], bytes], *, inner: bool = False) -> list[str]:
    """A host's addresses, both families in turn, each in random order; inward ones only where `inner` says so. Raises
    Unroutable."""
    try:
        found = [ip_address(each) for each in await names.addresses(exchange.name)]
    except NoSuchName:
        raise Unroutable(Fate("unfit", f"5.4.4 there is no host {exchange.name}")) from None
    except DnsLater:
        raise Unroutable(Fate("soft", f"4.4.3 DNS does not answer for {exchange.name}")) from None
    usable = sorted(
        (
            each
            for each in found
            if not each.is_unspecified and not each.is_multicast and (inner or not inward(str(each)))
        ),
        key=lambda _: random(8),
    )
    if not usable:
        raise Unroutable(Fate("unfit", f"5.4.4 the host {exchange.name} has no address"))
    families = ([str(each) for each in usable if each.version == version] for version in (6, 4))
    return [each for each in chain.from_iterable(zip_longest(*families)) if each is not None]


def _is_host(name: str) -> bool:
    """DNS can hold names of any bytes; they come to people's eyes, and to TLS."""
    try:
        return to_ascii(name) == name
    except AddressError:
        return False


class Resolver:
    """DNS by the servers of /etc/resolv.conf, read again when that changes, or by one of the config's choice."""

    def __init__(self, server: Server | None) -> None:
        """Raises Misconfigured."""
        self._server = server
        self._read: float | None = None
        self._resolver = self._fresh()

    async def exchanges(self, domain: str) -> Sequence[Exchange]:
        return [
            Exchange(record.preference, record.exchange.to_text(omit_final_dot=True).lower().removesuffix("."))
            for record in await self._ask(domain, "MX")
        ]

    async def addresses(self, host: str) -> Sequence[str]:
        found: list[str] = []
        unanswered = False
        for kind in ("AAAA", "A"):
            try:
                found += [record.address for record in await self._ask(host, kind)]
            except DnsLater:
                unanswered = True
        if unanswered and not found:
            raise DnsLater
        return found

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer | tuple[()]:
        try:
            answer = await self._current().resolve(
                dns.name.from_text(name), kind, raise_on_no_answer=False, search=False, lifetime=SECONDS
            )
        except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            raise NoSuchName from None
        except (dns.exception.DNSException, OSError):
            raise DnsLater from None
        return answer if answer.rrset is not None else ()

    def _current(self) -> dns.asyncresolver.Resolver:
        if self._server is None and _changed() != self._read:
            self._resolver = self._fresh()
        return self._resolver

    def _fresh(self) -> dns.asyncresolver.Resolver:
        if self._server is not None:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = [self._server.host], self._server.port
        else:
            self._read = _changed()
            try:
                resolver = dns.asyncresolver.Resolver(str(RESOLV_CONF))
            except dns.resolver.NoResolverConfiguration:
                raise Misconfigured(
                    f"{RESOLV_CONF} names no DNS server", 'name one there, or write resolver = "ADDRESS:53"'
                ) from None
        resolver.cache = dns.resolver.LRUCache(1000)
        resolver.use_edns(0, 0, 1232)
        return resolver


def _changed() -> float | None:
    try:
        return RESOLV_CONF.stat().st_mtime
    except OSError:
        return None
