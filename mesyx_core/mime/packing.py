"""Envelopes and structures as bytes for an index: version 1, then compact CBOR."""

from __future__ import annotations

from mesyx_core.mime.model import Envelope, Part


class PackError(ValueError):
    """Bytes that `pack_envelope` or `pack_part` did not make."""


def pack_envelope(envelope: Envelope) -> bytes:
    """The bytes that `unpack_envelope` takes."""
    return b""


def unpack_envelope(data: bytes) -> Envelope:
    """The envelope that was packed. Raises PackError."""
    return Envelope()


def pack_part(part: Part) -> bytes:
    """The bytes that `unpack_part` takes; everything below the part included."""
    return b""


def unpack_part(data: bytes) -> Part:
    """The part that was packed, with everything below it. Raises PackError."""
    return Part()
