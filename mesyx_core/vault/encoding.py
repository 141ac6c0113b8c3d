"""The one way bytes are made for hashes, MACs and signatures: "mesyx/1 LABEL" NUL, then one deterministic CBOR array."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

import cbor2

PREFIX: Final = b"mesyx/1 "


class EncodingError(ValueError):
    """Bytes that are not the one deterministic CBOR item they should be, or exceed their bounds."""


def encode(value: Any) -> bytes:
    """Deterministic CBOR (RFC 8949, section 4.2.1) of plain values: int, bytes, str, bool, None, list, tuple, dict."""
    return cbor2.dumps(value, canonical=True)


def labelled(label: str, *values: Any) -> bytes:
    """The input of a hash, MAC or signature: label and values, unambiguous for any values."""
    return PREFIX + label.encode("ascii") + b"\x00" + encode(list(values))


def digest(label: str, *values: Any) -> bytes:
    """SHA-256 over the labelled values, 32 bytes."""
    return hashlib.sha256(labelled(label, *values)).digest()


def mac(key: bytes, label: str, *values: Any) -> bytes:
    """HMAC-SHA256 over the labelled values, 32 bytes."""
    return hmac.digest(key, labelled(label, *values), "sha256")
