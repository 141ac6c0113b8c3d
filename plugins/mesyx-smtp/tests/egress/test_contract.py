"""The egress is certified: an outcome for every recipient, none better than the truth."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from mesyx_smtp import mesyx_egresses
from mesyx_smtp.testing import Sink

from mesyx_core.testing import EgressContract, Fate, Network

REPLIES = {"sent": "250 2.1.5 ok", "later": "450 4.2.0 come back later", "never": "550 5.1.1 no such user"}


class TestSmtp(EgressContract):
    provider = mesyx_egresses()[0]
    config = {"smarthost": "127.0.0.1:1"}
    capabilities = frozenset({"partial", "later", "large", "reports"})

    @asynccontextmanager
    async def network(self, fates: Mapping[str, Fate]) -> AsyncIterator[Network]:
        with Sink(replies={f"RCPT TO:<{each}>": REPLIES[fate] for each, fate in fates.items()}) as sink:
            far = Network({"smarthost": f"127.0.0.1:{sink.port}"})
            try:
                yield far
            finally:
                far.received += [
                    (recipient.removeprefix("RCPT TO:<").removesuffix(">"), each.content)
                    for each in sink.received
                    for recipient in each.recipients
                ]
