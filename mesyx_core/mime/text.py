"""Decoded text: for search and for people. Everything is bounded, and nothing raises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from mesyx_core.mime.model import Address, HeaderField, Parameters, Part


def header_fields(data: bytes, start: int, end: int) -> list[HeaderField]:
    """The fields of a header in order; lines that are no field are left out. `value` is what stands after the colon."""
    return []


def decode_words(raw: bytes) -> str:
    """A header value as people read it: unfolded, encoded words (RFC 2047) decoded, 8-bit bytes as UTF-8 or Latin-1."""
    return raw.decode("latin-1")


def decode_address(address: Address) -> str:
    """An address as people write it: Name <mailbox@host>, the name decoded; a group's marker gives its name."""
    return ""


def parameter(params: Parameters, name: bytes) -> str | None:
    """A parameter decoded by RFC 2231 (charset, continuations), else RFC 2047, as many mailers send it."""
    return None


def filename(part: Part) -> str | None:
    """The file name that a part suggests, in disposition or type, as text. It is a stranger's: never open a path by it."""
    return None


def parse_date(raw: bytes) -> datetime | None:
    """A Date header (RFC 5322, with its obsolete forms), aware, at the offset that it names; None when it is no date."""
    return None


def decoded_body(data: bytes, part: Part, limit: int = 1 << 62) -> bytes:
    """A leaf's body with its transfer encoding taken off: as far as it can be decoded, and at most `limit` bytes."""
    return b""


def header_text(data: bytes, part: Part, limit: int = 1 << 18) -> str:
    """A message's or part's whole header, decoded, one field a line; at most `limit` characters."""
    return ""


def body_texts(data: bytes, part: Part, limit: int = 1 << 20) -> Iterator[str]:
    """Decoded text of each text part below, html without its tags, and headers of messages within; `limit` in all."""
    return iter(())


def texts(data: bytes, part: Part, limit: int = 1 << 20) -> Iterator[str]:
    """What SEARCH TEXT looks into: the header, then the texts of the body; at most `limit` characters in all."""
    return iter(())
