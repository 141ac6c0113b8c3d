"""The access is certified: programs send what is theirs, and only theirs."""

from __future__ import annotations

import smtplib

from anyio.to_thread import run_sync
from mesyx_smtp import mesyx_accesses

from mesyx_core.api import LoginFailed, Refused, Temporary
from mesyx_core.testing import AccessContract, StandIn


class TestSubmission(AccessContract):
    provider = mesyx_accesses()[0]
    config = {"listen": "127.0.0.1:0"}
    capabilities = frozenset({"listens", "submits"})

    async def login(self, context: StandIn, name: str, password: str) -> None:
        await run_sync(_session, context.bound[0], name, password, b"")

    async def send(self, context: StandIn, name: str, password: str, body: bytes) -> None:
        await run_sync(_session, context.bound[0], name, password, body)


def _session(address: str, name: str, password: str, body: bytes) -> None:
    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port)) as client:
        try:
            client.login(name, password)
        except smtplib.SMTPNotSupportedError as error:
            raise Refused(str(error)) from None
        except smtplib.SMTPAuthenticationError as error:
            raise (Temporary if error.smtp_code == 454 else LoginFailed)(str(error.smtp_code)) from None
        if body:
            client.sendmail("alice@example.org", ["bob@example.com"], body)
