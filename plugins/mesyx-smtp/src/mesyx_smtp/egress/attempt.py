"""One message along one way: server after server until every recipient has a final fate or there are no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import anyio
from anyio.abc import ByteStream

from mesyx_core.api import Body, MesyxError
from mesyx_smtp.egress.address import Address
from mesyx_smtp.egress.auth import Login
from mesyx_smtp.egress.client import Client, Fate, Mail, Terms
from mesyx_smtp.egress.connection import TlsFailed, converse, secure
from mesyx_smtp.egress.hello import hello
from mesyx_smtp.egress.outcome import Told, better, final
from mesyx_smtp.egress.route import Exchange, Unroutable, hosts

if TYPE_CHECKING:
    from mesyx_smtp.egress.sender import Egress

PORT: Final = 25
"""On another one than this a node is tried out, with mail exchangers on its own machine."""
ADDRESSES: Final = 8
"""Addresses that are tried for one message in one attempt."""
ENOUGH: Final = 1800.0
"""Seconds after which no other address is tried in an attempt."""
WHOLE: Final = 3000.0
"""Seconds after which an attempt ends, however slow a server is: 17 kB a second for the largest message. The core waits
for an hour, and would then not hear who has been sent it."""


class Way(NamedTuple):
    """Where some recipients' mail goes."""

    exchanges: tuple[Exchange, ...]
    """Best first."""
    port: int
    direct: bool
    """Names are dialled as they are: a smarthost or an address literal."""


class Host(NamedTuple):
    """One address of one server."""

    name: str
    address: str

    @property
    def remote(self) -> str:
        return self.name if self.name == self.address else f"{self.name} [{self.address}]"


class Attempt:
    """`told` is what became of everybody, at any time."""

    def __init__(
        self, egress: Egress, way: Way, mail: Mail, recipients: Mapping[str, Address], body: Body, began: float
    ) -> None:
        self.told: dict[str, Told] = {}
        self._egress = egress
        self._config = egress.config
        self._way = way
        self._mail = mail
        self._left = dict(recipients)
        self._body = body
        self._began = began
        self._verified = egress.config.verified or mail.require_tls

    async def run(self) -> None:
        """Try."""
        tried = 0
        async for host in self._hosts():
            await self._server(host)
            tried += 1
            if not self._left or tried == ADDRESSES or self._spent > ENOUGH:
                return

    def give_up(self, reason: str) -> None:
        """Whoever has not been told anything else is told this."""
        self._tell(dict.fromkeys(self._left.keys() - self.told.keys(), Fate("soft", reason)), "")

    @property
    def _spent(self) -> float:
        """Seconds since the attempt began."""
        return anyio.current_time() - self._began

    async def _hosts(self) -> AsyncIterator[Host]:
        for exchange in self._way.exchanges:
            if self._way.direct:
                yield Host(exchange.name, exchange.name)
                continue
            assert self._egress.dns is not None
            try:
                found = await hosts(
                    self._egress.dns, exchange, self._egress.context.random, inner=self._way.port != PORT
                )
            except Unroutable as error:
                self._tell(dict.fromkeys(self._left, error.fate), exchange.name)
                if self._spent > ENOUGH:
                    return
                continue
            for address in found:
                if not self._config.bind or (":" in address) == (":" in self._config.bind):
                    yield Host(exchange.name, address)

    async def _server(self, host: Host) -> None:
        try:
            await self._session(host, "must" if self._verified else "may")
        except TlsFailed as error:
            if not self._verified and self._egress.handshakes.failed(host.address):
                await self._session(host, "off")
            else:
                fate = Fate("soft", f"4.7.5 TLS failed: {error.why}")
                self._tell(dict.fromkeys(self._left, fate), host.remote)

    async def _session(self, host: Host, tls: Literal["may", "must", "off"]) -> None:
        """Raises TlsFailed."""
        stream = await self._dial(host)
        if stream is None:
            return
        client: Client | None = None
        try:
            terms = Terms(
                hello=hello(await self._egress.name(), stream),
                tls=tls,
                login=self._login(),
                ourselves=self._egress.ourselves,
            )
            if self._config.tls == "implicit":
                stream = await self._encrypt(stream, host)
                terms = replace(terms, tls="on")
            client = Client(terms, replace(self._mail, recipients=dict(self._left)))
            await converse(
                stream,
                client,
                self._body,
                self._config.timeouts,
                lambda plain: self._encrypt(plain, host),
                WHOLE - self._spent,
            )
        finally:
            if client is not None:  # also when the body cannot be read on: who has been sent it, has
                self._tell(client.fates, host.remote)
                self._egress.logged_in(host.name, refused=client.login_refused)
            await anyio.aclose_forcefully(stream)
        if client.tls_refused:
            raise TlsFailed("refused")

    async def _dial(self, host: Host) -> ByteStream | None:
        address = f"[{host.address}]" if ":" in host.address else host.address
        where = f"{address}:{self._way.port}"
        try:
            with anyio.fail_after(self._config.timeouts.connect):
                return await self._egress.context.dial(where, via=self._config.via, bind=self._config.bind or None)
        except TimeoutError:
            why = f"cannot reach {where}: no answer"
        except MesyxError as error:
            why = error.what
        self._tell(dict.fromkeys(self._left, Fate("soft", f"4.4.1 {why}")), host.remote)
        return None

    async def _encrypt(self, stream: ByteStream, host: Host) -> ByteStream:
        trust = self._egress.trust
        context = trust.verified if self._verified else trust.any
        secured = await secure(stream, context, host.name, self._config.timeouts.tls)
        self._egress.handshakes.worked(host.address)
        return secured

    def _login(self) -> Login | None:
        if not self._config.username or self._config.password is None:
            return None
        return Login(self._config.username, self._config.password.get_secret_value(), self._egress.context.random(18))

    def _tell(self, fates: Mapping[str, Fate], remote: str) -> None:
        for each, fate in fates.items():
            self.told[each] = better(self.told.get(each), Told(fate, remote))
            if final(fate):
                self._left.pop(each, None)
