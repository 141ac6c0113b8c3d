"""Base64 in exactly one form: no white space, no stray bits (RFC 4648, sections 3.5 and 4)."""

from __future__ import annotations

import binascii


def encode(data: bytes) -> bytes:
    """Standard alphabet, without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """The bytes whose unpadded encoding is `text`; ValueError otherwise."""
    if b"=" in text:
        raise ValueError("padded")
    return decode_padded(text + b"=" * (-len(text) % 4))


def decode_padded(text: bytes) -> bytes:
    """The bytes whose padded encoding is `text`; ValueError otherwise."""
    data = binascii.a2b_base64(text)
    if binascii.b2a_base64(data, newline=False) != text:
        raise ValueError("not canonical")
    return data
