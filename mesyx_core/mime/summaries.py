"""What a mailbox index stores of a message, computed once."""

from __future__ import annotations

import re
from typing import Final

from mesyx_core.mime.dates import parse_date
from mesyx_core.mime.headers import unfold
from mesyx_core.mime.model import Limits, Summary
from mesyx_core.mime.structure import LIMITS, Scanner

_ID = re.compile(rb"<([^<>\s]{1,998})>")
_REFERENCES: Final = 100


def summary(data: bytes, limits: Limits = LIMITS) -> Summary:
    """Envelope, structure, date and ids of a whole message in one pass. Takes any bytes and never raises."""
    scanner = Scanner(data, limits)
    part = scanner.run()
    envelope = scanner.envelope()
    references = _ids(b" ".join(scanner.fields.get(b"references", ()))[-_REFERENCES * 1000 :])
    if envelope.in_reply_to:
        references += _ids(envelope.in_reply_to[: _REFERENCES * 1000])
    return Summary(
        envelope,
        part,
        parse_date(envelope.date) if envelope.date else None,
        _message_id(envelope.message_id) if envelope.message_id else "",
        tuple(dict.fromkeys(references))[-_REFERENCES:],
        (part.header_start, part.body_start),
    )


def _ids(value: bytes) -> list[str]:
    return [found.decode("latin-1") for found in _ID.findall(value)]


def _message_id(value: bytes) -> str:
    match = _ID.search(value)
    return (match[1] if match else unfold(value)[:998]).decode("latin-1")
