"""Decoded text of messages, for search. Everything is bounded, and nothing raises."""

from __future__ import annotations

from collections.abc import Iterator

from mesyx_core.mime.charsets import decode
from mesyx_core.mime.headers import header_fields
from mesyx_core.mime.markup import declared_charset, strip_tags
from mesyx_core.mime.model import Part
from mesyx_core.mime.transfer import decoded_body
from mesyx_core.mime.words import decode_words, parameter


def header_text(data: bytes, part: Part, limit: int = 1 << 18) -> str:
    """A message's or part's whole header, decoded, one field a line; at most `limit` characters."""
    fields = header_fields(data, part.header_start, min(part.body_start, part.header_start + limit))
    return "\n".join([f"{decode(name)}: {decode_words(value)}" for name, value, _, _ in fields])[:limit]


def body_texts(data: bytes, part: Part, limit: int = 1 << 20) -> Iterator[str]:
    """Decoded text of each text part below, HTML without its tags, and headers of messages within; `limit` in all."""
    waiting = [part]
    while waiting and limit > 0:
        part = waiting.pop()
        if part.message is not None:
            found = header_text(data, part.message.part, limit)
            waiting.append(part.message.part)
        elif part.type == b"text":
            found = _leaf_text(data, part, limit)
        elif part.type == b"message":
            found = decode(decoded_body(data, part, limit))
        else:
            waiting.extend(reversed(part.parts))
            continue
        if found:
            limit -= len(found)
            yield found


def texts(data: bytes, part: Part, limit: int = 1 << 20) -> Iterator[str]:
    """What SEARCH TEXT looks into: the header, then the texts of the body; at most `limit` characters in all."""
    header = header_text(data, part, min(limit, 1 << 18))
    if header:
        yield header
    yield from body_texts(data, part, limit - len(header))


def _leaf_text(data: bytes, part: Part, limit: int) -> str:
    """Of a text part. One that is marked up may take four times the limit before its tags are off."""
    markup = part.subtype in (b"html", b"xhtml", b"xml", b"enriched")
    body = decoded_body(data, part, limit * 4)
    charset = parameter(part.params, b"charset") or (declared_charset(body) if markup else "")
    found = decode(body, charset)
    return (strip_tags(found) if markup else found)[:limit]
