"""What the engine asks of whoever drives it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from mesyx_core.wire.mechanisms import Attempt


class Recipient(NamedTuple):
    """RCPT. The first one of a transaction begins the delivery. Answer: `recipient` or `fail`."""

    address: str


class Content(NamedTuple):
    """Bytes of the message. Answer to the last: `kept` (committed) or `fail`; `fail` may come before."""

    data: bytes
    last: bool


class Aborted(NamedTuple):
    """The delivery that was begun is off."""


class StartTls(NamedTuple):
    """Send `replies.START_TLS`, begin TLS, call `secured`. If `buffered` is not 0 by then: call `insecure` instead."""


class Login(NamedTuple):
    """AUTH has come so far that it can be judged. Answer: `admitted` or `denied`."""

    attempt: Attempt


class Close(NamedTuple):
    """Send the output, then close."""


Event: TypeAlias = Recipient | Content | Aborted | StartTls | Login | Close
