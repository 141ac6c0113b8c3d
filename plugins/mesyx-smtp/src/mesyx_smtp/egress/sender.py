"""The egress: a message to all its recipients, by as few connections as there are ways."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio

from mesyx_core.api import Context, Message, Outcome
from mesyx_smtp.egress import address, report
from mesyx_smtp.egress.attempt import ENOUGH, PORT, Attempt, Way
from mesyx_smtp.egress.client import Fate, Mail
from mesyx_smtp.egress.config import EgressConfig, server
from mesyx_smtp.egress.connection import trust
from mesyx_smtp.egress.content import inspect
from mesyx_smtp.egress.hello import names, own_name
from mesyx_smtp.egress.memory import Handshakes
from mesyx_smtp.egress.outcome import Told, outcome
from mesyx_smtp.egress.route import Dns, Exchange, Resolver, Unroutable, inward, route

LOOKUPS: Final = 20
"""Domains that are looked up at once."""

log = logging.getLogger(__name__)


class Egress:
    """One [egress.NAME] that uses smtp. Implements `api.Egress` and `api.Reports`."""

    def __init__(self, config: EgressConfig, context: Context, dns: Dns | None) -> None:
        """`dns`: not needed with a smarthost."""
        self.config = config
        self.context = context
        self.dns = dns
        self.trust = trust(config.tls_ca)
        self.connections = anyio.CapacityLimiter(config.connections)
        self._lookups = anyio.CapacityLimiter(LOOKUPS)
        self.handshakes = Handshakes(context.monotonic)
        self._name = config.hostname
        self._refused = False

    async def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        """Try once. A recipient that two domains' mail exchangers serve alike shares one connection with the others."""
        began = anyio.current_time()
        told: dict[str, Told] = {}
        mail = await self._mail(message, recipients, told)
        if mail is not None:
            ways = await self._ways(mail, told)
            async with anyio.create_task_group() as tasks:
                for way, ours in ways.items():
                    theirs = {each: mail.recipients[each] for each in ours}
                    tasks.start_soon(self._try, Attempt(self, way, mail, theirs, message.body, began), told)
        lost = Told(Fate("soft", "4.3.0 internal error"))
        return {each: outcome(told.get(each, lost)) for each in recipients}

    async def report(self, message: Message, outcomes: Mapping[str, Outcome]) -> Message | None:
        """A delivery status notification (RFC 3464); None when nobody wants one."""
        return await report.compose(
            message, outcomes, host=await self.name(), now=self.context.now(), token=self.context.random(16).hex()
        )

    async def name(self) -> str:
        """This node's name towards servers."""
        if not self._name:
            self._name = await own_name(self.context.name)
        return self._name

    @property
    def ourselves(self) -> frozenset[str]:
        """Names by which a server may turn out to be this node."""
        return names(self._name, self.context.name)

    def logged_in(self, host: str, *, refused: bool) -> None:
        """Show in `mesyx status` and `doctor` that the smarthost does not let us log in, and when it does again, which
        only sending can find out."""
        if refused == self._refused:
            return
        self._refused = refused
        if refused:
            remedy = f"correct username and password in [egress.{self.context.instance}], then mesyx reload"
            self.context.report("degraded", f"{host} does not let this node log in: {remedy}")
        else:
            self.context.report("up")

    async def _mail(self, message: Message, recipients: Sequence[str], told: dict[str, Told]) -> Mail | None:
        """The message and those of its recipients that make sense. The others are told."""
        await self.name()
        parsed: dict[str, address.Address] = {}
        for each in recipients:
            try:
                parsed[each] = address.parse(each)
            except address.AddressError as error:
                told[each] = Told(Fate("never", f"5.1.3 {error.what}"))
        envelope = message.envelope
        path = envelope.get("reverse_path", message.sender)
        try:
            sender = address.parse(str(path)) if path else None
        except address.AddressError:
            told |= {each: Told(Fate("never", "5.1.7 the sender is not a mail address")) for each in parsed}
            return None
        traits = await inspect(message.body)
        if not traits.clean:
            why = Fate("never", "5.6.0 the message has CR or LF alone, or NUL")
            told |= {each: Told(why) for each in parsed}
            return None
        return Mail(
            sender=sender,
            recipients=parsed,
            size=message.body.size,
            eight_bit=traits.eight_bit,
            utf8_header=traits.utf8_header and bool(envelope.get("smtputf8")),
            require_tls=bool(envelope.get("require_tls")),
            ret=str(envelope.get("ret", "")).upper(),
            envid=str(envelope.get("envid", "")),
            notify={each: str(envelope.get(f"notify/{each}", "")) for each in parsed},
            orcpt={each: str(envelope.get(f"orcpt/{each}", "")) for each in parsed},
        )

    # --- ways ---------------------------------------------------------------------------------------------------------

    async def _ways(self, mail: Mail, told: dict[str, Told]) -> dict[Way, list[str]]:
        """Recipients by the way that their mail goes. Those that have none are told."""
        if self.config.smarthost:
            where = server(self.config.smarthost, 587)
            return {Way((Exchange(0, where.host),), where.port, direct=True): list(mail.recipients)}
        domains: dict[str, list[str]] = {}
        for each, parsed in mail.recipients.items():
            literal = parsed.domain.startswith("[")
            domains.setdefault(parsed.domain if literal else address.to_ascii(parsed.domain), []).append(each)
        ways: dict[frozenset[Exchange], tuple[Way, list[str]]] = {}

        async def find(domain: str, ours: list[str]) -> None:
            try:
                async with self._lookups:
                    way = await self._way(domain)
            except Unroutable as error:
                told.update(dict.fromkeys(ours, Told(error.fate)))
            else:
                ways.setdefault(frozenset(way.exchanges), (way, []))[1].extend(ours)

        async with anyio.create_task_group() as tasks:
            for domain, ours in domains.items():
                tasks.start_soon(find, domain, ours)
        return dict(ways.values())

    async def _way(self, domain: str) -> Way:
        if domain.startswith("["):
            literal = str(address.literal(domain))
            if self.config.port == PORT and inward(literal):
                raise Unroutable(Fate("never", "5.4.4 no mail exchanger of anybody's is at that address"))
            return Way((Exchange(0, literal),), self.config.port, direct=True)
        assert self.dns is not None
        found = await route(self.dns, domain, self.ourselves, self.context.random)
        return Way(found, self.config.port, direct=False)

    async def _try(self, attempt: Attempt, told: dict[str, Told]) -> None:
        """One way, which fails alone."""
        try:
            with anyio.fail_after(ENOUGH):
                await self.connections.acquire()
        except TimeoutError:
            attempt.give_up("4.3.2 this node has too many connections open")
        else:
            try:
                await attempt.run()
            except Exception as error:
                _tell(error)
                attempt.give_up("4.3.0 internal error")
            finally:
                self.connections.release()
        told.update(attempt.told)


@asynccontextmanager
async def open_egress(config: EgressConfig, context: Context) -> AsyncIterator[Egress]:
    """`Provider.open`."""
    dns = None
    if not config.smarthost:
        dns = Resolver(server(config.resolver, 53) if config.resolver else None)
    yield Egress(config, context, dns)


def _tell(error: Exception) -> None:
    """Log an error of our own by type and place; its text could hold somebody's mail."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    log.error("smtp: %s at %s", type(error).__name__, place)
