"""A protection for tests: a mask from a shared word, a MAC, a counter that is kept, a handshake. Protects nothing."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from pydantic import BaseModel, ConfigDict, SecretStr

from mesyx_core.api import Bytes, Context, Message, Opened, Outcome, Provider, State
from mesyx_core.testing.samples import whole

MARK: Final = b"-- masked --\r\n"
HELLO: Final = b"-- hello --\r\n"
SENT: Final = "sent"


class MaskConfig(BaseModel):
    """`[crypto.mask]`"""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    secret: SecretStr
    """The word that both sides know."""
    domain: str = "example.com"
    """Recipients at this domain know it."""


class Mask:
    """Implements `api.Crypto`."""

    def __init__(self, config: MaskConfig) -> None:
        self._key = hashlib.sha256(config.secret.get_secret_value().encode()).digest()
        self._domain = config.domain

    async def protect(self, message: Message, state: State) -> Mapping[str, Message | Outcome]:
        number = int(await state.get(SENT) or b"0") + 1
        await state.put({SENT: b"%d" % number})
        body = self._sealed(number, await whole(message.body))
        unknown = Outcome(word="never", reason="no word is shared with this recipient")
        return {
            each: replace(message, body=Bytes(body), recipients=(each,))
            if each.endswith(f"@{self._domain}")
            else unknown
            for each in message.recipients
        }

    async def open(self, message: Message, state: State) -> Opened:
        body = await whole(message.body)
        if body.startswith(HELLO):
            hello = replace(message, direction="out", recipients=(message.sender,), sender=message.recipients[0])
            return Opened(message=None, replies=(hello,))
        if not body.startswith(MARK):
            return Opened(message=message)
        text = self._opened(body[len(MARK) :])
        if text is None:
            return Opened(message=None)
        return Opened(message=replace(message, body=Bytes(text)), proof={"word": "shared"})

    def _sealed(self, number: int, text: bytes) -> bytes:
        head = number.to_bytes(8, "big")
        masked = head + self._mask(head, text)
        return MARK + masked + hmac.digest(self._key, masked, "sha256")

    def _opened(self, data: bytes) -> bytes | None:
        masked, tag = data[:-32], data[-32:]
        if not hmac.compare_digest(hmac.digest(self._key, masked, "sha256"), tag):
            return None
        return self._mask(masked[:8], masked[8:])

    def _mask(self, head: bytes, text: bytes) -> bytes:
        stream = hashlib.shake_256(self._key + head).digest(len(text))
        return bytes(a ^ b for a, b in zip(text, stream, strict=True))


@asynccontextmanager
async def open_mask(config: MaskConfig, context: Context) -> AsyncIterator[Mask]:
    """Opens the protection."""
    yield Mask(config)


def crypto() -> Provider:
    """`mask`"""
    return Provider(name="mask", config=MaskConfig, open=open_mask, summary="Masks text with a word both sides know")
