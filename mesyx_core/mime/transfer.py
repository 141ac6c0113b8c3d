"""Transfer encodings (RFC 2045, section 6) taken off, as far as they can be."""

from __future__ import annotations

import binascii
from typing import Final

from mesyx_core.mime.model import Part

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_RUNS: Final = 100_000  # pieces that end in padding
_OTHERS: Final = bytes(set(range(256)) - set(_ALPHABET) - {ord("=")})


def decode_base64(text: bytes) -> bytes:
    """Base64 without its faults: other characters are passed over, padding may stand anywhere, lone digits are lost."""
    runs = text.translate(None, _OTHERS).split(b"=", _RUNS)[:_RUNS]
    return b"".join([binascii.a2b_base64((run[:-1] if len(run) % 4 == 1 else run) + b"==") for run in runs if run])


def decoded_body(data: bytes, part: Part, limit: int = 1 << 62) -> bytes:
    """A leaf's body with its transfer encoding taken off: as far as it can be decoded, and at most `limit` bytes."""
    if part.encoding == b"base64":
        raw = data[part.body_start : min(part.end, part.body_start + limit * 2)]
        return decode_base64(raw)[:limit]
    if part.encoding == b"quoted-printable":
        raw = data[part.body_start : min(part.end, part.body_start + limit * 3)]
        return binascii.a2b_qp(raw)[:limit]
    return data[part.body_start : min(part.end, part.body_start + limit)]
