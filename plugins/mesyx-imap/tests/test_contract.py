"""The access is certified: programs read their store, and only theirs."""

from __future__ import annotations

import imaplib
from collections.abc import Sequence

from anyio.to_thread import run_sync
from mesyx_imap import mesyx_accesses

from mesyx_core.api import LoginFailed, Refused, Temporary
from mesyx_core.testing import AccessContract, StandIn


class TestImap(AccessContract):
    provider = mesyx_accesses()[0]
    config = {"listen": "127.0.0.1:0"}
    capabilities = frozenset({"listens", "reads"})

    async def login(self, context: StandIn, name: str, password: str) -> None:
        await run_sync(_fetch, context.bound[0], name, password, False)

    async def read(self, context: StandIn, name: str, password: str) -> Sequence[bytes]:
        return await run_sync(_fetch, context.bound[0], name, password, True)


def _fetch(address: str, name: str, password: str, read: bool) -> list[bytes]:
    host, _, port = address.rpartition(":")
    with imaplib.IMAP4(host, int(port)) as client:
        try:
            client.login(name, password)
        except imaplib.IMAP4.error as error:
            raise _meant(str(error)) from None
        if not read:
            return []
        client.select(readonly=True)
        _, found = client.fetch("1:*", "(BODY.PEEK[])")
        return [part[1] for part in found if isinstance(part, tuple)]


def _meant(said: str) -> Exception:
    if "UNAVAILABLE" in said:
        return Temporary(said)
    return Refused(said) if "PRIVACYREQUIRED" in said or "LOGINDISABLED" in said else LoginFailed(said)
