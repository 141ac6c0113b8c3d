"""The memory egress is certified by the contract, its accounts with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from mesyx_core.api import Context, Egress, Message, Outcome, Refused
from mesyx_core.builtin.sink import BoxAccount, MemoryBox, MemoryEgress, Sink, SinkConfig
from mesyx_core.testing import EgressContract, Fate, Network


class Fated(Sink):
    """Answers as a test wants it."""

    fates: Mapping[str, Fate] | None = None

    @asynccontextmanager
    async def _open(self, config: SinkConfig, context: Context) -> AsyncIterator[Egress]:
        yield FatedEgress(self, config)


class FatedEgress(MemoryEgress):
    async def send(self, message: Message, recipients: Any) -> Mapping[str, Outcome]:
        assert isinstance(self._sink, Fated)
        if self._sink.fates is None:
            return dict.fromkeys(recipients, Outcome(word="later", reason="nobody answers"))
        fates = {each: self._sink.fates.get(each, "sent") for each in recipients}
        await super().send(message, [each for each in recipients if fates[each] == "sent"])
        return {each: Outcome(word=fate, reason="as asked") for each, fate in fates.items()}


class TestMemory(EgressContract):
    sink = Fated()
    provider = sink.provider()
    capabilities = frozenset({"partial", "later", "large", "accounts"})
    account = {"box": "alice", "password": "open sesame"}

    @asynccontextmanager
    async def network(self, fates: Mapping[str, Fate]) -> AsyncIterator[Network]:
        far = Network()
        self.sink.fates, self.sink.given = dict(fates), []
        try:
            yield far
        finally:
            far.received += [(each, one.body) for one in self.sink.given for each in one.recipients]
            self.sink.fates = None


@pytest.mark.anyio
async def test_a_box_echoes_and_a_wrong_password_is_refused() -> None:
    async with aclosing(MemoryBox().answer("echo", [1])) as answers:  # type: ignore[type-var]
        assert [one async for one in answers] == [[1]]
    opened = Sink()._account(None, BoxAccount(box="a", password="wrong"), None)  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        await opened.__aenter__()
    assert "wrong" not in str(refused.value)
